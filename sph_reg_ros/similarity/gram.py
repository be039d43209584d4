"""Sums of products of tall matrices and of images."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from sph_reg_ros.rendering.cpu.threads import ONE_CALL_AT_A_TIME
from sph_reg_ros.similarity import gram_kernel
from sph_reg_ros.similarity.features import Features

ROWS_AT_ONCE = 1024


def inner(a: Float[Tensor, 'n p'], b: Float[Tensor, 'n q']) -> Float64[Tensor, 'p q']:
    """Return a^T b, sums over more than a thousand rows in float64.

    One product of all rows adds up float32 row by row: an error of 1e-5 for a small image already.
    """
    count = len(a) // ROWS_AT_ONCE
    even = count * ROWS_AT_ONCE
    parts = a[:even].reshape(count, ROWS_AT_ONCE, a.shape[1]).mT @ b[:even].reshape(
        count, ROWS_AT_ONCE, b.shape[1]
    )
    return parts.sum(0, dtype=torch.float64) + (a[even:].T @ b[even:]).double()


def runs_compiled(images: Tensor) -> bool:
    """Return whether compiled loops take these images; torch does on other devices."""
    return images.device.type == 'cpu'


@dataclass(frozen=True)
class FixedImages:
    """What the features of renderings are multiplied with, in the shape of an image of features.

    Attributes:
        features: which ones.
        weight: of each place, 0 where the features do not count.
        basis: m images for each of c components, the root of the weight included twice.
        place: where each of the m products goes among the columns of a Gram matrix.
    """

    features: Features
    weight: Float32[Tensor, 'h w']
    basis: Float32[Tensor, 'c m h w']
    place: Int64[Tensor, 'm']

    def to(self, device: torch.device) -> 'FixedImages':
        """Return the same on another device."""
        tensors = (tensor.to(device) for tensor in (self.weight, self.basis, self.place))
        return FixedImages(self.features, *tensors)


def add_grams(
    images: Float[Tensor, 'B H W'],
    slopes: Float[Tensor, 'B n H W'],
    fixed: FixedImages,
    grams: Float64[Tensor, 'B N M'],
) -> None:
    """Add product sums of the features of slopes and images, N = n + 1, to Gram matrices.

    Columns are the products with slopes and images, then those with the fixed images. An offset is
    taken off the images.
    """
    if runs_compiled(images):
        with ONE_CALL_AT_A_TIME:
            arrays = _arrays(fixed, images, slopes)
            gram_kernel.add_grams(*arrays, fixed.place.numpy(), grams.numpy())
        return
    columns = _columns(fixed, images, slopes)
    size = columns.shape[-1]
    weighted = columns * fixed.weight.flatten()[:, None]
    grams[..., :size] += (columns.mT @ weighted).sum(1)
    basis = fixed.basis.flatten(2).double().mT
    grams[..., size + fixed.place] += (columns.mT @ basis).sum(1)


def sums_of_patches(
    images: Float[Tensor, 'B H W'],
    slopes: Float[Tensor, 'B n H W'],
    fixed: FixedImages,
    factors: Float64[Tensor, 'B k'],
) -> Float64[Tensor, 'B P M']:
    """Return the sums over patches of residuals times features of slopes and images, and basis.

    Args:
        images: line integrals.
        slopes: their derivatives.
        fixed: basis images.
        factors: what a residual is of the image and of the basis images, k = M - n.
    """
    edges = fixed.features.patch_edges
    count = edges.shape[1] - 1
    sums = torch.zeros(
        (len(images), count, count, slopes.shape[1] + factors.shape[1]),
        dtype=torch.float64,
        device=images.device,
    )
    if runs_compiled(images):
        with ONE_CALL_AT_A_TIME:
            arrays = _arrays(fixed, images, slopes)
            gram_kernel.sums_of_patches(*arrays, factors.float().numpy(), edges, sums.numpy())
        return sums.flatten(1, 2)
    columns, weight = _columns(fixed, images, slopes), fixed.weight.flatten()
    basis = fixed.basis.flatten(2).double().mT
    residual = factors[:, None, :1] * weight * columns[..., -1]
    residual = residual + (basis @ factors[:, None, 1:, None])[..., 0]
    bare = torch.where(weight > 0, residual / weight, 0.0)
    products = torch.cat([columns * residual[..., None], basis * bare[..., None]], -1).sum(1)
    rows, places = (torch.from_numpy(np.diff(edge)).to(images.device) for edge in edges)
    patch = torch.arange(count, device=images.device)
    patch = patch.repeat_interleave(rows)[:, None] * count + patch.repeat_interleave(places)
    return sums.flatten(1, 2).index_add_(1, patch.flatten(), products)


def weighted_products(
    images: Float[Tensor, 'B H W'],
    slopes: Float[Tensor, 'B n H W'],
    weights: Float[Tensor, 'B H W'],
) -> Float64[Tensor, 'B n n']:
    """Return the sums over pixels of weighted products of n slopes of images."""
    n = slopes.shape[1]
    if not runs_compiled(images):
        columns = slopes.flatten(2).double()
        return (columns * weights.flatten(1)[:, None]) @ columns.mT
    grams = torch.zeros(len(images), n + 1, n + 1, dtype=torch.float64)
    with ONE_CALL_AT_A_TIME:
        gram_kernel.add_grams(
            np.zeros((2, 0), np.float32),
            _array(images),
            _array(slopes),
            np.zeros(len(images), np.float32),
            _array(weights),
            np.zeros((1, 0, *images.shape[1:]), np.float32),
            np.zeros(0, np.int64),
            grams.numpy(),
        )
    return grams[:, :n, :n]


def _columns(fixed: FixedImages, images: Tensor, slopes: Tensor) -> Float64[Tensor, 'B c p N']:
    """Return the features of slopes and images, on any device."""
    if fixed.features.has_offset:
        usable = (fixed.weight > 0).double()
        anchors = (images * usable).flatten(1).sum(1) / usable.sum()
    else:
        anchors = images.flatten(1)[:, fixed.features.anchor]
    columns = torch.cat([slopes, (images - anchors[:, None, None])[:, None]], 1)
    return fixed.features.of_columns(columns).double().flatten(3).mT


def _arrays(fixed: FixedImages, images: Tensor, slopes: Tensor) -> tuple[np.ndarray, ...]:
    """Return what the compiled loops take first."""
    values, weight = _array(images), fixed.weight.numpy()
    return (
        fixed.features.taps,
        values,
        _array(slopes),
        _anchors(fixed.features, values, weight),
        weight[None],
        fixed.basis.numpy(),
    )


def _anchors(features: Features, images: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return what is taken off images before they are summed, so that rounding is least."""
    if features.has_offset:
        return gram_kernel.means(images, weight)
    return images.reshape(len(images), -1)[:, features.anchor].copy()


def _array(values: Tensor) -> Float32[np.ndarray, '...']:
    return values.float().contiguous().numpy()
