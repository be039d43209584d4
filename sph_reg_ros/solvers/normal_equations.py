"""The six by six system behind a step."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.similarity.gram import inner
from sph_reg_ros.similarity.residual import ResidualBlock


def normal_equations(
    blocks: Sequence[ResidualBlock],
) -> tuple[Float64[Tensor, '6 6'], Float64[Tensor, '6']]:
    """Return J^T W J and J^T W r, summed over the blocks, W the residuals' weights.

    Residuals and Jacobians keep their precision; sums over more than a thousand rows are in
    float64.
    """
    pairs = [_of_block(block) for block in blocks]
    A, g = (torch.stack(terms).sum(0) for terms in zip(*pairs, strict=True))
    return A, g


def damped_step(
    A: Float64[Tensor, '6 6'], g: Float64[Tensor, '6'], damping: float | Tensor
) -> Float64[Tensor, '6']:
    """Return the step that minimises the damped linear model.

    Marquardt's scaling by the diagonal, floored so that weak directions stay bounded.

    Raises:
        SolverError: NUMERICAL if there is no finite step.
    """
    diagonal = A.diagonal()
    damped = A + torch.diag(damping * (diagonal + 1e-6 * diagonal.sum() / len(A)))
    step = -torch.linalg.lstsq(damped, g[:, None], driver='gelsd').solution[:, 0]
    if not torch.isfinite(step.detach()).all():
        raise SolverError(ErrorCode.NUMERICAL, 'the normal equations have no finite solution')
    return step


def promise(A: Float64[Tensor, '6 6'], g: Float64[Tensor, '6'], step: Tensor) -> Tensor:
    """Return by how much the linear model says that a step lowers the cost."""
    return -(step @ (2 * g + A @ step))


def _of_block(block: ResidualBlock) -> tuple[Tensor, Tensor]:
    J = block.jacobian
    weighted = J if block.weight is None else J * block.weight[:, None]
    return inner(weighted, J), inner(weighted, block.residual[:, None])[:, 0]
