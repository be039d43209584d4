"""Writers of DICOM series that must be refused, a few lines each; all of them small on disk."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ct_files import numbered_phantom, write_dicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    JPEG2000Lossless,
)

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.imaging.dicom.files import MAX_FILES

GEOMETRY, UNREADABLE = ErrorCode.CT_GEOMETRY, ErrorCode.CT_UNREADABLE
SLICES = 6
Write = Callable[[Path], object]


def series(folder: Path, edit=lambda k, dataset: None, skip=()) -> Path:
    return write_dicom(folder, numbered_phantom((SLICES, 4, 5)), edit=edit, skip=skip)


def edited(edit) -> Write:
    """Return the writer of a series of which every slice is changed."""
    return lambda folder: series(folder, lambda k, dataset: edit(dataset))


def fourth(edit) -> Write:
    """Return the writer of a series of which one slice is changed."""
    return lambda folder: series(folder, lambda k, dataset: k == 3 and edit(dataset))


def without(*slices: int) -> Write:
    return lambda folder: series(folder, skip=slices)


def shifted(*millimetres: float) -> Callable[[Dataset], None]:
    def edit(dataset):
        position = np.array(dataset.ImagePositionPatient, float) + millimetres
        dataset.ImagePositionPatient = position.tolist()

    return edit


def having(**tags) -> Callable[[Dataset], None]:
    return lambda dataset: [setattr(dataset, name, value) for name, value in tags.items()]


def lacking(name: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, name)


def packed_as(syntax: str) -> Callable[[Dataset], None]:
    """Say that the pixels are compressed, which they are not."""

    def edit(dataset):
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([bytes(range(200))])
        dataset['PixelData'].is_undefined_length = True

    return edit


def spoilt(change: Callable[[bytes], bytes]) -> Write:
    """Return the writer of a series of which one file's bytes are changed."""

    def write(folder):
        victim = sorted(series(folder).iterdir())[1]
        victim.write_bytes(change(victim.read_bytes()))

    return write


def alone(content: bytes) -> Write:
    """Return the writer of a folder with nothing but one file."""

    def write(folder):
        folder.mkdir()
        (folder / 'file').write_bytes(content)

    return write


def tilted(folder):
    series(folder, lambda k, dataset: shifted(0, 0.5 * k, 0)(dataset))


def two_series(folder):
    series(folder), series(folder)


def nested_sequences(content: bytes) -> bytes:
    """Put 1000 sequences, one in the other, behind the header."""
    start = struct.pack('<HH2sHI', 0x0040, 0x0275, b'SQ', 0, 0xFFFFFFFF)
    item = struct.pack('<HHI', 0xFFFE, 0xE000, 0xFFFFFFFF)
    return content[: content.index(b'\xe0\x7f\x10\x00')] + (start + item) * 1000


def four_gigabytes(content: bytes) -> bytes:
    """Put something before the pixel data that says it is 4 GB long."""
    at = content.index(b'\xe0\x7f\x10\x00')
    element = struct.pack('<HH2sHI', 0x0029, 0x1010, b'OB', 0, 0xFFFFFFF0)
    return content[:at] + element + content[at:]


def inflating_bomb(folder):
    """Write a file of 4 MB that inflates to 4 GB."""
    series(folder, lambda k, d: setattr(d.file_meta, 'TransferSyntaxUID', DEFLATED))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # After a full flush the same bytes mean the same again, so that no more has to be packed.
    chunk = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    path = min(folder.iterdir())
    content = path.read_bytes()
    header = 144 + struct.unpack('<I', content[140:144])[0]
    path.write_bytes(content[:header] + chunk * 256 + packer.flush())


def loop_of_links(folder):
    folder.mkdir()
    (folder / 'a').symlink_to(folder / 'b')
    (folder / 'b').symlink_to(folder / 'a')


def pipe(folder):
    folder.mkdir()
    os.mkfifo(folder / 'waits for ever')


