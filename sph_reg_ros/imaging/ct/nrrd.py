"""NRRD headers. Format: https://teem.sourceforge.net/nrrd/format.html.

Read here and not by ITK: some of its versions turn left-anterior-superior the wrong way, and all
take files that name no space of the patient for LPS.
"""

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

MAX_HEADER_BYTES = 1 << 20
LPS_SIGNS = {
    'left-posterior-superior': (1, 1, 1),
    'right-anterior-superior': (-1, -1, 1),
    'left-anterior-superior': (1, -1, 1),
    'lps': (1, 1, 1),
    'ras': (-1, -1, 1),
    'las': (1, -1, 1),
}
TYPES = {
    'int8': ('signed char', 'int8', 'int8_t'),
    'uint8': ('uchar', 'unsigned char', 'uint8', 'uint8_t'),
    'int16': ('short', 'short int', 'signed short', 'signed short int', 'int16', 'int16_t'),
    'uint16': ('ushort', 'unsigned short', 'unsigned short int', 'uint16', 'uint16_t'),
    'int32': ('int', 'signed int', 'int32', 'int32_t'),
    'uint32': ('uint', 'unsigned int', 'uint32', 'uint32_t'),
    'int64': (
        'longlong', 'long long', 'long long int', 'signed long long', 'signed long long int',
        'int64', 'int64_t',
    ),
    'uint64': (
        'ulonglong', 'unsigned long long', 'unsigned long long int', 'uint64', 'uint64_t',
    ),
    'float32': ('float',),
    'float64': ('double',),
}  # fmt: skip
PACKINGS = {
    'raw': 'raw', 'txt': 'text', 'text': 'text', 'ascii': 'text', 'hex': 'hex', 'gz': 'gzip',
    'gzip': 'gzip', 'bz2': 'bzip2', 'bzip2': 'bzip2',
}  # fmt: skip

Fields = dict[str, str]
Vectors = list[Float64[np.ndarray, ' d'] | None]


def read_nrrd(path: Path, assume_lps: bool) -> StoredVolume:
    """Read the header of a .nrrd or .nhdr file.

    Args:
        path: file.
        assume_lps: take the axes of a file that names no space of the patient for LPS.

    Raises:
        CTError: as from load_ct.
        ValueError: no such header.
    """
    fields, length = _fields(path)
    sizes = [int(size) for size in fields['sizes'].split()]
    if len(sizes) != int(fields['dimension']) or min(sizes) < 1:
        raise damaged()
    axes = [axis for axis, size in enumerate(sizes) if size > 1]
    shape = tuple(reversed([sizes[axis] for axis in axes]))
    kinds = fields.get('kinds', 'domain').split()
    if len(axes) > 3 and kinds[0].lower() not in ('domain', 'space', '???'):
        raise not_scalar()
    require_volume_shape(shape if len(axes) > 2 else tuple(reversed(sizes)))
    vectors, signs = _vectors(fields, len(sizes), assume_lps)
    steps = [vectors[axis] for axis in axes]
    if any(step is None for step in steps):
        raise CTError(ErrorCode.CT_GEOMETRY, 'the NRRD header gives an axis no direction in space')
    unit = _unit(fields, 'spaceunits' if 'space' in fields else 'units')
    assumptions: tuple[str, ...] = () if signs is not None else (ASSUMED_LPS,)
    origin = _vector(fields['spaceorigin']) if 'spaceorigin' in fields else np.zeros(3)
    if origin is None:
        raise damaged()
    if 'spaceorigin' not in fields:
        assumptions += (ASSUMED_ORIGIN,)
    lps = np.diag(np.array(signs or (1, 1, 1), dtype=np.float64)) * unit
    columns = lps @ np.stack([np.asarray(step)[:3] for step in steps], axis=1)
    return StoredVolume(
        (shape[0], shape[1], shape[2]),
        lps_affine(columns, lps @ origin[:3]),
        _packed(path, fields, length),
        assumptions=assumptions,
    )


def _fields(path: Path) -> tuple[Fields, int]:
    """Return the fields, names in lower case without spaces, and the bytes of the header."""
    with path.open('rb') as file:
        head = file.read(MAX_HEADER_BYTES)
    if not re.match(rb'NRRD000\d\r?\n', head):
        raise damaged()
    end = re.search(rb'\r?\n\r?\n', head)
    length = end.end() if end else len(head)
    text = head[: end.start() if end else length].decode('utf-8', errors='replace')
    fields: Fields = {}
    for line in text.splitlines()[1:]:
        if line.startswith('#') or re.match(r'[^:]*:=', line):
            continue
        name, colon, value = line.partition(': ')
        if not colon:
            name, colon, value = line.partition(':')
        key = name.lower().replace(' ', '')
        if not colon or key in fields:
            raise damaged()
        fields[key] = value.strip()
        if key == 'datafile' and value.startswith('LIST'):
            break  # the rest are names
    for key in ('dimension', 'sizes', 'type', 'encoding'):
        if key not in fields:
            raise damaged()
    return fields, length


