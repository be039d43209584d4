"""An X-ray turned, scaled and shifted over renderings that reach beyond it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

EDGE_SHARE = 0.5
"""Weight of line integrals beside that of their slopes, which say more but are more often wrong."""
MIN_USABLE = 0.25
"""Templates that keep a smaller share of their pixels are left out."""
MIN_ENERGY = 1e-3
"""Contrast that a rendering needs under a template, as a share of the largest one."""


@dataclass(frozen=True)
class Templates:
    """Versions of one X-ray, transformed for correlation with larger images.

    Normalised cross-correlation of every template with every part of an image, only over the
    template's mask, by fast Fourier transforms (Padfield, IEEE Trans. Image Process. 21(5), 2012).

    Attributes:
        spectrum: of masked, centred and scaled template channels, conjugate [T, C, H', W'].
        mask_spectrum: of the masks, conjugate [T, H', W'].
        counts: usable pixels of each template [T].
        shifts: (rows, columns) of shifts that keep a template inside an image.
        size: (height, width) of the images.
    """

    spectrum: Tensor
    mask_spectrum: Tensor
    counts: Float32[Tensor, 'T']
    shifts: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def build(
        cls, images: Float32[Tensor, 'T h w'], masks: Bool[Tensor, 'T h w'], size: tuple[int, int]
    ) -> 'Templates':
        """Transform templates [T, h, w] for images of a larger size."""
        inside = _eroded(masks).float()
        counts = inside.sum((-1, -2))
        channels = _channels(images)
        offset = (channels[:, :1] * inside[:, None]).sum((-1, -2), keepdim=True)
        channels[:, :1] -= offset / counts.clamp(min=1)[:, None, None, None]
        channels *= inside[:, None]
        channels /= channels.square().sum((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-20)
        height, width = images.shape[-2:]
        return cls(
            torch.fft.rfft2(channels, size).conj(),
            torch.fft.rfft2(inside, size).conj(),
            counts,
            (size[0] - height + 1, size[1] - width + 1),
            size,
        )

    def best_shifts(
        self, image: Float[Tensor, 'H W']
    ) -> tuple[Float32[Tensor, 'T'], Float64[Tensor, 'T 2']]:
        """Return the highest correlation of each template in an image, and its (column, row)."""
        channels = _channels(image[None].float())[0]
        channels[0] -= channels[0].mean()
        spectrum = torch.fft.rfft2(channels)
        products = self._correlate((spectrum * self.spectrum).sum(1))
        sums = self._correlate(spectrum[0] * self.mask_spectrum)
        energies = self._correlate(torch.fft.rfft2(channels.square().sum(0)) * self.mask_spectrum)
        counts = self.counts.clamp(min=1)[:, None, None]
        energies = energies - sums.square() / counts
        floor = (MIN_ENERGY * energies.max()).clamp(min=1e-20)
        scores = (products / torch.maximum(energies, floor).sqrt()).flatten(1)
        template_size = (self.size[0] - self.shifts[0] + 1) * (self.size[1] - self.shifts[1] + 1)
        is_little = self.counts < MIN_USABLE * template_size
        scores = torch.where(is_little[:, None], -1.0, scores)
        best, at = scores.max(1)
        columns = self.shifts[1]
        return best, torch.stack([at % columns, at // columns], -1).double()

    def _correlate(self, spectrum: Tensor) -> Tensor:
        rows, columns = self.shifts
        return torch.fft.irfft2(spectrum, self.size)[:, :rows, :columns]


def _channels(images: Float32[Tensor, 'n h w']) -> Float32[Tensor, 'n 3 h w']:
    """Return line integrals and their two slopes, which vanish at the border."""
    channels = images.new_zeros(len(images), 3, *images.shape[-2:])
    channels[:, 0] = EDGE_SHARE * images
    channels[:, 1, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    channels[:, 2, 1:-1] = images[:, 2:] - images[:, :-2]
    return channels


def _eroded(masks: Bool[Tensor, 'n h w']) -> Bool[Tensor, 'n h w']:
    """Return pixels all of whose neighbours are usable: only there are slopes known."""
    outside = torch.nn.functional.pad((~masks).float(), (1, 1, 1, 1), value=1.0)
    return torch.nn.functional.max_pool2d(outside[:, None], 3, 1)[:, 0] == 0


def fast_size(minimum: int) -> int:
    """Return the next size that a fast Fourier transform likes: factors 2, 3 and 5 only, even."""
    size = minimum + minimum % 2
    while _without_small_factors(size) > 1:
        size += 2
    return size


def _without_small_factors(number: int) -> int:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number
