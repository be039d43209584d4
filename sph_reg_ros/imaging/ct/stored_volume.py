"""What a volume file says of itself, and its voxels slice by slice; for NIfTI, NRRD, MetaImage.

A header may name the file of its voxels. Only a file in the header's own folder or below is read:
whoever may hand in a header must not reach other files by it.
"""

import bz2
import io
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.volume import require_grid, require_volume_shape

MOST_PACKED = {'gzip': 1100, 'zlib': 1100, 'bzip2': 50_000}
"""No bytes are packed more tightly than that."""
GZIP_MARK = b'\x1f\x8b'
MM_PER_UNIT = {
    **dict.fromkeys(('mm', 'millimeter', 'millimeters', 'millimetre', 'millimetres'), 1.0),
    **dict.fromkeys(('m', 'meter', 'meters', 'metre', 'metres'), 1000.0),
    **dict.fromkeys(('cm', 'centimeter', 'centimeters'), 10.0),
    **dict.fromkeys(('um', 'µm', 'μm', 'micron', 'microns', 'micrometer', 'micrometers'), 0.001),
}
NO_ORIENTATION = (
    'does not say how the patient lies ({}): convert the CT again from its DICOM series, or, if '
    'its axes run to the left, to the back and to the head, say so (--assume-lps, ct.assume_lps)'
)
ASSUMED_LPS = 'the file does not say how the patient lies: its axes were taken as left, back, head'
ASSUMED_ORIGIN = 'the file does not say where its first voxel lies: it was taken as the origin'


@dataclass(frozen=True)
class Packed:
    """Where voxels are, and how they are packed.

    Attributes:
        path: file.
        offset: bytes of the file before them; -1: they are its last bytes.
        packing: raw, gzip, zlib, bzip2, text or hex.
        dtype: of a voxel; of numbers in text, too.
        skip: bytes to leave out after unpacking.
        line_skip: lines of the file to leave out from the offset on.
    """

    path: Path
    offset: int
    packing: str
    dtype: np.dtype
    skip: int = 0
    line_skip: int = 0


@dataclass(frozen=True)
class StoredVolume:
    """What a header says.

    Attributes:
        shape: [K, J, I].
        ct_from_index: [4, 4]; index (i, j, k, 1) to LPS mm.
        packed: where the voxels are.
        slope: a value in HU is slope * stored + intercept.
        intercept: see slope.
        assumptions: as in CT.
    """

    shape: tuple[int, int, int]
    ct_from_index: Float64[np.ndarray, '4 4']
    packed: Packed
    slope: float = 1.0
    intercept: float = 0.0
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what does not need the voxels; raises CTError."""
        require_volume_shape(self.shape)
        require_grid(self.ct_from_index)
        if self.packed.dtype.kind not in 'iuf' or self.packed.dtype.itemsize > 8:
            raise not_scalar()

    def slices(self) -> Iterator[Shaped[np.ndarray, 'J I']]:
        """Yield slices of HU; each is valid until the next one is asked for.

        Raises:
            CTError: the file ends early, or cannot be unpacked.
        """
        try:
            with self.packed.path.open('rb') as file:
                for stored in _slices(file, self.packed, self.shape):
                    if (self.slope, self.intercept) == (1.0, 0.0):
                        yield stored
                    else:
                        yield stored * np.float64(self.slope) + self.intercept
        except (OSError, EOFError, ValueError, zlib.error):
            raise damaged() from None


def _slices(
    file: io.BufferedReader, packed: Packed, shape: tuple[int, int, int]
) -> Iterator[Shaped[np.ndarray, 'J I']]:
    slices, rows, columns = shape
    slice_bytes = rows * columns * packed.dtype.itemsize
    if packed.packing == 'text':
        file.seek(packed.offset)
        _skip_lines(file, packed.line_skip)
        numbers = np.fromstring(file.read(), sep=' ')[: math.prod(shape)]
        yield from numbers.astype(packed.dtype).reshape(shape)
        return
    file_bytes = file.seek(0, io.SEEK_END)
    start = file_bytes - slices * slice_bytes if packed.offset < 0 else packed.offset
    most = MOST_PACKED.get(packed.packing, 1)
    # Before anything is reserved for what a header only claims to have.
    if start < 0 or slices * slice_bytes > (file_bytes - start) * most:
        raise EOFError
    file.seek(start)
    _skip_lines(file, packed.line_skip)
    stream = _unpacked(file, packed.packing)
    _skip(stream, packed.skip)
    buffer = bytearray(slice_bytes)
    stored = np.frombuffer(buffer, packed.dtype).reshape(rows, columns)
    for _ in range(slices):
        _fill(stream, memoryview(buffer))
        yield stored
    if packed.packing in ('gzip', 'bzip2'):
        # At the end, the checksum is compared.
        stream.read(1)


def _unpacked(file: io.BufferedReader, packing: str) -> io.BufferedIOBase:
    if packing in ('gzip', 'zlib'):
        return io.BufferedReader(_Inflated(file), 1 << 18)
    if packing == 'bzip2':
        return bz2.BZ2File(file)
    if packing == 'hex':
        return io.BytesIO(bytes.fromhex(file.read().decode('ascii')))
    return file


def _skip_lines(file: io.BufferedReader, lines: int) -> None:
    for _ in range(lines):
        if not file.readline():
            raise EOFError


def _skip(stream: io.BufferedIOBase, count: int) -> None:
    while count > 0:
        skipped = len(stream.read(min(count, 1 << 16)))
        if not skipped:
            raise EOFError
        count -= skipped


def _fill(stream: io.BufferedIOBase, target: memoryview) -> None:
    while target:
        count = stream.readinto(target)
        if not count:
            raise EOFError
        target = target[count:]


class _Inflated(io.RawIOBase):
    """A zlib stream or those of a gzip file, twice as fast as by `gzip`; checksums are compared."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file, self._inflater, self._is_at_end = file, _new_inflater(), False

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        while not self._is_at_end:
            packed = self._inflater.unconsumed_tail or self._file.read(1 << 16)
            if not packed:
                raise EOFError
            content = self._inflater.decompress(packed, len(target))
            if self._inflater.eof:
                self._begin_next()
            if content:
                target[: len(content)] = content
                return len(content)
        return 0

    def _begin_next(self) -> None:
        """Begin with the gzip stream that follows, if one does."""
        after = self._file.tell() - len(self._inflater.unused_data)
        self._file.seek(after)
        self._is_at_end = self._file.read(len(GZIP_MARK)) != GZIP_MARK
        self._file.seek(after)
        self._inflater = _new_inflater()


