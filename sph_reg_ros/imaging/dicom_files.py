"""Finds DICOM files in a folder and groups them by series.

Messages of this module name neither files nor header values: both may hold the patient's name.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.dicom_stream import DicomStream

HEADER_TAGS = (
    'SOPClassUID', 'Modality', 'PatientID', 'SeriesInstanceUID', 'SeriesDescription',
    'NumberOfFrames', 'Rows', 'Columns', 'PixelSpacing', 'ImagePositionPatient',
    'ImageOrientationPatient',
)  # fmt: skip

PROGRAM_STARTS = (b'MZ', b'\x7fELF', b'#!', b'\xcf\xfa\xed\xfe', b'\xca\xfe\xba\xbe')
"""Windows, Linux, scripts, macOS."""

COUNT_TAGS = ('NumberOfFrames', 'Rows', 'Columns')
SHOWN_TAGS, MAX_TEXT = ('SeriesInstanceUID', 'SeriesDescription', 'Modality'), 64


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file and the part of its header that says what it is."""

    path: Path
    header: Dataset


@dataclass(frozen=True)
class SeriesInfo:
    """One series of a folder.

    Attributes:
        uid: SeriesInstanceUID.
        description: SeriesDescription, '' if none.
        modality: e.g. 'CT'.
        slices: number of files.
    """

    uid: str
    description: str
    modality: str
    slices: int

    def __str__(self) -> str:
        """Return 'UID  description  slices'."""
        return f'{self.uid}  {self.description or "(no description)"}  {self.slices} slices'


def scan_folder(folder: Path) -> dict[str, list[DicomFile]]:
    """Return the DICOM files of a folder (not of its subfolders) by SeriesInstanceUID.

    Raises:
        CTError: the folder holds no DICOM file, or one with a damaged header.
    """
    series: dict[str, list[DicomFile]] = {}
    damaged = found = 0
    for path in sorted(entry for entry in folder.iterdir() if entry.is_file()):
        if not is_dicom(path):
            continue
        require_no_program(path)
        found += 1
        header = read_header(path)
        if header is None:
            damaged += 1
        elif header.file_meta.get('MediaStorageSOPClassUID') != MediaStorageDirectoryStorage:
            uid = str(header.get('SeriesInstanceUID', ''))
            damaged += not uid
            series.setdefault(uid, []).append(DicomFile(path, header))
    if damaged:
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            f'{damaged} of {found} DICOM files have a damaged header: copy the series again',
        )
    if not series:
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            'the folder holds no DICOM files: give the folder of one CT series, or a NIfTI, NRRD '
            'or MHA file',
        )
    return series


def series_info(files: list[DicomFile]) -> SeriesInfo:
    """Describe a series by the header of its first file."""
    header = files[0].header
    return SeriesInfo(
        uid=str(header.SeriesInstanceUID),
        description=str(header.get('SeriesDescription', '') or '').strip(),
        modality=str(header.get('Modality', '') or ''),
        slices=len(files),
    )


def is_dicom(path: Path) -> bool:
    """Return whether the file carries the DICOM mark (PS3.10 7.1)."""
    try:
        with path.open('rb') as file:
            return file.read(132)[128:] == b'DICM'
    except OSError:
        return False


def require_no_program(path: Path) -> None:
    """Raise CTError if a DICOM file is a program as well, by its preamble (PS3.10 7.5)."""
    with path.open('rb') as file:
        if file.read(4).startswith(PROGRAM_STARTS):
            raise CTError(
                ErrorCode.CT_UNREADABLE,
                'a file of the folder is a program and a DICOM file at once: do not open it, and '
                'find out where it comes from',
            )


def read_header(path: Path) -> Dataset | None:
    """Return HEADER_TAGS of a DICOM file, None if it cannot be parsed."""
    with quiet_pydicom():
        try:
            with DicomStream(path) as file:
                header = pydicom.dcmread(
                    file, stop_before_pixels=True, specific_tags=list(HEADER_TAGS)
                )
            # Values are parsed on first access, and a damaged one fails only then.
            for tag in HEADER_TAGS:
                header.get(tag)
            header.file_meta.get('MediaStorageSOPClassUID')
            for tag in COUNT_TAGS:
                int(header.get(tag) or 0)
            sound = all(is_plain_text(header.get(tag)) for tag in SHOWN_TAGS)
        except Exception:  # a damaged file makes pydicom raise nearly any type
            return None
    return header if sound else None


def is_plain_text(value: object) -> bool:
    """Return whether a value can be shown.

    With a wrong length it takes in what follows, which may be the patient's name, but also the
    marks in between, which are no text.
    """
    text = str(value or '').strip(' \0')
    return len(text) <= MAX_TEXT and text.isprintable()


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep back what pydicom warns of and logs: it quotes values, the patient's name among them."""
    logger = logging.getLogger('pydicom')
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
