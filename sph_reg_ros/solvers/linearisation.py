"""Everything that the solver knows about one pose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import (
    RobustKernel,
    curvature_weighted,
    kernel_width,
    reweighted,
    robust_cost,
)
from sph_reg_ros.solvers.normal_equations import normal_equations

Pose = Float64[Tensor, '4 4']
Linearise = Callable[[Pose], Sequence[ResidualBlock]]


@dataclass(frozen=True)
class Point:
    """A pose with its residuals and the least-squares problem that stands for them there.

    Attributes:
        pose: camera_from_ct or whatever `linearise` takes.
        blocks: residuals as they came.
        kernel: robust kernel.
        widths: the kernel's width in each block, from the residuals here.
        cost: robust cost, float64 scalar.
        A: J^T W J with robust weights.
        g: J^T W r.
    """

    pose: Pose
    blocks: Sequence[ResidualBlock]
    kernel: RobustKernel
    widths: Sequence[Tensor]
    cost: Float64[Tensor, '']
    A: Float64[Tensor, '6 6']
    g: Float64[Tensor, '6']

    @staticmethod
    def at(pose: Pose, linearise: Linearise, kernel: RobustKernel) -> 'Point':
        """Evaluate a pose.

        Raises:
            SolverError: NUMERICAL if residuals or Jacobian are not finite or no residual tells
                anything about the pose; whatever `linearise` raises.
        """
        blocks = linearise(pose)
        widths = [kernel_width(block, kernel) for block in blocks]
        cost = cost_of(blocks, kernel, widths)
        if not torch.isfinite(cost.detach()):
            raise SolverError(ErrorCode.NUMERICAL, 'the residuals are not finite')
        A, g = normal_equations(_paired(reweighted, blocks, kernel, widths))
        information = float(A.detach().diagonal().sum())
        if not information > 0 or information == float('inf'):
            raise SolverError(
                ErrorCode.NUMERICAL,
                f'the residuals tell nothing about the pose: trace of J^T W J is {information:g}',
            )
        return Point(pose, blocks, kernel, widths, cost, A, g)

    @property
    def plain_cost(self) -> float:
        """Return the weighted sum of squared residuals, without the kernel."""
        if self.kernel is RobustKernel.NONE:
            return float(self.cost.detach())
        return float(cost_of(self.blocks, RobustKernel.NONE, self.widths).detach())

    def weighted_blocks(self) -> list[ResidualBlock]:
        """Return the residuals with robust weights."""
        return _paired(reweighted, self.blocks, self.kernel, self.widths)

    def information(self) -> Float64[Tensor, '6 6']:
        """Return half the robust cost's second derivative, by Gauss and Newton."""
        if self.kernel is RobustKernel.NONE:
            return self.A
        curved = _paired(curvature_weighted, self.blocks, self.kernel, self.widths)
        return normal_equations(curved)[0]


def cost_of(
    blocks: Sequence[ResidualBlock], kernel: RobustKernel, widths: Sequence[Tensor]
) -> Float64[Tensor, '']:
    """Return the robust cost for kernels of given widths."""
    pairs = zip(blocks, widths, strict=True)
    return torch.stack([robust_cost(block, kernel, width) for block, width in pairs]).sum()


def _paired(
    function: Callable[[ResidualBlock, RobustKernel, Tensor], ResidualBlock],
    blocks: Sequence[ResidualBlock],
    kernel: RobustKernel,
    widths: Sequence[Tensor],
) -> list[ResidualBlock]:
    return [function(block, kernel, width) for block, width in zip(blocks, widths, strict=True)]
