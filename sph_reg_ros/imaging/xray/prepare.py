"""From an X-ray's counts to what a registration compares."""

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.imaging.xray.intensity import (
    IntensityModel,
    counts,
    line_integrals,
    offset_of_zero,
)
from sph_reg_ros.imaging.xray.lens import Lens
from sph_reg_ros.imaging.xray.masks import collimator_mask, saturation_mask, smooth_edges
from sph_reg_ros.imaging.xray.rectify import rectified

_SMALLEST_USABLE_SHARE = 0.01
_FEWEST_USABLE = 64


def prepare_xray(
    pixels: Float32[Tensor, 'H W'],
    model: IntensityModel,
    *,
    mask_saturation: bool = True,
    mask_collimator: bool = True,
    mask: Bool[Tensor, 'H W'] | None = None,
    lens: tuple[Lens, Float64[Tensor, '3 3']] | None = None,
) -> tuple[Float32[Tensor, 'H W'], Bool[Tensor, 'H W']]:
    """Turn an X-ray's pixels into line integrals and a mask of what may be compared.

    Saturated air is used to estimate I0 before it is masked. Line integrals cannot be saturated, so
    'line_integral' images only lose what lies outside the collimator. Where many intensities are
    negative, the darkest counts as zero (`intensity.offset_warning`).

    Args:
        pixels: image [H, W] as stored.
        model: what the pixels are.
        mask_saturation: leave clipped pixels out (`masks.saturation_mask`), and the smooth edges of
            letters and beads among them.
        mask_collimator: leave the collimator's shadow out (`collimator.collimator_mask`).
        mask: pixels [H, W] known to be usable, e.g. `XRay.mask`; all if None.
        lens: distortion of the image and its K, to be rectified (`rectify.rectified`) after all
            else, as blades are straight and clipped pixels exact before.

    Returns:
        Line integrals [H, W] (dimensionless, finite everywhere), and the mask [H, W].

    Raises:
        ImageError: NaN or infinite pixels, a constant image, or too little left to compare.
        CameraError: the lens makes no sense.
    """
    usable = torch.ones_like(pixels, dtype=torch.bool) if mask is None else mask.clone()
    _require_content(pixels, usable)
    intensity = pixels + offset_of_zero(pixels, model, usable)
    if mask_collimator:
        usable &= collimator_mask(counts(intensity, model, usable))
    integrals = line_integrals(intensity, model, usable)
    if mask_saturation and model.kind != 'line_integral':
        measured = saturation_mask(pixels)
        usable &= measured & ~smooth_edges(pixels, measured)
    if lens is not None:
        integrals, usable = rectified(integrals, usable, lens[1], lens[0])
    left = int(usable.sum())
    if left < max(_FEWEST_USABLE, _SMALLEST_USABLE_SHARE * usable.numel()):
        raise ImageError(
            ErrorCode.IMAGE_CONTENT,
            f'only {left} of {usable.numel()} pixels are usable: the image is saturated or shut '
            'off; change the exposure or turn the masks off',
        )
    return integrals, usable


def _require_content(pixels: Float32[Tensor, 'H W'], usable: Bool[Tensor, 'H W']) -> None:
    if pixels.ndim != 2 or pixels.shape != usable.shape:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'image {tuple(pixels.shape)} and mask {tuple(usable.shape)} must be the same [H, W]',
        )
    bad = int((~torch.isfinite(pixels)).sum())
    if bad:
        raise ImageError(
            ErrorCode.IMAGE_CONTENT, f'{bad} pixels are NaN or infinite: repair the image source'
        )
    if not bool(usable.any()):
        raise ImageError(ErrorCode.IMAGE_CONTENT, 'the mask leaves no pixel of the image')
    low, high = torch.aminmax(pixels[usable])
    if low == high:
        raise ImageError(
            ErrorCode.IMAGE_CONTENT,
            f'the image is constant ({float(low):g} everywhere): nothing was exposed, or all of it '
            'is saturated',
        )
