"""CTs and X-rays in, whatever their format; what may be hostile is parsed by a child process."""

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sph_reg_ros.errors import CTError, ErrorCode, ImageError
from sph_reg_ros.imaging.ct.read import CT, SeriesInfo, require_exists, require_volume_file
from sph_reg_ros.imaging.dicom.files import files_of
from sph_reg_ros.imaging.sandbox.child_process import (
    GIBIBYTE,
    ChildError,
    Limits,
    Report,
    run_child,
)

if TYPE_CHECKING:
    from sph_reg_ros.geometry import Camera
    from sph_reg_ros.imaging.localizer import Localizer
    from sph_reg_ros.imaging.xray.given_geometry import GivenGeometry
    from sph_reg_ros.imaging.xray.xray_image import XRay


def load_ct(path: Path, *, series_uid: str | None = None, assume_lps: bool = False) -> CT:
    """Load a CT; its world is the LPS frame (mm) of the series, however the voxels are stored.

    Args:
        path: folder of a DICOM series, or one .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd file.
        series_uid: SeriesInstanceUID, needed only for a folder with several CT series.
        assume_lps: take the axes of a file that does not say how the patient lies as those to the
            left, to the back and to the head. `CT.assumptions` then says so. A file that does say
            it is read as ever.

    Raises:
        CTError: CT_SEVERAL_SERIES with a list of them; CT_TOO_FEW_SLICES; CT_GEOMETRY if the slices
            are no complete regular grid, or nothing says how the patient lies; PATH_NOT_ALLOWED if
            a header names a data file outside of its folder; CT_UNREADABLE for anything else, also
            if the child crashed or took too long.
    """
    path = require_exists(path)
    if path.is_dir():
        report = _read_folder('load_ct', path, series_uid=series_uid)
    else:
        require_volume_file(path)
        # How much a file unpacks to is not known before it is read.
        limits = Limits.for_input(path.stat().st_size, 1, base_bytes=16 * GIBIBYTE, base_s=60)
        report = _read('load_volume_file', path, limits, assume_lps=assume_lps)
    hounsfield, ct_from_index = report.arrays
    values = report.values | {'assumptions': tuple(report.values['assumptions'])}
    return CT(hounsfield, np.array(ct_from_index), **values)


def list_series(path: Path) -> list[SeriesInfo]:
    """Return the DICOM series of a folder, of any modality; [] for a volume file.

    Raises:
        CTError: the path does not exist, or the folder holds no readable DICOM files; CT_UNREADABLE
            also if the child crashed or took too long.
    """
    path = require_exists(path)
    if not path.is_dir():
        return []
    return [SeriesInfo(**info) for info in _read_folder('list_series', path).values['series']]


def load_localizers(
    folder: Path, *, series_uid: str | None = None
) -> tuple[tuple['Localizer', ...], tuple[str, ...]]:
    """Load the localizers (scouts) that a folder holds beside its CT.

    Args:
        folder: of a DICOM study; its series may lie in subfolders.
        series_uid: SeriesInstanceUID of the CT, needed only where there are several.

    Returns:
        The localizers of the same patient and frame of reference, and why others were left out.

    Raises:
        CTError: as `load_ct`; CT_UNREADABLE also for a path that is no folder.
    """
    # Imported lazily, as all of torch is: reading a CT needs none of it.
    from sph_reg_ros.imaging.ct.localizer import StoredLocalizer
    from sph_reg_ros.imaging.localizer import Localizer

    folder = require_exists(folder)
    if not folder.is_dir():
        raise CTError(
            ErrorCode.CT_UNREADABLE, 'localizers lie in DICOM folders: give that of the study'
        )
    report = _read_folder('load_localizers', folder, series_uid=series_uid)
    arrays = iter(report.arrays)
    found = []
    for values in report.values['localizers']:
        names = ('pixels', 'usable', 'position', 'column_step', 'row_step')
        values |= {name: next(arrays) for name in names}
        found.append(Localizer.of(StoredLocalizer(**values)))
    return tuple(found), tuple(report.values['left_out'])


