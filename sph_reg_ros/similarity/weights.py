"""Weights against what the X-ray shows and the CT lacks: instruments, cables, tables."""

import torch
from jaxtyping import Float64
from torch import Tensor

KERNEL_WIDTH = 2.0
"""Residuals of this many standard deviations count half."""
_SMALLEST_ERROR = 0.05
_ROUNDS = 4
_PLACES = 8192


def inlier_weights(
    y: Float64[Tensor, 'n'],
    basis: Float64[Tensor, 'n m'],
    weight: Float64[Tensor, 'n'] | None,
    components: int,
) -> Float64[Tensor, 'n']:
    """Fit y by the basis with reweighted least squares and return the weights that result.

    Cauchy's weights 1 / (1 + (e / (k sigma))^2) of the residual e, sigma from its median, which
    holds as long as outliers are fewer than half (Holland and Welsch, Communications in Statistics
    6(9), 1977).

    Args:
        y: features of a rendering.
        basis: features that the X-ray predicts it from.
        weight: to start from; all 1 if None.
        components: features of one place, one block of y after the other; they share a weight.
    """
    # The median of a squared normal deviate, and of the sum of two.
    median_of_unit_variance = {1: 0.4549, 2: 1.3863}[components]
    places = len(y) // components
    # A map of a dozen coefficients needs no more places than this.
    few = torch.arange(0, places, max(1, places // _PLACES))
    rows = torch.cat([few + part * places for part in range(components)])
    y_few, basis_few = y[rows], basis[rows]
    part = torch.ones_like(y_few) if weight is None else weight[rows]
    # Where most of an image is empty, the median error is nothing, and all else would be outliers.
    deviation = y_few.reshape(components, -1) - y_few.reshape(components, -1).mean(1, keepdim=True)
    smallest = _SMALLEST_ERROR**2 * float(deviation.square().sum(0).mean())
    for _ in range(_ROUNDS):
        fit = _weighted_fit(y_few, basis_few, part)
        squared = (y_few - basis_few @ fit).reshape(components, -1).square().sum(0)
        variance = squared.median() / median_of_unit_variance
        width = KERNEL_WIDTH**2 * variance.clamp(min=smallest)
        part = (1 / (1 + squared / width)).repeat(components)
    squared = (y - basis @ fit).reshape(components, -1).square().sum(0)
    return (1 / (1 + squared / width)).repeat(components)


def orthonormal(
    columns: Float64[Tensor, 'n m'], relative_to: Float64[Tensor, 'n m']
) -> Float64[Tensor, 'n k']:
    """Return an orthonormal basis of the columns, without those that add nothing.

    Args:
        columns: vectors.
        relative_to: a column is nothing if it is short beside the one here.
    """
    length = columns.norm(dim=0)
    useful = length > 1e-5 * relative_to.norm(dim=0)
    columns = columns[:, useful] / length[useful]
    if columns.shape[1] == 0:
        return columns
    # By the small Gram matrix: a hundred times faster than a singular value decomposition.
    squares, axes = torch.linalg.eigh(columns.T @ columns)
    kept = squares > 1e-9 * squares[-1]
    return columns @ (axes[:, kept] / squares[kept].sqrt())


def _weighted_fit(y: Tensor, basis: Tensor, weight: Tensor) -> Float64[Tensor, 'm']:
    weighted = basis * weight[:, None]
    scale = (weighted * basis).sum(0).clamp(min=1e-300).sqrt()
    normal = (weighted.T @ basis) / torch.outer(scale, scale)
    return (
        torch.linalg.lstsq(normal, (weighted.T @ y / scale)[:, None], driver='gelsd').solution[:, 0]
        / scale
    )
