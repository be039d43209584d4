"""Localizers (scouts, topograms, surviews) of a CT study, and where the scanner says they are.

A localizer is a line scan: the tube stands still while the table moves. Its image plane passes
through the centre of data collection and is normal to the central ray (PS3.3 C.7.6.2.1.1); its
spacing is that in this plane. What DICOM leaves open, or a maker leaves out, becomes a note.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64
from pydicom.dataset import Dataset

from sph_reg_ros.errors import CTError, ErrorCode, ImageError, RegistrationError
from sph_reg_ros.imaging.ct.dicom_series import is_localizer, select_series, slice_plane
from sph_reg_ros.imaging.dicom.decode import padding_range, stored_pixels
from sph_reg_ros.imaging.dicom.files import DicomFile, quiet_pydicom, read_dataset, scan_folder
from sph_reg_ros.imaging.dicom.tags import read_number, read_numbers, read_word, tag_label

TYPICAL_SOURCE_MM = 570.0
"""From the source to the isocentre; scanners have 535 to 612 mm."""
SOURCE_MM = (300.0, 1000.0)
MIN_ALONG = 0.99
"""Cosine between an axis of the image and the table's motion, z of the patient."""
_SAME = 0.02
"""Of a row: differences that are rounding."""
_UP = {'S': (0, -1, 0), 'P': (0, 1, 0), 'DR': (1, 0, 0), 'DL': (-1, 0, 0)}
"""What points up, in LPS, of a patient who lies so: supine, prone, decubitus right or left."""
_FORWARD = {'HF': (0, 0, 1), 'FF': (0, 0, -1)}
"""Into the gantry from where the table enters it, in LPS: head first or feet first."""


@dataclass(frozen=True)
class StoredLocalizer:
    """A localizer as its file has it, turned so that its rows follow the table.

    Attributes:
        pixels: [H, W]; dense tissue bright, scale and offset mean nothing.
        usable: [H, W]; not padding.
        position: LPS mm [3] of the first pixel's centre, in the plane through the isocentre.
        column_step: unit vector [3] along which the column index grows.
        row_step: unit vector [3] along which the row index grows.
        spacing_mm: of rows, then of columns, in that plane.
        source_mm: from the source to that plane.
        source_side: 1 if the source lies opposite to column_step x row_step, -1 if along it, 0 if
            the file does not say.
        central_column: column that the central ray meets.
        name: what to call it.
        notes: what the file does not say or says in its own way, a sentence each.
    """

    pixels: Float32[np.ndarray, 'H W']
    usable: Bool[np.ndarray, 'H W']
    position: Float64[np.ndarray, '3']
    column_step: Float64[np.ndarray, '3']
    row_step: Float64[np.ndarray, '3']
    spacing_mm: tuple[float, float]
    source_mm: float
    source_side: int
    central_column: float
    name: str
    notes: tuple[str, ...]


def parse_localizers(
    folder: Path, series_uid: str | None = None
) -> tuple[list[StoredLocalizer], tuple[str, ...]]:
    """Read the localizers that share patient and frame of reference with the CT of a folder.

    Args:
        folder: of a study; the localizers may lie in subfolders, as the CT may.
        series_uid: SeriesInstanceUID of the CT, if there are several.

    Returns:
        The localizers, and why others were left out, a sentence each.

    Raises:
        CTError: as `load_dicom_folder` for the choice of the CT.
    """
    series = scan_folder(folder)
    ct = select_series(series, series_uid)
    reference = _identity(read_dataset(ct[0].path, stop_before_pixels=True))
    files = [file for files in series.values() for file in files if is_localizer(file)]
    found, left_out = [], []
    for number, file in enumerate(files, 1):
        try:
            found.append(_read(file, number, reference))
        except RegistrationError as error:
            left_out.append(f'localizer {number} of {len(files)} is left out: {error}')
    return found, tuple(left_out)


