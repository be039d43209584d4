"""MetaImage headers. Format: https://itk.org/Wiki/ITK/MetaIO/Documentation."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.stored_volume import (
    ASSUMED_LPS,
    ASSUMED_ORIGIN,
    MM_PER_UNIT,
    Packed,
    StoredVolume,
    damaged,
    data_file,
    lps_affine,
    no_orientation,
    not_scalar,
    unreadable,
)
from sph_reg_ros.imaging.ct.volume import require_volume_shape

MAX_HEADER_BYTES = 1 << 16
TYPES = {
    'met_char': 'i1', 'met_uchar': 'u1', 'met_short': 'i2', 'met_ushort': 'u2', 'met_int': 'i4',
    'met_uint': 'u4', 'met_long': 'i4', 'met_ulong': 'u4', 'met_long_long': 'i8',
    'met_ulong_long': 'u8', 'met_float': 'f4', 'met_double': 'f8',
}  # fmt: skip
LETTERS = {'R': -1, 'L': 1, 'A': -2, 'P': 2, 'I': -3, 'S': 3}
"""Axis of LPS, from 1, and its direction."""
_CLEAR = 0.1
"""A cosine from which on an axis has a sign, whatever is rounded."""

Fields = dict[str, str]


def read_meta_image(path: Path, assume_lps: bool) -> StoredVolume:
    """Read the header of a .mha or .mhd file.

    Args:
        path: file.
        assume_lps: take the axes of a file without directions for LPS.

    Raises:
        CTError: as from load_ct.
        ValueError, KeyError: no such header.
    """
    fields, length = _fields(path)
    sizes = [int(size) for size in fields['dimsize'].split()]
    if len(sizes) != int(fields['ndims']) or min(sizes, default=0) < 1:
        raise damaged()
    if int(fields.get('elementnumberofchannels', 1)) != 1:
        raise not_scalar()
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    require_volume_shape(tuple(reversed(sizes)))
    count = int(fields['ndims'])
    spacing = _numbers(fields, ('elementspacing', 'elementsize'), count)
    if spacing is None:
        raise CTError(ErrorCode.CT_GEOMETRY, 'the MetaImage header does not give the voxel spacing')
    directions, assumptions = _directions(fields, count, assume_lps)
    origin = _numbers(fields, ('offset', 'position', 'origin'), count)
    if origin is None:
        origin, assumptions = np.zeros(3), (*assumptions, ASSUMED_ORIGIN)
    unit = _unit(fields)
    return StoredVolume(
        (sizes[2], sizes[1], sizes[0]),
        lps_affine(directions.T * spacing[:3] * unit, origin[:3] * unit),
        _packed(path, fields, length),
        assumptions=assumptions,
    )


def _fields(path: Path) -> tuple[Fields, int]:
    """Return the fields, names in lower case, and the bytes of the header."""
    with path.open('rb') as file:
        head = file.read(MAX_HEADER_BYTES)
    # This field is the last one.
    end = re.search(rb'^\s*ElementDataFile\s*=[^\n]*(\n|\Z)', head, re.MULTILINE | re.IGNORECASE)
    if end is None:
        raise damaged()
    fields: Fields = {}
    for line in head[: end.end()].decode('utf-8', errors='replace').splitlines():
        name, equals, value = line.partition('=')
        key = name.strip().lower()
        if key in fields and key != 'comment' or not equals and key:
            raise damaged()
        fields[key] = value.strip()
    slope, intercept = (
        float(fields.get(f'elementtointensityfunction{name}', default))
        for name, default in (('slope', 1), ('offset', 0))
    )
    if (slope, intercept) != (1, 0):
        raise unreadable('the MetaImage has an intensity function, which is not read: apply it')
    return fields, end.end()


def _numbers(
    fields: Fields, names: tuple[str, ...], count: int
) -> Float64[np.ndarray, ' count'] | None:
    """Return the numbers of the first of several names of a field that is there."""
    text = next((fields[name] for name in names if name in fields), None)
    if text is None:
        return None
    numbers = np.array([float(number) for number in text.split()])
    if len(numbers) != count:
        raise damaged()
    return numbers


def _directions(
    fields: Fields, count: int, assume_lps: bool
) -> tuple[Float64[np.ndarray, '3 3'], tuple[str, ...]]:
    """Return the unit vectors of i, j, k in LPS, one a row, and what had to be assumed."""
    numbers = _numbers(fields, ('transformmatrix', 'rotation', 'orientation'), count**2)
    if numbers is None:
        if not assume_lps:
            raise no_orientation('the MetaImage header', 'it has no TransformMatrix')
        return np.eye(3), (ASSUMED_LPS,)
    directions = numbers.reshape(count, count)[:3, :3]
    length = np.linalg.norm(directions, axis=1)
    if np.abs(length - 1).max() > 1e-3 or not np.isfinite(length).all():
        raise CTError(
            ErrorCode.CT_GEOMETRY, 'TransformMatrix of the MetaImage header has no unit vectors'
        )
    _require_agreement(directions, fields.get('anatomicalorientation', '').upper())
    return directions / length[:, None], ()


def _require_agreement(directions: Float64[np.ndarray, '3 3'], letters: str) -> None:
    """Raise CTError if AnatomicalOrientation contradicts the directions.

    The letters are where the axes come from, as ITK writes them, or where they go to, as the
    format's description has it.
    """
    if len(letters) != 3 or not set(letters) <= set(LETTERS):
        return
    axes = [LETTERS[letter] for letter in letters]
    cosines = np.array([directions[row, abs(axis) - 1] * axis for row, axis in enumerate(axes)])
    if not ((cosines < -_CLEAR).all() or (cosines > _CLEAR).all()):
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            'AnatomicalOrientation and TransformMatrix of the MetaImage header contradict each '
            'other: set both to what says where the patient is',
        )


def _unit(fields: Fields) -> float:
    name = fields.get('distanceunits', 'mm').lower().strip('"')
    if name not in ('', '?', *MM_PER_UNIT):
        raise CTError(
            ErrorCode.CT_GEOMETRY, 'DistanceUnits of the MetaImage header is not known: give mm'
        )
    return MM_PER_UNIT.get(name, 1.0)


def _packed(path: Path, fields: Fields, length: int) -> Packed:
    kind = fields['elementtype'].lower()
    if kind.endswith('_array'):
        raise not_scalar()
    if kind not in TYPES:
        raise unreadable('the element type of the MetaImage is not read: write numbers')
    order = _is_true(fields, 'binarydatabyteordermsb') or _is_true(fields, 'elementbyteordermsb')
    dtype = np.dtype(TYPES[kind]).newbyteorder('>' if order else '<')
    name = fields['elementdatafile']
    data, offset = (path, length) if name.upper() == 'LOCAL' else (data_file(path, name), 0)
    skip = int(fields.get('headersize', 0))
    packing = 'raw'
    if _is_true(fields, 'compresseddata'):
        packing = 'zlib'
    elif fields.get('binarydata', 'true').lower() in ('false', '0'):
        packing = 'text'
    if skip < 0 and packing != 'raw':
        raise damaged()
    return Packed(data, -1 if skip < 0 else offset + skip, packing, dtype)


def _is_true(fields: Fields, name: str) -> bool:
    return fields.get(name, 'false').lower() in ('true', '1')
