"""CT in: a DICOM series folder, NIfTI, NRRD or MetaImage."""

from pathlib import Path

import numpy as np

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.dicom_series import load_dicom_folder
from sph_reg_ros.imaging.ct.hounsfield import Empty
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.ct.volume_file import load_volume_file, volume_suffix
from sph_reg_ros.imaging.dicom.files import (
    DICOMDIR,
    SeriesInfo,
    is_dicom,
    scan_folder,
    series_info,
)

__all__ = ['CT', 'SeriesInfo', 'parse_ct', 'parse_series']


def parse_ct(
    path: Path,
    *,
    series_uid: str | None = None,
    assume_lps: bool = False,
    empty: Empty = np.empty,
) -> CT:
    """Read a CT; its world is the LPS frame (mm) of the series, however the voxels are stored.

    Args:
        path: folder of a DICOM series, or one .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd file.
        series_uid: SeriesInstanceUID, needed only for a folder with several CT series.
        assume_lps: take the axes of a file that does not say how the patient lies as those to the
            left, to the back and to the head. `CT.assumptions` then says so. A file that does say
            it is read as ever.
        empty: reserves memory for the voxels.

    Raises:
        CTError: CT_SEVERAL_SERIES with a list of them; CT_TOO_FEW_SLICES; CT_GEOMETRY if the slices
            are no complete regular grid, or nothing says how the patient lies; PATH_NOT_ALLOWED if
            a header names a data file outside of its folder; CT_UNREADABLE for anything else.
    """
    path = require_exists(path)
    if not path.is_dir():
        require_volume_file(path)
        return load_volume_file(path, assume_lps=assume_lps, empty=empty)
    try:
        return load_dicom_folder(path, series_uid or None, empty)
    except MemoryError:
        raise CTError(
            ErrorCode.CT_UNREADABLE, 'the CT does not fit in memory: crop or resample it'
        ) from None


def parse_series(path: Path) -> list[SeriesInfo]:
    """Return the DICOM series of a folder, of any modality; [] for a volume file.

    Raises:
        CTError: the path does not exist, or the folder holds no readable DICOM files.
    """
    path = require_exists(path)
    if not path.is_dir():
        return []
    return [series_info(files) for files in scan_folder(path).values()]


def require_exists(path: Path) -> Path:
    """Return the path as a Path; raises CTError if nothing is there."""
    path = Path(path)
    if not path.exists():
        raise CTError(ErrorCode.CT_UNREADABLE, 'there is no CT: no such file or folder')
    # The contents of a disc: what it lists lies beside it.
    return path.parent if path.name == DICOMDIR else path


def require_volume_file(path: Path) -> None:
    """Raise CTError for a file whose name is not that of a format that is read."""
    if volume_suffix(path) is not None:
        return
    if is_dicom(path):
        raise CTError(
            ErrorCode.CT_TOO_FEW_SLICES,
            'this is one DICOM file: give the folder that holds the whole series',
        )
    raise CTError(
        ErrorCode.CT_UNREADABLE,
        'the format is not known: give the folder of a DICOM series, or a .nii, .nii.gz, .nrrd, '
        '.nhdr, .mha or .mhd file',
    )