def _read(file: DicomFile, number: int, reference: tuple[str, str]) -> StoredLocalizer:
    try:
        with quiet_pydicom():
            dataset = read_dataset(file.path)
            stored = stored_pixels(dataset)
            padding = padding_range(dataset)
    except Exception:  # decoders raise nearly any type; the text may quote the header
        raise ImageError(ErrorCode.IMAGE_UNREADABLE, 'its pixels cannot be read') from None
    for ours, theirs, what in zip(
        _identity(dataset), reference, ('another patient', 'another frame of reference'),
        strict=True,
    ):  # fmt: skip
        if ours and theirs and ours != theirs:
            raise ImageError(ErrorCode.IMAGE_CONTENT, f'it has {what} than the CT')
    usable = np.ones(stored.shape, bool)
    if padding is not None:
        usable = (stored < padding[0]) | (stored > padding[1])
    # Of CT scanners, brighter is denser; MONOCHROME1 is the other way round.
    dark = read_word(dataset, 'PhotometricInterpretation') == 'MONOCHROME1'
    pixels = stored.astype(np.float32) * np.float32(-1 if dark else 1)
    return described(dataset, pixels, usable, number)


def described(
    dataset: Dataset,
    pixels: Float32[np.ndarray, 'H W'],
    usable: Bool[np.ndarray, 'H W'],
    number: int = 1,
) -> StoredLocalizer:
    """Return a localizer with the geometry that its header states.

    Raises:
        CTError: CT_GEOMETRY without position, orientation and spacing.
        CameraError: a value is no number.
        ImageError: IMAGE_CONTENT if neither axis of the image follows the table.
    """
    plane = slice_plane(dataset, number)
    if plane.size != pixels.shape:
        raise CTError(ErrorCode.CT_GEOMETRY, 'its pixels do not fit its header')
    column_step, row_step, spacing_mm = plane.column_step, plane.row_step, plane.spacing_mm
    if abs(row_step[2]) < abs(column_step[2]):
        column_step, row_step, spacing_mm = row_step, column_step, spacing_mm[::-1]
        pixels, usable = np.ascontiguousarray(pixels.T), np.ascontiguousarray(usable.T)
    if abs(row_step[2]) < MIN_ALONG:
        raise ImageError(
            ErrorCode.IMAGE_CONTENT, 'neither its rows nor its columns follow the table (z)'
        )
    position, row_notes = _first_row(dataset, plane.position, row_step, spacing_mm[0], len(pixels))
    source_mm, source_notes = _source_mm(dataset)
    side, where, side_notes = _source_side(dataset, np.cross(column_step, row_step))
    central, central_notes = _central_column(
        dataset, position, column_step, spacing_mm[1], pixels.shape[1]
    )
    across = 'AP or PA' if abs(column_step[0]) > abs(column_step[1]) else 'lateral'
    return StoredLocalizer(
        pixels, usable, position, column_step, row_step, spacing_mm, source_mm, side, central,
        f'{across} localizer, {where}', (*row_notes, *source_notes, *side_notes, *central_notes),
    )  # fmt: skip


def source_direction(angle_deg: float, patient_position: str) -> Float64[np.ndarray, '3'] | None:
    """Return the unit vector from the isocentre to the source, LPS; None if it cannot be told.

    Args:
        angle_deg: TubeAngle (PS3.3 C.8.15.3.2): 0 is the highest point of the gantry, clockwise as
            seen facing the gantry from where the table enters it.
        patient_position: such as HFS (PS3.3 C.7.3.1.1.2).
    """
    up, forward = _UP.get(patient_position[2:]), _FORWARD.get(patient_position[:2])
    if up is None or forward is None:
        return None
    angle = math.radians(angle_deg)
    direction = math.cos(angle) * np.array(up) + math.sin(angle) * np.cross(forward, up)
    return np.asarray(direction, dtype=np.float64)


