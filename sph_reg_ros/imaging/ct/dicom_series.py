"""A CT from a folder of DICOM files."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.dicom_pixels import read_hounsfield
from sph_reg_ros.imaging.ct.hounsfield import Empty, HounsfieldStack
from sph_reg_ros.imaging.ct.slice_plane import SlicePlane
from sph_reg_ros.imaging.ct.slice_stack import SliceStack
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.dicom.files import DicomFile, scan_folder, series_info
from sph_reg_ros.imaging.identity import hashed_identifier

MAX_COSINE_ERROR = 1e-3
"""Largest error of the length and the right angle of ImageOrientationPatient."""


def load_dicom_folder(folder: Path, series_uid: str | None, empty: Empty = np.empty) -> CT:
    """Read the one CT series of a folder, or the one that `series_uid` names.

    Raises:
        CTError: it is open which series is meant, the slices are no regular grid, or the pixels
            are unreadable.
    """
    files = select_series(scan_folder(folder), series_uid)
    # Some archives put a localizer into the series of the slices.
    files = [file for file in files if not is_localizer(file)] or files
    require_single_frame_ct(files)
    stack = SliceStack([slice_plane(file.header, n) for n, file in enumerate(files, 1)])
    rows, columns = int(files[0].header.Rows), int(files[0].header.Columns)
    hounsfield = HounsfieldStack((len(files), rows, columns), empty)
    for k, index in enumerate(stack.order):
        hounsfield.put(k, read_slice(files[index], (rows, columns), stack.name(k)))
    info = series_info(files)
    return CT(
        hounsfield=hounsfield.volume,
        ct_from_index=stack.ct_from_index,
        series_uid_hash=hashed_identifier(info.uid),
        patient_hash=single_patient_hash(files),
        description=info.description,
        assumptions=_assumptions(files),
    )


def select_series(series: dict[str, list[DicomFile]], uid: str | None) -> list[DicomFile]:
    """Return the files of the series that is meant; raises CTError listing them if that is open."""
    infos = [series_info(files) for files in series.values()]
    if uid is not None:
        if uid not in series:
            listing = '\n'.join(f'  {info}' for info in infos)
            raise CTError(
                ErrorCode.CT_UNREADABLE, f'the folder has no series {uid}; it has\n{listing}'
            )
        return series[uid]
    scans = [info for info in infos if info.modality == 'CT' and not is_scout(series[info.uid])]
    if not scans and any(info.modality == 'CT' for info in infos):
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            'the folder has no CT but localizers (scouts): give the folder of the axial series',
        )
    if not scans:
        modalities = ', '.join(sorted({info.modality or 'unknown' for info in infos}))
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            f'the folder has no CT, only {modalities}: give the folder of a CT series',
        )
    if len(scans) > 1:
        listing = '\n'.join(f'  {info}' for info in scans)
        raise CTError(
            ErrorCode.CT_SEVERAL_SERIES,
            f'the folder has {len(scans)} CT series: give the UID of one of\n{listing}',
        )
    return series[scans[0].uid]


def is_scout(files: list[DicomFile]) -> bool:
    """Return whether a series holds localizers alone (PS3.3 C.8.2.1.1.1), which are no volume."""
    return all(is_localizer(file) for file in files)


def is_localizer(file: DicomFile) -> bool:
    """Return whether a file is a localizer (PS3.3 C.8.2.1.1.1)."""
    return 'LOCALIZER' in (file.header.get('ImageType') or ())


def require_single_frame_ct(files: list[DicomFile]) -> None:
    """Raise CTError for other modalities and for multi-frame files."""
    for file in files:
        modality = str(file.header.get('Modality', '') or 'unknown')
        if modality != 'CT':
            raise CTError(
                ErrorCode.CT_UNREADABLE, f'the series is {modality}, not CT: choose a CT series'
            )
        frames = int(file.header.get('NumberOfFrames', 1) or 1)
        if frames > 1 or file.header.get('SOPClassUID') == EnhancedCTImageStorage:
            raise CTError(
                ErrorCode.CT_UNREADABLE,
                'the series is multi-frame (enhanced) CT, which is not read: export it as single '
                'slices (classic CT), or convert it to NIfTI or NRRD',
            )


def slice_plane(header: Dataset, number: int) -> SlicePlane:
    """Return where a slice lies; raises CTError if its header does not say so.

    Args:
        header: with ImagePositionPatient, ImageOrientationPatient, PixelSpacing, Rows, Columns.
        number: what to call the slice in messages, as its position may be unknown.
    """
    position = _numbers(header, 'ImagePositionPatient', 3, number)
    orientation = _numbers(header, 'ImageOrientationPatient', 6, number).reshape(2, 3)
    row_mm, column_mm = _numbers(header, 'PixelSpacing', 2, number).tolist()
    rows, columns = int(header.get('Rows', 0) or 0), int(header.get('Columns', 0) or 0)
    gram = orientation @ orientation.T
    if np.abs(gram - np.eye(2)).max() > MAX_COSINE_ERROR:
        raise _header_error(number, 'ImageOrientationPatient is not two perpendicular unit vectors')
    if min(row_mm, column_mm) <= 0 or min(rows, columns) < 1:
        raise _header_error(number, 'PixelSpacing, Rows and Columns must be positive')
    column_step, row_step = orientation / np.linalg.norm(orientation, axis=1, keepdims=True)
    return SlicePlane(position, column_step, row_step, (row_mm, column_mm), (rows, columns))


def read_slice(file: DicomFile, size: tuple[int, int], name: str) -> np.ndarray:
    """Return a slice [J, I] in HU; raises CTError naming the slice."""
    try:
        values = read_hounsfield(file.path)
    except Exception:  # decoders raise nearly any type; the text may quote the header
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            f'{name}: the pixel data is truncated, damaged or lacks its rescale: copy or export '
            'the series again',
        ) from None
    if values.shape != size or not np.isfinite(values).all():
        raise CTError(
            ErrorCode.CT_UNREADABLE, f'{name}: the pixels do not fit the header: export it again'
        )
    return values


def single_patient_hash(files: list[DicomFile]) -> str:
    """Return the hash of the PatientID; raises CTError if the slices have several."""
    hashes = {hashed_identifier(str(file.header.get('PatientID', '') or '')) for file in files}
    if len(hashes) > 1:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'the slices of the series belong to {len(hashes)} patients: export it again',
        )
    return hashes.pop()


def _assumptions(files: list[DicomFile]) -> tuple[str, ...]:
    kinds = {str(file.header.get('RescaleType', '') or '').strip(' \0') for file in files}
    others = kinds - {'', 'HU'}
    return tuple(
        f'the header says that its values are {kind}: they were taken as HU'
        for kind in sorted(others)
    )


def _numbers(header: Dataset, tag: str, count: int, number: int) -> Float64[np.ndarray, ' count']:
    value = header.get(tag)
    try:
        numbers = np.array([float(item) for item in value], dtype=np.float64)
    except (TypeError, ValueError):
        raise _header_error(number, f'{tag} is missing or not numeric') from None
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise _header_error(number, f'{tag} must be {count} numbers')
    return numbers


def _header_error(number: int, what: str) -> CTError:
    return CTError(
        ErrorCode.CT_GEOMETRY, f'file {number} of the series: {what}: export the series again'
    )
