"""X-rays in: one from a file."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.xray.array_file import read_array
from sph_reg_ros.imaging.xray.dicom_xray import read_dicom_xray
from sph_reg_ros.imaging.xray.file_kind import START_BYTES, require_no_other_kind
from sph_reg_ros.imaging.xray.given_geometry import NOTHING_GIVEN, GivenGeometry
from sph_reg_ros.imaging.xray.raster import read_raster
from sph_reg_ros.imaging.xray.xray_image import XRay, frame_used

_RASTER_STARTS = (
    b'\x89PNG', b'II*\0', b'MM\0*', b'II+\0', b'MM\0+', b'\xff\xd8\xff', b'BM'
)  # fmt: skip
_ARRAY_START = b'\x93NUM'


def parse_xray(
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
