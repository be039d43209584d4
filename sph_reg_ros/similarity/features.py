"""Linear features of an image: its pixels, or its gradient, where a mask leaves them defined."""

import math
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor
from torch.nn.functional import conv2d

from sph_reg_ros.similarity import gram_kernel
from sph_reg_ros.similarity.filters import filter_rows_and_columns
from sph_reg_ros.similarity.patches import PATCHES, patch_of_pixels

SIGMA_PX, FINE_SIGMA_PX, FINE_PX = 1.0, 1.5, 192
"""Width of the derivative; on images of FINE_PX rows and columns noise asks for a wider one."""


class Features(Protocol):
    """A linear map of images to vectors, the same for an image and for its derivatives.

    Attributes:
        cluster: patch of the image that each feature lies in [n].
        components: features of one pixel, one block of n / components after the other.
        shape: rows and columns of the image of features.
        taps: of the filters, from their middle on, as `gram_kernel` takes them.
        patch_edges: first row of each row of patches in the image of features and the end of the
            last, then the same of columns.
        anchor: index, row by row, of a pixel within the mask.
        anchoring: weights of pixels, whose sum is taken off an image so that rounding is least.
        has_offset: whether a constant image has features other than zero.
    """

    cluster: Int64[Tensor, 'n']
    anchor: int
    anchoring: Float64[Tensor, 'p']
    components: int
    shape: tuple[int, int]
    taps: Float32[np.ndarray, '2 k']
    patch_edges: Int64[np.ndarray, '2 e']
    has_offset: bool

    def of_image(self, image: Float[Tensor, 'H W']) -> Float[Tensor, 'n']:
        """Return the features of an image."""

    def of_channels(self, images: Float[Tensor, 'H W C']) -> Float[Tensor, 'n C']:
        """Return the features of each of C images that lie interleaved."""

    def as_images(self, features: Float[Tensor, 'n m']) -> Float32[Tensor, 'c m h w']:
        """Return features where they lie in the image, 0 elsewhere."""

    def of_columns(self, images: Float[Tensor, 'B N H W']) -> Float[Tensor, 'B c N h w']:
        """Return the features of all places, on the images' device."""


class PixelFeatures:
    """The pixels within the mask."""

    components = 1
    has_offset = True

    def __init__(self, mask: Bool[Tensor, 'H W']) -> None:
        """Find the pixels that count."""
        self.anchor = first_usable(mask)
        self.anchoring = mask.flatten().double() / mask.sum()
        self.shape = (mask.shape[0], mask.shape[1])
        self.taps = np.zeros((2, 0), np.float32)
        self.patch_edges = _patch_edges(mask.shape, 0)
        self.index = None if bool(mask.all()) else mask.flatten().nonzero()[:, 0]
        self.cluster = _take(patch_of_pixels(mask.shape), self.index)

    def of_image(self, image: Float[Tensor, 'H W']) -> Float[Tensor, 'n']:
        """Return the pixels."""
        return _take(image.reshape(-1), self.index)

    def of_channels(self, images: Float[Tensor, 'H W C']) -> Float[Tensor, 'n C']:
        """Return the pixels of all channels."""
        return _take(images.reshape(-1, images.shape[-1]), self.index)

    def as_images(self, features: Float[Tensor, 'n m']) -> Float32[Tensor, '1 m h w']:
        """Return pixels where they lie in the image."""
        return _as_images(features, self)

    def of_columns(self, images: Float[Tensor, 'B N H W']) -> Float[Tensor, 'B 1 N H W']:
        """Return the pixels."""
        return images[:, None]


