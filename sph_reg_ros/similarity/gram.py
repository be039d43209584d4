"""Sums of products of the columns of images, as products of matrices."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from sph_reg_ros.rendering.cpu.threads import ONE_CALL_AT_A_TIME
from sph_reg_ros.similarity import gram_kernel
from sph_reg_ros.similarity.features import Features

Columns = Float64[Tensor, 'c k B N r w'] | Float32[np.ndarray, 'c k B N r w']
"""Features of n slopes and an image, N = n + 1, of c components, in k blocks of r whole rows."""
BLOCK = 256
"""About so many pixels are summed in float32. One product of all adds them up one by one: an error
of 1e-5 for a small image already."""


def inner(a: Float[Tensor, 'n p'], b: Float[Tensor, 'n q']) -> Float64[Tensor, 'p q']:
    """Return a^T b, sums over blocks of rows in float64."""
    count = len(a) // BLOCK
    even = count * BLOCK
    parts = a[:even].reshape(count, BLOCK, a.shape[1]).mT @ b[:even].reshape(
        count, BLOCK, b.shape[1]
    )
    return parts.sum(0, dtype=torch.float64) + (a[even:].T @ b[even:]).double()


def runs_compiled(images: Tensor) -> bool:
    """Return whether compiled loops take these images; torch does on other devices."""
    return images.device.type == 'cpu'


def in_blocks(images: Float[Tensor, '*b h w']) -> Float[Tensor, 'k *b r w']:
    """Return images cut into k blocks of r whole rows, those beyond the last one 0."""
    height, width = images.shape[-2:]
    rows = _rows_of_block(width)
    filled = torch.nn.functional.pad(images, (0, 0, 0, -height % rows))
    return filled.unflatten(-2, (-1, rows)).movedim(-3, 0).contiguous()


@dataclass(frozen=True)
class FixedImages:
    """What the features of renderings are multiplied with, cut into blocks (`in_blocks`).

    The m basis images stand for others, which are made of them.

    Attributes:
        features: which ones.
        anchor: weights of an image's pixels, whose sum is taken off it.
        weight: of each place, 0 where the features do not count.
        basis: m images for each of c components, the weight included.
        made_of: what each of the others is made of.
    """

    features: Features
    anchor: Float64[Tensor, 'p']
    weight: Float32[Tensor, 'k r w']
    basis: Float32[Tensor, 'c k m r w']
    made_of: Float64[Tensor, 'm M']

    def to(self, device: torch.device) -> 'FixedImages':
        """Return the same on another device."""
        tensors = (self.anchor, self.weight, self.basis, self.made_of)
        return FixedImages(self.features, *(tensor.to(device) for tensor in tensors))

    @cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return weight and basis, each block in one line, and what is made of them."""
        parts = (self.weight.flatten(-2), self.basis.flatten(-2), self.made_of)
        return tuple(part.numpy() for part in parts)

    def columns(self, images: Float[Tensor, 'B H W'], slopes: Float[Tensor, 'B n H W']) -> Columns:
        """Return the features of slopes and images in blocks; an array on the CPU.

        An offset is taken off the images.
        """
        anchors = images.flatten(1).double() @ self.anchor
        if runs_compiled(images):
            return _compiled_columns(self.features, images, slopes, anchors)
        stacked = torch.cat([slopes, (images - anchors[:, None, None])[:, None]], 1)
        return in_blocks(self.features.of_columns(stacked).double().transpose(0, 1)).transpose(0, 1)


def grams(columns: Columns, fixed: FixedImages) -> Float64[Tensor, 'B N M']:
    """Return products of columns with themselves, then with what the basis stands for."""
    if isinstance(columns, np.ndarray):
        # NumPy multiplies many small matrices in half of the time of torch.
        weight, basis, made_of = fixed.arrays
        flat = columns.reshape(*columns.shape[:4], -1)
        right = (flat * weight[:, None, None]).swapaxes(-1, -2)
        own = np.matmul(flat, right).sum((0, 1), dtype=np.float64)
        others = np.matmul(flat, basis[:, :, None].swapaxes(-1, -2)).sum((0, 1), dtype=np.float64)
        return torch.from_numpy(np.concatenate([own, others @ made_of], -1))
    lines = columns.flatten(-2)
    products = (lines @ (lines * fixed.weight.flatten(-2)[:, None, None]).mT).sum((0, 1))
    others = (lines @ fixed.basis.flatten(-2)[:, :, None].to(lines).mT).sum((0, 1))
    return torch.cat([products, others @ fixed.made_of], -1)