def crowd(folder):
    folder.mkdir()
    first = folder / '0'
    first.touch()
    for number in range(1, MAX_FILES + 1):
        os.link(first, folder / str(number))


DEFLATED = DeflatedExplicitVRLittleEndian
PROGRAM = spoilt(lambda content: b'MZ' + content[2:])
BROKEN: dict[str, tuple[Write, ErrorCode]] = {
    'missing slice': (without(3), GEOMETRY),
    'two missing slices': (without(2, 3), GEOMETRY),
    'all slices but one missing': (without(0, 1, 3, 4, 5), ErrorCode.CT_TOO_FEW_SLICES),
    'duplicate': (fourth(shifted(0, 0, -2.5)), GEOMETRY),
    'unequal gap': (fourth(shifted(0, 0, 0.4)), GEOMETRY),
    'gantry tilt': (tilted, GEOMETRY),
    'moved table': (fourth(shifted(0.3, 0, 0)), GEOMETRY),
    'mixed orientation': (fourth(having(ImageOrientationPatient=[0, 1, 0, 1, 0, 0])), GEOMETRY),
    'swapped spacing in one': (fourth(having(PixelSpacing=[0.7, 0.9])), GEOMETRY),
    'swapped size in one': (fourth(having(Rows=5, Columns=4)), GEOMETRY),
    'no position': (fourth(lacking('ImagePositionPatient')), GEOMETRY),
    'zero spacing': (edited(having(PixelSpacing=[0, 0.7])), GEOMETRY),
    'skewed axes': (edited(having(ImageOrientationPatient=[1, 0, 0, 0.1, 1, 0])), GEOMETRY),
    'two patients': (fourth(having(PatientID='another')), GEOMETRY),
    'two series': (two_series, ErrorCode.CT_SEVERAL_SERIES),
    'no series UID': (fourth(lacking('SeriesInstanceUID')), UNREADABLE),
    'another modality': (edited(having(Modality='MR')), UNREADABLE),
    'one slice of another modality': (fourth(having(Modality='MR')), UNREADABLE),
    'multi-frame': (edited(having(NumberOfFrames=6)), UNREADABLE),
    'enhanced': (edited(having(SOPClassUID=EnhancedCTImageStorage)), UNREADABLE),
    'truncated pixels': (fourth(lambda d: having(PixelData=d.PixelData[:-8])(d)), UNREADABLE),
    'no pixels': (fourth(lacking('PixelData')), UNREADABLE),
    'no rescale': (fourth(lacking('RescaleSlope')), UNREADABLE),
    'infinite rescale': (edited(having(RescaleSlope='1e38')), UNREADABLE),
    'colour': (fourth(having(SamplesPerPixel=3)), UNREADABLE),
    'more rows than pixels': (edited(having(Rows=65535, Columns=65535)), UNREADABLE),
    'odd number of bits': (edited(having(BitsAllocated=7)), UNREADABLE),
    'no codec': (edited(packed_as(MPEG4HP41)), UNREADABLE),
    'no JPEG': (edited(packed_as(JPEG2000Lossless)), UNREADABLE),
    'header cut off': (spoilt(lambda content: content[:140]), UNREADABLE),
    'half a file': (spoilt(lambda content: content[: len(content) // 2]), UNREADABLE),
    'empty file': (alone(b''), UNREADABLE),
    'only the mark': (alone(bytes(128) + b'DICM'), UNREADABLE),
    'noise behind the mark': (alone(bytes(128) + b'DICM' + bytes(range(256)) * 20), UNREADABLE),
    '1000 nested sequences': (spoilt(nested_sequences), UNREADABLE),
    '4 GB declared': (spoilt(four_gigabytes), UNREADABLE),
    'inflates to 4 GB': (inflating_bomb, UNREADABLE),
    'program': (PROGRAM, UNREADABLE),
    'loop of links': (loop_of_links, UNREADABLE),
    'pipe': (pipe, UNREADABLE),
    'crowded folder': (crowd, UNREADABLE),
}  # fmt: skip
