"""X-rays in: from files, and from counts to what a registration compares."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.array_file import read_array
from sph_reg_ros.imaging.dicom_xray import read_dicom_xray
from sph_reg_ros.imaging.file_kind import START_BYTES, require_no_other_kind
from sph_reg_ros.imaging.given_geometry import NOTHING_GIVEN, GivenGeometry
from sph_reg_ros.imaging.intensity import IntensityModel, counts, line_integrals, offset_of_zero
from sph_reg_ros.imaging.lens import Lens
from sph_reg_ros.imaging.masks import collimator_mask, saturation_mask
from sph_reg_ros.imaging.raster import read_raster
from sph_reg_ros.imaging.rectify import rectified
from sph_reg_ros.imaging.xray_image import XRay, frame_used

__all__ = ['XRay', 'load_xray', 'prepare_xray']

_RASTER_STARTS = (
    b'\x89PNG', b'II*\0', b'MM\0*', b'II+\0', b'MM\0+', b'\xff\xd8\xff', b'BM'
)  # fmt: skip
_ARRAY_START = b'\x93NUM'
_SMALLEST_USABLE_SHARE = 0.01
_FEWEST_USABLE = 64


def load_xray(
    path: Path | str,
    *,
    frame: int = 0,
    camera: Camera | None = None,
    given: GivenGeometry = NOTHING_GIVEN,
) -> XRay:
    """Load one X-ray from DICOM (XA, RF, DX, CR), PNG, TIFF, JPEG, BMP or NumPy (.npy).

    The content decides which it is, not the name.

    Args:
        path: file.
        frame: frame of a multi-frame DICOM image or an array, or page of a TIFF, from 0.
        camera: intrinsics; replaces those of a DICOM file. The others have none of their own.
        given: where there is no `camera`, what completes the geometry of a DICOM file, and takes
            precedence over it; for the others, what makes a camera if it is enough.

    Raises:
        ImageError: the file is missing, unreadable, or no grey X-ray.
        CameraError: the file's geometry is missing, invalid or contradictory, or the camera does
            not fit the image.
    """
    path = Path(path)
    reader = other_reader(path)
    if reader is None:
        return read_dicom_xray(path, frame, camera, given=given)
    pixels, frames = reader(path, frame)
    camera = camera or given.camera((int(pixels.shape[0]), int(pixels.shape[1])))
    everywhere = torch.ones(pixels.shape, dtype=torch.bool)
    return XRay(pixels, everywhere, camera, warnings=frame_used(frame, frames))


def other_reader(path: Path) -> Callable[[Path, int], tuple[Float32[Tensor, 'H W'], int]] | None:
    """Return what reads pixels, and the number of frames, of a picture or NumPy file.

    None for what may be DICOM.

    Raises:
        ImageError: the file cannot be opened, or is of a kind that is not read.
    """
    try:
        with path.open('rb') as file:
            start = file.read(START_BYTES)
    except OSError as error:
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE, f'{path.name} cannot be opened: {error.strerror}'
        ) from error
    if start.startswith(_ARRAY_START):
        return read_array
    if start.startswith(_RASTER_STARTS):
        return read_raster
    require_no_other_kind(path, start)
    return None


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
        mask_saturation: leave clipped pixels out (`masks.saturation_mask`).
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
        usable &= saturation_mask(pixels)
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