def _first_row(
    dataset: Dataset,
    position: Float64[np.ndarray, '3'],
    row_step: Float64[np.ndarray, '3'],
    row_mm: float,
    rows: int,
) -> tuple[Float64[np.ndarray, '3'], tuple[str, ...]]:
    """Return the centre of the first pixel.

    Philips writes the edge of the first row to ImagePositionPatient and the opposite edge of the
    last row to SliceLocation: `rows` spacings lie between them, not one less.
    """
    last = read_number(dataset, 'SliceLocation')
    if last is None or abs(abs(last - position[2]) - rows * row_mm) > _SAME * row_mm:
        return position, ()
    note = (
        f'{tag_label("SliceLocation")} lies {rows} row spacings from '
        f'{tag_label("ImagePositionPatient")}: both were taken for edges of the image'
    )
    return position + row_step * row_mm / 2, (note,)


def _source_mm(dataset: Dataset) -> tuple[float, tuple[str, ...]]:
    stated = read_number(dataset, 'DistanceSourceToPatient')
    if stated is not None and SOURCE_MM[0] <= stated <= SOURCE_MM[1]:
        return stated, ()
    note = (
        f'{tag_label("DistanceSourceToPatient")} is missing: {TYPICAL_SOURCE_MM:g} mm were taken, '
        'which changes the position along the beam only'
    )
    return TYPICAL_SOURCE_MM, (note,)


def _source_side(
    dataset: Dataset, normal: Float64[np.ndarray, '3']
) -> tuple[int, str, tuple[str, ...]]:
    """Return the side of the source, where that is in words, and notes."""
    unknown = 0, 'source on either side'
    angle, tag = _tube_angle(dataset)
    if angle is None:
        return *unknown, (
            f'neither {tag_label("TubeAngle")} nor {tag_label("AngularPosition")} says on which '
            'side the source was: the side that fits better was taken',
        )
    direction = source_direction(angle, read_word(dataset, 'PatientPosition'))
    if direction is None:
        return *unknown, (
            f'{tag_label("PatientPosition")} is missing: the side of the source that fits better '
            'was taken',
        )
    cosine = float(direction @ normal)
    if abs(cosine) < MIN_ALONG:
        return *unknown, (
            f'{tag} ({angle:g} degrees) does not fit the orientation of the image: the side of the '
            'source that fits better was taken',
        )
    axis = int(np.abs(direction).argmax())
    sides = (('left', 'right'), ('back', 'front'), ('head', 'feet'))[axis]
    where = f"source at the patient's {sides[int(direction[axis] < 0)]}"
    return (1 if cosine < 0 else -1), where, ()


def _tube_angle(dataset: Dataset) -> tuple[float | None, str]:
    """Return the angle of the source and where it was found.

    TubeAngle is the standard's, for enhanced CT. In classic CT, Philips and Canon write
    AngularPosition, GE its own DegreeOfAzimuth; Siemens writes none.
    """
    for keyword in ('TubeAngle', 'AngularPosition'):
        angle = read_number(dataset, keyword)
        if angle is not None:
            return angle, tag_label(keyword)
    try:
        azimuth = dataset.private_block(0x0019, 'GEMS_ACQU_01')[0x26].value
        return float(azimuth), 'DegreeOfAzimuth (0019,xx26) of GEMS_ACQU_01'
    except (KeyError, TypeError, ValueError):
        return None, ''


def _central_column(
    dataset: Dataset,
    position: Float64[np.ndarray, '3'],
    column_step: Float64[np.ndarray, '3'],
    column_mm: float,
    columns: int,
) -> tuple[float, tuple[str, ...]]:
    """Return the column of the isocentre: DataCollectionCenterPatient, else the middle."""
    middle = (columns - 1) / 2
    centre = read_numbers(dataset, 'DataCollectionCenterPatient', 3)
    if not centre:
        return middle, ()
    stated = float((np.array(centre) - position) @ column_step) / column_mm
    if abs(stated - middle) > columns / 2:
        note = f'{tag_label("DataCollectionCenterPatient")} lies outside the image: not used'
        return middle, (note,)
    return stated, ()


def _identity(dataset: Dataset) -> tuple[str, str]:
    patient = str(dataset.get('PatientID', '') or '').strip(' \0')
    return patient, str(dataset.get('FrameOfReferenceUID', '') or '')
