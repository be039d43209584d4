"""The fields of a NIfTI-1 or NIfTI-2 header that say where and how the voxels lie.

ITK's copy of the header lacks the sign of the qform. Source: nifti1.h and nifti2.h.
"""

from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

import numpy as np
from jaxtyping import Float64
from transforms3d.quaternions import quat2mat

# Name: offset in NIfTI-1, type there, offset in NIfTI-2, type there.
FIELDS = {
    'datatype': (70, 'i2', 12, 'i2'),
    'bitpix': (72, 'i2', 14, 'i2'),
    'pixdim': (76, '8f4', 104, '8f8'),
    'vox_offset': (108, 'f4', 168, 'i8'),
    'xyzt_units': (123, 'u1', 500, 'i4'),
    'qform_code': (252, 'i2', 344, 'i4'),
    'sform_code': (254, 'i2', 348, 'i4'),
    'quatern': (256, '3f4', 352, '3f8'),
    'qoffset': (268, '3f4', 376, '3f8'),
    'srow': (280, '(3,4)f4', 400, '(3,4)f8'),
}
NIFTI1_SIZE, NIFTI2_SIZE = 348, 540
MM_PER_UNIT = {1: 1000.0, 3: 0.001}
FLOAT_TYPES = {16: 'f4', 64: 'f8'}


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI header says.

    Attributes:
        qform: index to RAS mm [4, 4] by the quaternion, None if its code is 0.
        sform: index to RAS mm [4, 4] by three rows, None if its code is 0.
        voxel_offset: bytes before the first voxel.
        voxel_bytes: bytes of one voxel.
        float_type: NumPy type of float voxels, None for others.
    """

    qform: Float64[np.ndarray, '4 4'] | None
    sform: Float64[np.ndarray, '4 4'] | None
    voxel_offset: int
    voxel_bytes: int
    float_type: str | None


def read_nifti_header(file: BufferedIOBase) -> NiftiHeader:
    """Read the header at the start of a file; raises EOFError or ValueError if there is none."""
    raw = file.read(NIFTI2_SIZE)
    # The first field is the header's own size, which shows version and byte order.
    order = '<' if int.from_bytes(raw[:4], 'little') in (NIFTI1_SIZE, NIFTI2_SIZE) else '>'
    size = int.from_bytes(raw[:4], 'little' if order == '<' else 'big')
    if size not in (NIFTI1_SIZE, NIFTI2_SIZE):
        raise ValueError('no NIfTI header')
    if len(raw) < size:
        raise EOFError
    at = 0 if size == NIFTI1_SIZE else 2
    layout: Any = {
        'names': list(FIELDS),
        'formats': [field[at + 1] for field in FIELDS.values()],
        'offsets': [field[at] for field in FIELDS.values()],
        'itemsize': size,
    }
    fields = np.frombuffer(raw, np.dtype(layout).newbyteorder(order), count=1)[0]
    float_type = FLOAT_TYPES.get(int(fields['datatype']))
    return NiftiHeader(
        qform=_qform(fields) if fields['qform_code'] > 0 else None,
        sform=_affine(fields['srow'], fields) if fields['sform_code'] > 0 else None,
        voxel_offset=int(fields['vox_offset']),
        voxel_bytes=int(fields['bitpix']) // 8,
        float_type=float_type and order + float_type,
    )


def _qform(fields: np.void) -> Float64[np.ndarray, '4 4']:
    b, c, d = fields['quatern'].astype(np.float64)
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    pixdim = fields['pixdim'].astype(np.float64)
    steps = np.abs(pixdim[1:4]) * (1.0, 1.0, -1.0 if pixdim[0] < 0 else 1.0)
    return _affine(np.column_stack([quat2mat([a, b, c, d]) * steps, fields['qoffset']]), fields)


def _affine(rows: np.ndarray, fields: np.void) -> Float64[np.ndarray, '4 4']:
    affine = np.eye(4)
    affine[:3] = rows * MM_PER_UNIT.get(int(fields['xyzt_units']) & 7, 1.0)
    return affine
