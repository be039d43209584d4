"""What the solver asks for: cost, gradient and Gauss-Newton matrix of rows of poses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from sph_reg_ros.errors import SolverError
from sph_reg_ros.similarity.gram import inner
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.similarity.robust import (
    Robust,
    RobustKernel,
    curvature_weighted,
    kernel_width,
    reweighted,
    robust_cost,
)


@dataclass(frozen=True)
class RobustFigures:
    """What a robust kernel adds to normal equations.

    Attributes:
        widths: of the kernel by the residuals here, one for each block of residuals.
        compared_cost: with the widths that were given, to compare with the pose that has them.
        plain_cost: without the kernel.
        curvature: half the second derivative of the cost, by Gauss and Newton.
    """

    widths: Float64[Tensor, 'B k']
    compared_cost: Float64[Tensor, 'B']
    plain_cost: Float64[Tensor, 'B']
    curvature: Float64[Tensor, 'B n n']


@dataclass(frozen=True)
class NormalEquations:
    """The least-squares problem at each of B poses, of n unknowns.

    Attributes:
        cost: sum of weighted squared residuals, or the robust cost; 2 (1 - score) for an image
            similarity without a kernel; infinite where there are none, NaN where they are not
            finite.
        gradient: J^T W r, half the derivative of the cost.
        hessian: J^T W J, robust weights included.
        valid: False where the rendering is constant, the CT out of view or a figure not finite;
            gradient and hessian are 0 there.
        robust: None without a kernel.
        patch_gradients: the part of each patch of the image in the gradient; None unless asked for.
            Residuals of one patch err together, those of different patches hardly do.
    """

    cost: Float64[Tensor, 'B']
    gradient: Float64[Tensor, 'B n']
    hessian: Float64[Tensor, 'B n n']
    valid: Bool[Tensor, 'B']
    robust: RobustFigures | None = None
    patch_gradients: Float64[Tensor, 'B P n'] | None = None

    @property
    def plain_cost(self) -> Float64[Tensor, 'B']:
        """Return the cost without a robust kernel."""
        return self.cost if self.robust is None else self.robust.plain_cost

    @property
    def compared_cost(self) -> Float64[Tensor, 'B']:
        """Return the cost to compare with that of the pose whose kernel widths were given."""
        return self.cost if self.robust is None else self.robust.compared_cost

    @property
    def information(self) -> Float64[Tensor, 'B n n']:
        """Return half the second derivative of the cost; the hessian without a robust kernel."""
        return self.hessian if self.robust is None else self.robust.curvature

    def of_unknowns(self, old_from_new: Float64[Tensor, 'n m']) -> 'NormalEquations':
        """Return the equations for other unknowns, by the derivative of the ones here by them."""
        M = old_from_new.to(self.gradient)
        robust = self.robust
        if robust is not None:
            robust = RobustFigures(
                robust.widths,
                robust.compared_cost,
                robust.plain_cost,
                M.T @ robust.curvature @ M,
            )
        patches = None if self.patch_gradients is None else self.patch_gradients @ M
        return NormalEquations(
            self.cost, self.gradient @ M, M.T @ self.hessian @ M, self.valid, robust, patches
        )


def sum_of(parts: Sequence[NormalEquations]) -> NormalEquations:
    """Return the equations of independent measurements of the same unknowns, such as views.

    A row is valid where all parts are. Kernel widths are those of the parts, one after the other;
    gradients of patches belong to the parts and are left out.
    """
    if len(parts) == 1:
        return replace(parts[0], patch_gradients=None)
    valid = torch.stack([part.valid for part in parts]).all(0)

    def total(figure: Callable[[NormalEquations], Tensor]) -> Tensor:
        return torch.stack([figure(part) for part in parts]).sum(0)

    robust = None
    if any(part.robust is not None for part in parts):
        widths = [part.robust.widths for part in parts if part.robust is not None]
        robust = RobustFigures(
            torch.cat(widths, -1),
            total(lambda part: part.compared_cost),
            total(lambda part: part.plain_cost),
            total(lambda part: part.information),
        )
    return NormalEquations(
        total(lambda part: part.cost),
        total(lambda part: part.gradient),
        total(lambda part: part.hessian),
        valid,
        robust,
    )


def where_valid(
    valid: Bool[Tensor, 'B'],
    cost: Float64[Tensor, 'B'],
    gradient: Float64[Tensor, 'B n'],
    hessian: Float64[Tensor, 'B n n'],
    patch_gradients: Float64[Tensor, 'B P n'] | None = None,
) -> NormalEquations:
    """Return the equations: nothing where they are not valid or not finite."""
    finite = (cost + hessian.sum((-2, -1))).isfinite()
    useful = valid & finite
    cost = torch.where(valid, torch.where(finite, cost, torch.nan), torch.inf)
    gradient = torch.where(useful[:, None], gradient, 0.0)
    hessian = torch.where(useful[:, None, None], hessian, 0.0)
    if patch_gradients is not None:
        patch_gradients = torch.where(useful[:, None, None], patch_gradients, 0.0)
    return NormalEquations(cost, gradient, hessian, useful, patch_gradients=patch_gradients)


def of_residuals(
    residuals: Callable[[Tensor, Tensor], ResidualBlock],
    renderings: Float[Tensor, 'B H W'],
    jacobians: Float[Tensor, 'B H W n'],
    robust: Robust | None = None,
    patches: int = 0,
) -> NormalEquations:
    """Return the normal equations of the residuals of each rendering.

    Args:
        residuals: those of a rendering and its Jacobian; raises SolverError where there are none.
        renderings: line integrals.
        jacobians: their derivatives by n unknowns.
        robust: kernel; none if None.
        patches: number of clusters of which gradients are asked for.
    """
    blocks: list[ResidualBlock | None] = []
    for rendering, jacobian in zip(renderings, jacobians, strict=True):
        try:
            blocks.append(residuals(rendering, jacobian))
        except SolverError:
            blocks.append(None)
    return of_blocks(blocks, jacobians.shape[-1], robust, patches)


def of_blocks(
    blocks: Sequence[ResidualBlock | None],
    unknowns: int,
    robust: Robust | None = None,
    patches: int = 0,
) -> NormalEquations:
    """Return the normal equations of residuals, one block for each row; keeps their graph.

    Args:
        blocks: None where there are none.
        unknowns: columns of their Jacobians.
        robust: kernel, with widths [B, 1] of the row that is compared with; none if None.
        patches: number of clusters of which gradients are asked for.
    """
    kernel = RobustKernel.NONE if robust is None else robust.kernel
    given = None if robust is None or robust.widths is None else robust.widths[:, 0]
    rows = [
        _of_block(block, unknowns, kernel, None if given is None else given[row], patches)
        for row, block in enumerate(blocks)
    ]
    cost, gradient, hessian, width, *figures, by_patch = (
        torch.stack(values) for values in zip(*rows, strict=True)
    )
    return NormalEquations(
        cost,
        gradient,
        hessian,
        cost.isfinite(),
        None if kernel is RobustKernel.NONE else RobustFigures(width[:, None], *figures),
        by_patch if patches else None,
    )


def _of_block(
    block: ResidualBlock | None,
    unknowns: int,
    kernel: RobustKernel,
    given: Tensor | None,
    patches: int,
) -> tuple[Tensor, ...]:
    """Return cost, gradient, hessian, width, compared and plain cost, curvature and patches."""
    if block is not None:
        width = kernel_width(block, kernel)
        plain = robust_cost(block, RobustKernel.NONE, width)
        cost = robust_cost(block, kernel, width)
        compared = cost if given is None else robust_cost(block, kernel, given)
        weighted = reweighted(block, kernel, width)
        gradient, hessian = _sums(weighted)
        curvature = hessian
        if kernel is not RobustKernel.NONE:
            curvature = _sums(curvature_weighted(block, kernel, width))[1]
        figures = (cost, gradient, hessian, width, compared, plain, curvature)
        if all(bool(figure.detach().isfinite().all()) for figure in figures):
            return *figures, _sums_of_patches(weighted, patches)
    nothing = torch.zeros(patches, unknowns, dtype=torch.float64)
    never = nothing.new_tensor(torch.inf if block is None else torch.nan)
    none = nothing.new_zeros(unknowns)
    square = none.expand(unknowns, unknowns)
    return never, none, square, torch.ones_like(never), never, never, square, nothing


def _sums(block: ResidualBlock) -> tuple[Float64[Tensor, 'n'], Float64[Tensor, 'n n']]:
    """Return J^T W r and J^T W J."""
    J = block.jacobian
    weighted = J if block.weight is None else J * block.weight[:, None]
    return inner(weighted, block.residual[:, None])[:, 0], inner(weighted, J)


def _sums_of_patches(block: ResidualBlock, patches: int) -> Float64[Tensor, 'P n']:
    """Return J^T W r of each patch."""
    forces = block.residual if block.weight is None else block.weight * block.residual
    sums = torch.zeros(patches, block.jacobian.shape[1], dtype=torch.float64)
    if patches == 0:
        return sums
    return sums.index_add(0, block.cluster, (block.jacobian * forces[:, None]).double())
