"""DICOM projection images: XA, RF, DX and CR."""

from pathlib import Path

import numpy as np
import pydicom
import torch
from jaxtyping import Shaped
from pydicom import Dataset
from pydicom.config import disable_value_validation

from sph_reg_ros.errors import ErrorCode, ImageError, RegistrationError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.dicom.decode import compression_name, stored_pixels
from sph_reg_ros.imaging.dicom.files import is_dicom, quiet_pydicom
from sph_reg_ros.imaging.dicom.stream import DicomStream
from sph_reg_ros.imaging.dicom.tags import read_number, read_word, tag_label
from sph_reg_ros.imaging.identity import hashed_identifier
from sph_reg_ros.imaging.xray.colour import grey_of
from sph_reg_ros.imaging.xray.dicom_camera import Projection, read_nominal_pose, read_projection
from sph_reg_ros.imaging.xray.dicom_intensity import read_intensity
from sph_reg_ros.imaging.xray.dicom_shutter import declared_mask
from sph_reg_ros.imaging.xray.file_kind import not_read
from sph_reg_ros.imaging.xray.given_geometry import NOTHING_GIVEN, GivenGeometry
from sph_reg_ros.imaging.xray.xray_image import XRay, frame_used

_MODALITIES = ('XA', 'RF', 'DX', 'CR', 'RG')
# What frame grabbers and exports of C-arms write.
_UNSPECIFIC_MODALITIES = ('OT', '')


def read_dicom_xray(
    path: Path,
    frame: int = 0,
    camera: Camera | None = None,
    *,
    geometry: bool = True,
    given: GivenGeometry = NOTHING_GIVEN,
) -> XRay:
    """Read one frame of a DICOM projection image with its geometry.

    Value representations are read leniently, as devices in the field write them; the
    tags that matter are checked here.

    Args:
        path: file.
        frame: frame of a multi-frame image, from 0.
        camera: replaces the one in the file, which is then not read and may be missing.
        geometry: whether to read the file's own camera; without it and `camera` there is none.
        given: what takes precedence over the file's geometry.

    Raises:
        ImageError: no readable X-ray image, or no such frame.
        CameraError: the geometry is missing, invalid or contradictory.
    """
    with disable_value_validation(), quiet_pydicom():
        dataset = _read_file(path)
        try:
            return _xray(dataset, path, frame, camera, geometry, given)
        except RegistrationError:
            raise
        except Exception as error:
            # A damaged header can fail in any way; the cause may quote it, so it is cut off.
            raise ImageError(
                ErrorCode.IMAGE_UNREADABLE,
                f'{path.name}: the DICOM header is damaged ({type(error).__name__})',
            ) from None


def _xray(
    dataset: Dataset,
    path: Path,
    frame: int,
    camera: Camera | None,
    geometry: bool,
    given: GivenGeometry,
) -> XRay:
    _require_projection_image(dataset, path)
    stored = _stored_frame(dataset, path, frame)
    mask = declared_mask(dataset, torch.from_numpy(stored.astype(np.float32)))
    pixels, intensity, assumptions = read_intensity(dataset, stored)
    size = (int(stored.shape[0]), int(stored.shape[1]))
    if camera is None and geometry:
        projection = read_projection(dataset, size, frame, given)
    else:
        projection = Projection(camera, read_nominal_pose(dataset, frame, given), ())
    return XRay(
        pixels,
        mask,
        projection.camera,
        projection.camera_from_ct,
        hashed_identifier(str(dataset.get('PatientID') or '')),
        intensity,
        _remarks(dataset, frame) + projection.warnings + assumptions,
    )


def _remarks(dataset: Dataset, frame: int) -> tuple[str, ...]:
    remarks = frame_used(frame, int(read_number(dataset, 'NumberOfFrames') or 1))
    modality = read_word(dataset, 'Modality')
    if modality in _UNSPECIFIC_MODALITIES:
        remarks += (
            f'{tag_label("Modality")} is {modality or "missing"}: that it is an X-ray is taken '
            'for granted',
        )
    return remarks


def _read_file(path: Path) -> Dataset:
    try:
        with DicomStream(path) as file:
            return pydicom.dcmread(file, force=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except Exception as error:
        # Anything can come out of a damaged file, and its text may quote the patient.
        reason = type(error).__name__
    raise ImageError(
        ErrorCode.IMAGE_UNREADABLE, f'{path.name} cannot be read as DICOM: {reason}'
    ) from None


def _require_projection_image(dataset: Dataset, path: Path) -> None:
    for keyword in ('Rows', 'Columns', 'PixelData'):
        if keyword not in dataset and not is_dicom(path):
            raise not_read(path.name, 'of an unknown kind, or damaged')
        if keyword not in dataset:
            raise ImageError(
                ErrorCode.IMAGE_UNREADABLE,
                f'{path.name} has no {tag_label(keyword)}: it is no DICOM image, or cut off',
            )
    modality = read_word(dataset, 'Modality')
    if modality not in _MODALITIES + _UNSPECIFIC_MODALITIES:
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE,
            f'{path.name}: {tag_label("Modality")} is {modality or "missing"}, not an X-ray '
            f'({", ".join(_MODALITIES)})',
        )
    if read_word(dataset, 'PhotometricInterpretation') == 'PALETTE COLOR':
        # The values are numbers of colours.
        raise _is_colour(path)


def _stored_frame(dataset: Dataset, path: Path, frame: int) -> Shaped[np.ndarray, 'H W']:
    frames = int(read_number(dataset, 'NumberOfFrames') or 1)
    if not 0 <= frame < frames:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'{path.name} has {frames} frames, 0 to {frames - 1}, and no frame {frame}',
        )
    try:
        stored = stored_pixels(dataset, frame)
    except MemoryError:
        raise
    except Exception as error:
        # Decoders raise whatever they like, and their texts may quote the header.
        compression = compression_name(dataset)
        reason = f'damaged, or its compression ({compression}) is not read' if compression else ''
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE,
            f'{path.name}: {tag_label("PixelData")} cannot be decoded ({type(error).__name__}): '
            f'it is {reason or "cut off or damaged"}: export it again, uncompressed',
        ) from None
    grey = stored if stored.ndim == 2 else grey_of(stored)
    if grey is None:
        raise _is_colour(path)
    return grey


def _is_colour(path: Path) -> ImageError:
    return ImageError(ErrorCode.IMAGE_ENCODING, f'{path.name} is a colour image: export it in grey')
