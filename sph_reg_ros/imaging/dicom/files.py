"""Finds DICOM files in a folder and groups them by series.

Messages of this module name neither files nor header values: both may hold the patient's name.
"""

import logging
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.dicom.stream import DicomStream

HEADER_TAGS = (
    'SOPClassUID', 'Modality', 'PatientID', 'SeriesInstanceUID', 'SeriesDescription',
    'NumberOfFrames', 'Rows', 'Columns', 'PixelSpacing', 'ImagePositionPatient',
    'ImageOrientationPatient', 'ImageType', 'RescaleType',
)  # fmt: skip

PROGRAM_STARTS = (b'MZ', b'\x7fELF', b'#!', b'\xcf\xfa\xed\xfe', b'\xca\xfe\xba\xbe')
"""Windows, Linux, scripts, macOS."""

DICOMDIR = 'DICOMDIR'
"""Name of the contents of a disc (PS3.10 8.6)."""
COUNT_TAGS = ('NumberOfFrames', 'Rows', 'Columns')
SHOWN_TAGS, MAX_TEXT = ('SeriesInstanceUID', 'SeriesDescription', 'Modality', 'RescaleType'), 64
MAX_FILES = 20_000
"""Entries of a folder; the longest CTs have a few thousand slices."""
_FIRST_ELEMENTS = 0x18
"""Data sets begin with an element of the file's meta data, or with one up to SOPInstanceUID."""


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


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder if any of them is DICOM, else those of its subfolders as well.

    Study folders and discs keep each series in a subfolder. Links to folders are not followed.

    Raises:
        CTError: there are more than MAX_FILES.
        OSError: the folder cannot be listed.
    """
    own = _files(os.scandir(folder))
    if any(is_dicom(path) for path in own):
        return own
    entries = (entry for place, _, _ in os.walk(folder) for entry in os.scandir(place))
    return _files(entries)


def _files(entries: Iterable[os.DirEntry[str]]) -> list[Path]:
    files = []
    for number, entry in enumerate(entries, 1):
        if number > MAX_FILES:
            raise CTError(
                ErrorCode.CT_UNREADABLE,
                f'the folder has more than {MAX_FILES} entries: give the folder of one series',
            )
        # A loop of links is no file, and no reason to fail.
        with suppress(OSError):
            if entry.is_file() and entry.name != DICOMDIR:
                files.append(Path(entry.path))
    return sorted(files)


def scan_folder(folder: Path) -> dict[str, list[DicomFile]]:
    """Return the DICOM files of a folder, or of its subfolders, by SeriesInstanceUID.

    Raises:
        CTError: there is no DICOM file, one with a damaged header, or more than MAX_FILES files.
    """
    series: dict[str, list[DicomFile]] = {}
    damaged = found = 0
    for path in files_of(folder):
        if not is_dicom(path):
            continue
        require_no_program(path)
        found += 1
        header = read_header(path)
        if header is None:
            damaged += 1
        elif header.file_meta.get('MediaStorageSOPClassUID') != MediaStorageDirectoryStorage:
            uid = str(header.get('SeriesInstanceUID', ''))
            if uid:
                series.setdefault(uid, []).append(DicomFile(path, header))
            else:
                # Without the mark of DICOM, it is another format that begins alike.
                damaged += bool(header.preamble)
    if damaged:
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            f'{damaged} of {found} DICOM files have a damaged header: copy the series again',
        )
    if not series:
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            'the folder and its subfolders hold no DICOM files: give the folder of one CT series, '
            'or a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file',
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
    """Return whether the file carries the DICOM mark (PS3.10 7.1), or begins as a data set does."""
    try:
        with path.open('rb') as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:] == b'DICM' or _is_data_set(start)


def _is_data_set(start: bytes) -> bool:
    """Return whether bytes are the first element of a data set without preamble and mark.

    Its group is 0002 or 0008, in little endian; then follow two letters, or a short length.
    """
    if len(start) < 132:
        return False
    group, element, letters_or_length, high = struct.unpack('<HHHH', start[:8])
    if group not in (2, 8) or element > _FIRST_ELEMENTS:
        return False
    return start[4:6].isalpha() and start[4:6].isupper() or (high == 0 and letters_or_length < 256)


def read_dataset(path: Path, **options: Any) -> Dataset:
    """Read a DICOM file, with the mark or without; raises nearly any type if it is damaged."""
    with DicomStream(path) as file:
        dataset = pydicom.dcmread(file, force=True, **options)
    if 'TransferSyntaxUID' not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


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
            header = read_dataset(path, stop_before_pixels=True, specific_tags=list(HEADER_TAGS))
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