def load_xray(
    path: Path | str,
    *,
    frame: int = 0,
    camera: 'Camera | None' = None,
    geometry: bool = True,
    given: 'GivenGeometry | None' = None,
) -> 'XRay':
    """Load one X-ray from DICOM (XA, RF, DX, CR), PNG, TIFF, JPEG, BMP or NumPy (.npy).

    The content decides which it is, not the name.

    Args:
        path: file.
        frame: frame of a multi-frame DICOM image or an array, or page of a TIFF, from 0.
        camera: intrinsics; replaces those of a DICOM file. The others have none of their own.
        geometry: without `camera`, read the one of a DICOM file, or make one of what was given; the
            X-ray has none otherwise.
        given: what completes the geometry of a DICOM file, and takes precedence over it; for the
            others, what makes a camera if it is enough.

    Raises:
        ImageError: the file is missing, unreadable, or no grey X-ray; IMAGE_UNREADABLE also if the
            child crashed or took too long.
        CameraError: the file's geometry is missing, invalid or contradictory, or the camera does
            not fit the image.
    """
    # Imported lazily, as all of torch is: reading a CT needs none of it.
    from sph_reg_ros.imaging.xray.given_geometry import NOTHING_GIVEN
    from sph_reg_ros.imaging.xray.read import other_reader, parse_xray

    path, given = Path(path), given or NOTHING_GIVEN
    # Not by DICOM's mark: a file without it is read as DICOM, too.
    if other_reader(path) is not None:
        given = given if geometry else NOTHING_GIVEN
        return parse_xray(path, frame=frame, camera=camera, given=given)
    limits = Limits.for_input(path.stat().st_size, 1, base_bytes=16 * GIBIBYTE)
    arguments = {
        'path': str(path.absolute()),
        'frame': frame,
        'geometry': geometry and camera is None,
        'given': asdict(given),
    }
    try:
        xray = _xray(run_child('load_xray', arguments, limits))
    except ChildError as error:
        raise ImageError(
            ErrorCode.IMAGE_UNREADABLE, f'{path.name} cannot be read: {error}: export it again'
        ) from None
    return xray if camera is None else replace(xray, camera=camera)


def _xray(report: Report) -> 'XRay':
    import torch

    from sph_reg_ros.geometry import Camera
    from sph_reg_ros.imaging.xray.intensity import IntensityModel
    from sph_reg_ros.imaging.xray.xray_image import XRay

    values = report.values
    *matrices, pixels, mask = (torch.from_numpy(array) for array in report.arrays)
    pose = matrices.pop() if values['has_pose'] else None
    return XRay(
        pixels,
        mask,
        Camera(matrices[0], *pixels.shape) if values['has_camera'] else None,
        pose,
        values['patient_hash'],
        IntensityModel(**values['intensity']),
        tuple(values['warnings']),
    )


def _read_folder(task: str, folder: Path, **arguments: str | None) -> Report:
    sizes = file_sizes(folder)
    limits = Limits.for_input(sum(sizes), len(sizes), base_bytes=6 * GIBIBYTE)
    return _read(task, folder, limits, **arguments)


def _read(task: str, path: Path, limits: Limits, **arguments: str | bool | None) -> Report:
    try:
        return run_child(task, {'path': str(path.absolute()), **arguments}, limits)
    except ChildError as error:
        raise CTError(
            ErrorCode.CT_UNREADABLE, f'the CT cannot be read: {error}: export it again'
        ) from None


def file_sizes(folder: Path) -> list[int]:
    """Return the sizes (bytes) of the files that are looked at; raises CTError."""
    sizes = []
    try:
        for path in files_of(folder):
            with suppress(OSError):
                sizes.append(path.stat().st_size)
    except OSError as error:
        raise CTError(
            ErrorCode.CT_UNREADABLE, f'the folder cannot be read: {error.strerror}'
        ) from None
    return sizes