def sums_of_patches(
    columns: Columns, fixed: FixedImages, factors: Float64[Tensor, 'B M']
) -> Float64[Tensor, 'B P L']:
    """Return the sums over patches of residuals times columns, and times the images of the basis.

    Args:
        columns: features of slopes and images.
        fixed: basis images.
        factors: what a residual is of the image and of the images that the basis stands for.
    """
    edges, batch = fixed.features.patch_edges, columns.shape[2]
    count, size = edges.shape[1] - 1, columns.shape[3]
    raw = torch.cat([factors[:, :1], factors[:, 1:] @ fixed.made_of.T], 1)
    if isinstance(columns, np.ndarray):
        sums = torch.zeros(batch, count, count, size + raw.shape[1] - 1, dtype=torch.float64)
        arrays = (tensor.numpy() for tensor in (fixed.weight, fixed.basis, raw.contiguous()))
        with ONE_CALL_AT_A_TIME:
            gram_kernel.sums_of_patches(columns, *arrays, edges, sums.numpy())
        sums = sums.flatten(1, 2)
    else:
        sums = _sums_of_patches(columns, fixed, raw, edges)
    return torch.cat([sums[..., :size], sums[..., size:] @ fixed.made_of], -1)


def weighted_products(
    images: Float[Tensor, 'B H W'],
    slopes: Float[Tensor, 'B n H W'],
    weights: Float64[Tensor, 'B k p'],
) -> Float64[Tensor, 'B n n']:
    """Return the sums over pixels of weighted products of n slopes of images.

    Args:
        images: any.
        slopes: their derivatives.
        weights: of pixels, in blocks, those beyond the last row 0.
    """
    if runs_compiled(images):
        columns = _compiled_columns(None, images, slopes, torch.zeros(len(images)))
        flat = columns[0, :, :, :-1].reshape(*columns.shape[1:3], slopes.shape[1], -1)
        weighted = flat * weights.numpy().astype(np.float32).swapaxes(0, 1)[:, :, None]
        products = np.matmul(weighted, flat.swapaxes(-1, -2)).sum(0, dtype=np.float64)
        return torch.from_numpy(products)
    lines = in_blocks(slopes.double()).flatten(-2)
    return ((lines * weights.transpose(0, 1)[:, :, None]) @ lines.mT).sum(0)


def _compiled_columns(
    features: Features | None, images: Tensor, slopes: Tensor, anchors: Tensor
) -> Float32[np.ndarray, 'c k B N r w']:
    """Return the columns of features, of the pixels if None."""
    components, (height, width) = 1, images.shape[1:]
    taps = np.zeros((2, 0), np.float32)
    if features is not None:
        components, taps, (height, width) = features.components, features.taps, features.shape
    rows = _rows_of_block(width)
    shape = (components, -(-height // rows), len(images), slopes.shape[1] + 1, rows, width)
    out = np.empty(shape, np.float32)
    arrays = (array(tensor) for tensor in (images, slopes, anchors))
    with ONE_CALL_AT_A_TIME:
        gram_kernel.fill_columns(taps, *arrays, out)
    return out


def array(tensor: Tensor) -> Float32[np.ndarray, '...']:
    """Return what compiled loops take of a tensor on the CPU."""
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)


def _rows_of_block(width: int) -> int:
    return max(1, BLOCK // max(1, width))


def _sums_of_patches(
    columns: Tensor, fixed: FixedImages, raw: Float64[Tensor, 'B L'], edges: np.ndarray
) -> Float64[Tensor, 'B P L']:
    """Return the sums on any device."""
    weight, basis = fixed.weight[:, None], fixed.basis.double()
    residual = raw[:, 0, None, None] * weight * columns[:, :, :, -1]
    residual = residual + (basis[:, :, None] * raw[:, 1:, None, None]).sum(3)
    bare = torch.where(weight > 0, residual / weight, 0.0)
    parts = (columns * residual[:, :, :, None], basis[:, :, None] * bare[:, :, :, None])
    products = torch.cat(parts, 3).sum(0).movedim(0, 2).flatten(2, 3)
    height, width = fixed.features.shape
    products = products[:, :, :height].flatten(2).mT
    count = edges.shape[1] - 1
    rows, places = (torch.from_numpy(np.diff(edge)).to(columns.device) for edge in edges)
    patch = torch.arange(count, device=columns.device)
    patch = patch.repeat_interleave(rows)[:, None] * count + patch.repeat_interleave(places)
    sums = products.new_zeros(len(raw), count**2, products.shape[2])
    return sums.index_add_(1, patch.flatten(), products)
