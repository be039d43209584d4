"""From detector counts to line integrals, and back."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from sph_reg_ros.errors import ConfigError, ErrorCode, ImageError

IntensityKind = Literal['beer_lambert', 'log_compressed', 'line_integral']

# Air is the brightest thing in view; a few hot pixels are not.
_AIR_QUANTILE = 0.995
_QUANTILE_SAMPLES = 65536
FULL_SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""Largest values of 8, 10, 12, 14 and 16 bit encodings."""
# Half a count of a 16 bit detector whose brightest value is I0.
_RELATIVE_FLOOR = 2.0**-17
# Noise of a detector whose dark image was subtracted leaves fewer pixels below zero.
_NEGATIVE_SHARE = 0.01
_ZERO_QUANTILE = 0.001


@dataclass(frozen=True)
class IntensityModel:
    """How pixels depend on the line integral L of the attenuation.

    Attributes:
        kind: 'beer_lambert': I = I0 exp(-L). 'log_compressed': supplement eq. 17 of
            arXiv 2509.06890, L = 1 - log(1 + I/I0) / log 2, as published; it is no true
            attenuation law (it only spans 0 to 1) and a rendering must be given the same map.
            'line_integral': the pixels are line integrals already.
        i0: pixel value of the open beam; estimated from the image if None.
        bright_air: True if air is bright. False for a negative: the pixel is then i0 - I, or, with
            i0 None, I is the pixel mirrored about the middle of the usable range, or of that of an
            8 to 16 bit encoding if that is lower.
            Line integrals are dark in air by definition: no meaning for 'line_integral'.
    """

    kind: IntensityKind = 'beer_lambert'
    i0: float | None = None
    bright_air: bool = True

    def __post_init__(self) -> None:
        """Check the fields; raises ConfigError."""
        if self.kind not in get_args(IntensityKind):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f'intensity {self.kind!r} is not one of {", ".join(get_args(IntensityKind))}',
            )
        if self.i0 is not None and not (math.isfinite(self.i0) and self.i0 > 0):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID, f'i0 = {self.i0} must be positive, or None to estimate it'
            )


def line_integrals(
    pixels: Float32[Tensor, 'H W'], model: IntensityModel, mask: Bool[Tensor, 'H W'] | None = None
) -> Float32[Tensor, 'H W']:
    """Turn pixels into line integrals (dimensionless).

    Pixels at or below zero count as half a count: 0.5 in an image of whole numbers, else
    i0 / 2**17. Pixels brighter than I0 give small negative values, which are kept: clamping them
    would bias the mean of a noisy open beam.

    Args:
        pixels: image [H, W], finite.
        model: what the pixels are.
        mask: pixels to estimate I0 from; all if None. It does not change the rest.

    Raises:
        ImageError: the open beam cannot be estimated because nothing usable is above zero.
    """
    if model.kind == 'line_integral':
        return pixels.to(torch.float32)
    beam = counts(pixels, model, mask)
    usable = beam if mask is None else beam[mask]
    i0 = model.i0 if model.i0 is not None else _open_beam(usable, model.kind)
    floor = 0.5 if _has_whole_counts(pixels) else i0 * _RELATIVE_FLOOR
    # Inside: i0 may be tiny, and a floor above it would turn the image over.
    fraction = beam.clamp(min=min(floor, 0.5 * i0)) / i0
    if model.kind == 'beer_lambert':
        return -torch.log(fraction)
    return 1 - torch.log1p(fraction) / math.log(2.0)


def pixels_from_line_integrals(
    integrals: Float32[Tensor, 'H W'], model: IntensityModel
) -> Float32[Tensor, 'H W']:
    """Turn line integrals into the pixels of a noise-free image: the inverse of `line_integrals`.

    With `i0` None the open beam is 1. Beyond the clamp at half a count nothing is lost but float32
    rounding, which a negative (`bright_air` False) suffers most from where L is large.
    """
    if model.kind == 'line_integral':
        return integrals.to(torch.float32)
    i0 = 1.0 if model.i0 is None else model.i0
    if model.kind == 'beer_lambert':
        beam = i0 * torch.exp(-integrals)
    else:
        beam = i0 * torch.expm1((1 - integrals) * math.log(2.0))
    return beam if model.bright_air else i0 - beam


