"""Weights against what the X-ray shows and the CT lacks: instruments, cables, tables."""

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

KERNEL_WIDTH = 2.0
"""Residuals of this many standard deviations count half."""
_SMALLEST_ERROR = 0.05
_ROUNDS = 4
_PLACES = 8192


def inlier_weights(
    y: Float32[Tensor, 'n'],
    basis: Float32[Tensor, 'n m'],
    weight: Float32[Tensor, 'n'] | None,
    components: int,
) -> Float32[Tensor, 'n']:
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
    few = torch.cat([basis[rows], y[rows, None]], 1).double()
    part = torch.ones(len(rows), dtype=few.dtype) if weight is None else weight[rows].double()
    # Where most of an image is empty, the median error is nothing, and all else would be outliers.
    contrast = few[:, -1].reshape(components, -1).var(1, correction=0).sum()
    smallest = _SMALLEST_ERROR**2 * float(contrast)
    for _ in range(_ROUNDS):
        fit = _weighted_fit((few * part[:, None]).T @ few)
        squared = (few[:, -1] - few[:, :-1] @ fit).reshape(components, -1).square().sum(0)
        variance = float(squared.median()) / median_of_unit_variance
        width = KERNEL_WIDTH**2 * max(variance, smallest)
        part = (1 / (1 + squared / width)).repeat(components)
    squared = (y - basis @ fit.float()).reshape(components, -1).square().sum(0)
    return (1 / (1 + squared / width)).repeat(components)


def orthonormal_under(
    products: Float64[Tensor, 'm m'], first: int
) -> tuple[Float64[Tensor, 'm a'], Float64[Tensor, 'm b']]:
    """Return what orthonormal bases N and E are made of, E orthogonal to N.

    Args:
        products: of the columns that both are made of, under the weight that counts.
        first: columns of which N is made; E is made of what the others add.
    """
    # By small matrices: a hundred times faster than a singular value decomposition.
    G = products.numpy()
    sizes = np.sqrt(np.maximum(G.diagonal(), 1e-300))[:, None]
    G, whole = G / sizes / sizes.T, np.diag(np.sign(G.diagonal()))
    N = whole[:, :first] @ _inverse_root(G[:first, :first])
    rest = whole[:, first:] - N @ (N.T @ G[:, first:])
    E = rest @ _inverse_root(rest.T @ G @ rest)
    return torch.from_numpy(N / sizes), torch.from_numpy(E / sizes)


def _inverse_root(squares: Float64[np.ndarray, 'm m']) -> Float64[np.ndarray, 'm k']:
    """Return R with R^T squares R = 1 for what is left of unit vectors, without what is nothing."""
    left = squares.diagonal()
    useful = left > 1e-10
    lengths = np.sqrt(left[useful])[:, None]
    values, axes = np.linalg.eigh(squares[useful][:, useful] / lengths / lengths.T)
    kept = values > 1e-9 * values[-1:]
    root = np.zeros((len(squares), kept.sum()))
    root[useful] = axes[:, kept] / np.sqrt(values[kept]) / lengths
    return root


def _weighted_fit(products: Float64[Tensor, 'k k']) -> Float64[Tensor, 'm']:
    """Return the coefficients of all columns but the last that fit the last, by their products."""
    G = products.numpy()
    scale = np.sqrt(np.maximum(G.diagonal()[:-1], 1e-300))
    normal = G[:-1, :-1] / np.outer(scale, scale)
    return torch.from_numpy(np.linalg.lstsq(normal, G[:-1, -1] / scale, rcond=None)[0] / scale)