def _new_inflater() -> 'zlib._Decompress':
    return zlib.decompressobj(zlib.MAX_WBITS | 32)


def data_file(header: Path, name: str) -> Path:
    """Return the file that a header names for its voxels.

    Raises:
        CTError: PATH_NOT_ALLOWED if there are several, or if it is elsewhere than in the header's
            folder or below, links resolved; CT_UNREADABLE if it is not there.
    """
    if re.match(r'LIST(\s|$)', name, re.IGNORECASE) or re.search(r'%\d*d', name):
        raise CTError(
            ErrorCode.PATH_NOT_ALLOWED,
            'the header names several data files, which are not read: write one file',
        )
    folder = header.parent.resolve()
    if '\0' in name:
        raise damaged()
    path = (folder / name).resolve()
    if '..' in Path(name).parts or not path.is_relative_to(folder):
        raise CTError(
            ErrorCode.PATH_NOT_ALLOWED,
            'the header names a data file outside of its own folder, which is not read: put both '
            'into one folder and name the file alone',
        )
    if not path.is_file():
        raise CTError(
            ErrorCode.CT_UNREADABLE,
            'the file with the voxels that the header names is not there: copy it, too',
        )
    return path


def lps_affine(
    columns: Float64[np.ndarray, '3 3'], origin: Float64[np.ndarray, '3']
) -> Float64[np.ndarray, '4 4']:
    """Return the affine of world steps (mm) of i, j, k, one a column, and of the first voxel."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    return affine


def no_orientation(what: str, because: str) -> CTError:
    """Return the error of a file that does not say where left, back and head are."""
    return CTError(ErrorCode.CT_GEOMETRY, f'{what} {NO_ORIENTATION.format(because)}')


def unreadable(text: str) -> CTError:
    """Return CT_UNREADABLE."""
    return CTError(ErrorCode.CT_UNREADABLE, text)


def not_scalar() -> CTError:
    """Return the error of a file with several numbers a voxel."""
    return unreadable('the file holds a colour or vector image: give a CT in HU')


def damaged() -> CTError:
    """Return the error of a file that is not what it should be."""
    return unreadable(
        'the file is truncated, damaged or not what its suffix says: export it again (NIfTI, NRRD '
        'and MetaImage are read, and folders of a DICOM series)'
    )