class GradientFeatures:
    """Gradients along columns and rows, by derivatives of a Gaussian.

    Only pixels whose whole filter support lies within the mask count, so that neither what the
    mask hides nor its edge leaves a trace.
    """

    components = 2
    has_offset = False

    def __init__(self, mask: Bool[Tensor, 'H W'], sigma_px: float | None = None) -> None:
        """Find the pixels whose filter support is usable; `sigma_px` by the size if None."""
        self.anchor = first_usable(mask)
        self.anchoring = torch.zeros(mask.numel(), dtype=torch.float64)
        self.anchoring[self.anchor] = 1.0
        if sigma_px is None:
            sigma_px = SIGMA_PX if min(mask.shape) < FINE_PX else FINE_SIGMA_PX
        radius = math.ceil(2 * sigma_px)
        at = np.arange(-radius, radius + 1)
        smooth = np.exp(-0.5 * (at / sigma_px) ** 2)
        self._smooth = smooth / smooth.sum()
        slope = at * smooth
        self._slope = slope / (slope * at).sum()
        blocked = filter_rows_and_columns(
            (~mask).float()[..., None].numpy(), np.ones(2 * radius + 1), np.ones(2 * radius + 1)
        )
        usable = torch.from_numpy(blocked[..., 0] < 0.5)
        inner = patch_of_pixels(mask.shape).reshape(mask.shape)
        inner = inner[radius : mask.shape[0] - radius, radius : mask.shape[1] - radius]
        self.shape = (usable.shape[0], usable.shape[1])
        self.taps = np.zeros((2, gram_kernel.REACH + 1), np.float32)
        self.taps[:, : radius + 1] = self._smooth[radius:], self._slope[radius:]
        self.patch_edges = _patch_edges(mask.shape, radius)
        self.index = None if bool(usable.all()) else usable.flatten().nonzero()[:, 0]
        self.cluster = _take(inner.flatten(), self.index).repeat(2)

    def of_image(self, image: Float[Tensor, 'H W']) -> Float[Tensor, 'n']:
        """Return the gradient along u, then along v."""
        return self.of_channels(image[..., None])[:, 0]

    def of_channels(self, images: Float[Tensor, 'H W C']) -> Float[Tensor, 'n C']:
        """Return the gradients of all channels."""
        channels = images.contiguous().numpy()
        parts = []
        for rows, columns in ((self._smooth, self._slope), (self._slope, self._smooth)):
            filtered = torch.from_numpy(filter_rows_and_columns(channels, rows, columns))
            parts.append(_take(filtered.reshape(-1, images.shape[-1]), self.index))
        return torch.cat(parts)

    def as_images(self, features: Float[Tensor, 'n m']) -> Float32[Tensor, '2 m h w']:
        """Return gradients where they lie in the image of gradients."""
        return _as_images(features, self)

    def of_columns(self, images: Float[Tensor, 'B N H W']) -> Float[Tensor, 'B 2 N h w']:
        """Return the gradients of all places where the filters fit."""
        smooth, slope = (torch.from_numpy(taps).to(images) for taps in (self._smooth, self._slope))
        filters = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None]
        gradients = conv2d(images.flatten(0, 1)[:, None], filters)
        return gradients.unflatten(0, images.shape[:2]).transpose(1, 2)


def first_usable(mask: Bool[Tensor, 'H W']) -> int:
    """Return the index, row by row, of the first pixel that counts."""
    return int(mask.flatten().byte().argmax())


def _take(values: Tensor, index: Tensor | None) -> Tensor:
    return values if index is None else values.index_select(0, index)


def _as_images(features: Tensor, kind: PixelFeatures | GradientFeatures) -> Tensor:
    parts = features.float().reshape(kind.components, -1, features.shape[1])
    height, width = kind.shape
    index = kind.index
    if index is not None:
        whole = parts.new_zeros(kind.components, height * width, features.shape[1])
        parts = whole.index_copy(1, index, parts)
    return parts.mT.reshape(kind.components, -1, height, width).contiguous()


def _patch_edges(shape: torch.Size, margin: int) -> Int64[np.ndarray, '2 e']:
    """Return where patches begin and end in an image that is smaller by a margin all around."""
    sizes = np.array(shape)[:, None]
    edges = -(-np.arange(PATCHES + 1) * sizes // PATCHES)
    return np.clip(edges - margin, 0, np.maximum(sizes - 2 * margin, 0))