def offset_of_zero(
    pixels: Float32[Tensor, 'H W'], model: IntensityModel, mask: Bool[Tensor, 'H W'] | None = None
) -> float:
    """Return what has to be added to pixels so that no intensity is below zero; 0.0 if none is.

    Signed pixels without a rescale, and normalised ones, have their zero somewhere else.

    Args:
        pixels: image [H, W].
        model: what the pixels are; line integrals may be negative, and `i0` says where zero is.
        mask: pixels [H, W] to look at; all if None.
    """
    if model.kind == 'line_integral' or model.i0 is not None:
        return 0.0
    usable = pixels.reshape(-1) if mask is None else pixels[mask]
    if usable.numel() == 0 or float((usable < 0).float().mean()) <= _NEGATIVE_SHARE:
        return 0.0
    # A value that is there keeps whole numbers whole.
    return -_sampled_quantile(usable, _ZERO_QUANTILE, 'lower')


def offset_warning(
    pixels: Float32[Tensor, 'H W'], model: IntensityModel, mask: Bool[Tensor, 'H W'] | None = None
) -> tuple[str, ...]:
    """Return what to say of pixels that need an offset (`offset_of_zero`); () if they do not."""
    offset = offset_of_zero(pixels, model, mask)
    if offset == 0:
        return ()
    return (
        f'{float((pixels < 0).float().mean()):.0%} of the pixels are negative, which no intensity '
        f'is: the darkest, {-offset:g}, is taken for no intensity at all; if they are line '
        'integrals, say so (intensity line_integral)',
    )


def counts(
    pixels: Float32[Tensor, 'H W'], model: IntensityModel, mask: Bool[Tensor, 'H W'] | None = None
) -> Float32[Tensor, 'H W']:
    """Return the image as intensity on the detector: bright where nothing is in the way.

    For 'line_integral' this is the mirrored image, a monotone stand-in without the exponential.
    """
    pixels = pixels.to(torch.float32)
    bright = model.bright_air and model.kind != 'line_integral'
    if bright:
        return pixels
    if model.i0 is not None and model.kind != 'line_integral':
        return model.i0 - pixels
    usable = pixels if mask is None else pixels[mask]
    low, high = (float(value) for value in torch.aminmax(usable))
    # The negative of counts cannot have come from above the range of its encoding.
    scales = FULL_SCALES if _has_whole_counts(pixels) else ()
    return min(low + high, *(s for s in scales if s >= high), math.inf) - pixels


def negative(
    pixels: Float32[Tensor, 'H W'], model: IntensityModel
) -> tuple[Float32[Tensor, 'H W'], IntensityModel]:
    """Return pixels and model of the image if it is the negative of what the model says."""
    if model.kind != 'line_integral':
        return pixels, replace(model, bright_air=not model.bright_air)
    # These have no other polarity of their own; their offset does not matter.
    return pixels.max() - pixels, model


def estimate_open_beam(usable: Float32[Tensor, ' n']) -> float:
    """Return the 99.5 % quantile of usable pixels.

    Where no air is in view it is only the brightest tissue: the line integrals then lack a
    constant, which no normalised similarity notices.
    """
    return _sampled_quantile(usable, _AIR_QUANTILE)


def _sampled_quantile(values: Tensor, share: float, how: str = 'linear') -> float:
    flat = values.reshape(-1)
    # An odd step does not stay in the same columns of an image whose width is a power of two.
    step = max(1, flat.numel() // _QUANTILE_SAMPLES) | 1
    return float(torch.quantile(flat[::step].to(torch.float32), share, interpolation=how))


def _open_beam(usable: Float32[Tensor, ' n'], kind: IntensityKind) -> float:
    if usable.numel() == 0:
        raise ImageError(ErrorCode.IMAGE_CONTENT, 'no pixel of the image is usable')
    # Eq. 17 normalises by the maximum; the estimate is for the law that divides by the beam.
    i0 = float(usable.max()) if kind == 'log_compressed' else estimate_open_beam(usable)
    if i0 <= 0:
        raise ImageError(
            ErrorCode.IMAGE_CONTENT,
            'the image is black: no pixel is bright enough to be the open beam; give i0',
        )
    return i0


def _has_whole_counts(pixels: Tensor) -> bool:
    return bool((pixels == pixels.round()).all()) and bool(pixels.abs().max() > 1)