def _vectors(
    fields: Fields, dimension: int, assume_lps: bool
) -> tuple[Vectors, tuple[int, int, int] | None]:
    """Return the step along each axis, None for one that is not in space; and how to LPS.

    Raises:
        CTError: nothing tells where the patient's left, back and head are.
    """
    space = fields.get('space', '').lower()
    signs = LPS_SIGNS.get(space.removesuffix('-time')) or LPS_SIGNS.get(
        space.removesuffix('t') if len(space) == 4 else ''
    )
    if signs is None and not assume_lps:
        because = f'space is {space}' if space else 'it has no space'
        raise no_orientation('the NRRD header', because)
    if 'spacedirections' in fields:
        texts = re.findall(r'\([^)]*\)|none', fields['spacedirections'], re.IGNORECASE)
        if len(texts) != dimension:
            raise damaged()
        return [_spatial(_vector(text)) for text in texts], signs
    if not assume_lps or signs not in (None, LPS_SIGNS['lps']):
        raise no_orientation('the NRRD header', 'it has no space directions')
    spacings = [float(text) for text in fields.get('spacings', '').split()]
    if len(spacings) != dimension:
        raise CTError(ErrorCode.CT_GEOMETRY, 'the NRRD header does not give the voxel spacing')
    spatial = [axis for axis, spacing in enumerate(spacings) if np.isfinite(spacing)]
    vectors: Vectors = [None] * dimension
    for column, axis in enumerate(spatial[:3]):
        vectors[axis] = spacings[axis] * np.eye(3)[column]
    return vectors, None


def _spatial(vector: Float64[np.ndarray, ' d'] | None) -> Float64[np.ndarray, ' d'] | None:
    """Return a step unless it is one in time alone."""
    if vector is not None and len(vector) == 4 and not vector[:3].any():
        return None
    return vector


def _vector(text: str) -> Float64[np.ndarray, ' d'] | None:
    if text.lower() == 'none':
        return None
    vector = np.array([float(number) for number in text.strip('()').split(',')])
    if len(vector) not in (3, 4):
        raise CTError(ErrorCode.CT_GEOMETRY, 'the NRRD header describes no space of 3 dimensions')
    return vector


def _unit(fields: Fields, name: str) -> float:
    """Return millimetres a unit of length; those of time and of values do not count."""
    units = {text.lower() for text in re.findall(r'"([^"]*)"', fields.get(name, ''))}
    lengths = {MM_PER_UNIT[unit] for unit in units if unit in MM_PER_UNIT}
    unknown = units - set(MM_PER_UNIT) - {'', 's', 'ms', 'sec', 'none', 'hu', 'nan'}
    if len(lengths) > 1 or unknown:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            'the unit of length of the NRRD header is not known, or there are several: give mm',
        )
    return lengths.pop() if lengths else 1.0


def _packed(path: Path, fields: Fields, length: int) -> Packed:
    packing = PACKINGS.get(fields['encoding'].lower())
    kinds = [kind for kind, names in TYPES.items() if fields['type'].lower() in names]
    if packing is None or not kinds:
        raise unreadable(
            f'encoding {fields["encoding"]} of type {fields["type"]} is not read: write raw or '
            'gzip, and numbers'
        )
    dtype = np.dtype(kinds[0])
    if dtype.itemsize > 1 and packing != 'text':
        if fields.get('endian', '').lower() not in ('little', 'big'):
            raise damaged()
        dtype = dtype.newbyteorder('<' if fields['endian'].lower() == 'little' else '>')
    name = fields.get('datafile')
    if name is None:
        if path.suffix.lower() == '.nhdr' and path.stat().st_size <= length:
            raise damaged()
        data, offset = path, length
    else:
        data, offset = data_file(path, name), 0
    skip = int(fields.get('byteskip', 0))
    if packing == 'raw':
        # Counted in the file; -1: from its end.
        offset, skip = (-1 if skip < 0 else offset), max(skip, 0)
    elif skip < 0:
        raise damaged()
    return Packed(data, offset, packing, dtype, skip, int(fields.get('lineskip', 0)))
