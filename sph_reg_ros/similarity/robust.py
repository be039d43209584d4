"""Robust kernels: what a residual costs, and the weight that stands for it in a least square.

A kernel replaces r^2 by s^2 rho(r^2 / s^2), with rho(x) ~ x near 0 and s a multiple of the
residuals' own scale. Least squares weighted by rho' touch that cost at the current residuals and
lie above it elsewhere, for every kernel here: a step that lowers them lowers the robust cost
(Holland and Welsch, Communications in Statistics 6(9), 1977).
"""

from dataclasses import dataclass, replace
from enum import Enum

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.similarity.residual import ResidualBlock


class RobustKernel(str, Enum):
    """How the cost grows with a residual: ever slower than its square, except for NONE."""

    NONE = 'none'
    HUBER = 'huber'
    CAUCHY = 'cauchy'
    TUKEY = 'tukey'


@dataclass(frozen=True)
class Robust:
    """A robust kernel for rows of poses.

    Attributes:
        kernel: which one.
        widths: of each row and block of residuals [B, k], for the cost that is compared with
            another pose's; those of the residuals themselves if None.
    """

    kernel: RobustKernel
    widths: Float64[Tensor, 'B k'] | None = None


def is_robust(robust: Robust | None) -> bool:
    """Return whether there is a kernel at all."""
    return robust is not None and robust.kernel is not RobustKernel.NONE


TUNING = {RobustKernel.HUBER: 1.345, RobustKernel.CAUCHY: 2.3849, RobustKernel.TUKEY: 4.6851}
"""s in standard deviations: 95 % efficiency for normal residuals (Holland and Welsch, table 1)."""

DEVIATION_FROM_MEDIAN = 1.4826
"""Standard deviation of normal values by the median of their size."""


def kernel_width(block: ResidualBlock, kernel: RobustKernel) -> Float[Tensor, '']:
    """Return s: the kernel's tuning constant times the median absolute residual's deviation.

    Residuals of weight 0 do not count. The width never falls below the rounding of the residuals,
    so that more than half of exact residuals leave it positive.
    """
    if kernel is RobustKernel.NONE:
        return block.residual.new_ones(())
    size = block.residual.abs()
    if block.weight is not None:
        size = size[block.weight > 0]
    if size.numel() == 0:
        return size.new_ones(())
    info = torch.finfo(size.dtype)
    floor = info.eps**0.5 * size.detach().square().mean().sqrt() + info.tiny
    return TUNING[kernel] * torch.maximum(DEVIATION_FROM_MEDIAN * size.median(), floor)


def robust_cost(block: ResidualBlock, kernel: RobustKernel, width: Tensor) -> Tensor:
    """Return the sum of weight * s^2 rho(r^2 / s^2), in float64."""
    cost = _cost_of_each(block.residual, kernel, width)
    if block.weight is not None:
        cost = cost * block.weight
    return cost.sum(dtype=torch.float64)


def reweighted(block: ResidualBlock, kernel: RobustKernel, width: Tensor) -> ResidualBlock:
    """Return the block with its weight times rho', the first derivative of the kernel."""
    if kernel is RobustKernel.NONE:
        return block
    x = (block.residual / width).square()
    return _times(block, _weight(x, kernel))


def curvature_weighted(block: ResidualBlock, kernel: RobustKernel, width: Tensor) -> ResidualBlock:
    """Return the block with its weight times rho' + 2 x rho'', half the cost's second derivative.

    J^T W J with these weights says how sharp the optimum of the robust cost is; with those of
    `reweighted` it says too much. Weights may be negative.
    """
    if kernel is RobustKernel.NONE:
        return block
    x = (block.residual / width).square()
    return _times(block, _curvature(x, kernel))


def _times(block: ResidualBlock, factor: Tensor) -> ResidualBlock:
    return replace(block, weight=factor if block.weight is None else factor * block.weight)


def _cost_of_each(residual: Tensor, kernel: RobustKernel, width: Tensor) -> Tensor:
    if kernel is RobustKernel.NONE:
        return residual.square()
    x = (residual / width).square()
    if kernel is RobustKernel.HUBER:
        rho = torch.where(x <= 1, x, 2 * x.clamp(min=1).sqrt() - 1)
    elif kernel is RobustKernel.CAUCHY:
        rho = torch.log1p(x)
    else:
        # (1 - (1 - x)^3) / 3 without its cancellation for small x.
        inside = x.clamp(max=1)
        rho = inside * (1 - inside + inside.square() / 3)
    return width.square() * rho


def _weight(x: Tensor, kernel: RobustKernel) -> Tensor:
    if kernel is RobustKernel.HUBER:
        return x.clamp(min=1).rsqrt()
    if kernel is RobustKernel.CAUCHY:
        return 1 / (1 + x)
    return (1 - x.clamp(max=1)).square()


def _curvature(x: Tensor, kernel: RobustKernel) -> Tensor:
    if kernel is RobustKernel.HUBER:
        return (x <= 1).to(x.dtype)
    if kernel is RobustKernel.CAUCHY:
        return (1 - x) / (1 + x).square()
    inside = x.clamp(max=1)
    return (1 - inside) * (1 - 5 * inside)
