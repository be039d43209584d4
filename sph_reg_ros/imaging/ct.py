"""CT in: a DICOM series folder, NIfTI, NRRD or MetaImage."""

from pathlib import Path

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.dicom_files import SeriesInfo, is_dicom, scan_folder, series_info
from sph_reg_ros.imaging.dicom_series import load_dicom_folder
from sph_reg_ros.imaging.volume import CT

__all__ = ['CT', 'SeriesInfo', 'list_series', 'load_ct']


def load_ct(path: Path, *, series_uid: str | None = None) -> CT:
    """Read a CT; its world is the LPS frame (mm) of the series, however the voxels are stored.

    Args:
        path: folder of a DICOM series, or one .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd file.
        series_uid: SeriesInstanceUID, needed only for a folder with several CT series.

    Raises:
        CTError: CT_SEVERAL_SERIES with a list of them; CT_TOO_FEW_SLICES; CT_GEOMETRY if the slices
            are no complete regular grid; CT_UNREADABLE for anything else.
    """
    path = require_exists(path)
    try:
        if path.is_dir():
            return load_dicom_folder(path, series_uid or None)
        # For these only: its SimpleITK takes as long to import as many a series to read.
        from sph_reg_ros.imaging.volume_file import load_volume_file, volume_suffix

        suffix = volume_suffix(path)
        if suffix is None:
            raise _no_volume_file(path)
        return load_volume_file(path, suffix)
    except MemoryError:
        raise CTError(
            ErrorCode.CT_UNREADABLE, 'the CT does not fit in memory: crop or resample it'
        ) from None


def list_series(path: Path) -> list[SeriesInfo]:
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
    return path


def _no_volume_file(path: Path) -> CTError:
    if is_dicom(path):
        return CTError(
            ErrorCode.CT_TOO_FEW_SLICES,
            'this is one DICOM file: give the folder that holds the whole series',
        )
    return CTError(
        ErrorCode.CT_UNREADABLE,
        'the format is not known: give the folder of a DICOM series, or a .nii, .nii.gz, .nrrd, '
        '.nhdr, .mha or .mhd file',
    )
