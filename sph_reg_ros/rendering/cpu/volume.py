"""Packed volume of the CPU renderer, with a map of bricks of air."""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, UInt8, UInt16
from numba import njit, prange

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.attenuation import AttenuationVolume

BRICK = 8
"""Edge of a brick in voxels; a brick counts as air if it and all its neighbours are empty."""
_UINT16_MAX = 65535
# Up to this many voxels float32 stays in the caches, so that 16 bits would gain nothing.
_SMALL = 2**22
_MAX_VOXELS = 2**31 - 1


@dataclass(frozen=True)
class PackedVolume:
    """A zero-padded volume.

    Large ones have 16 bits a voxel: half the bytes of float32 means half the waiting for memory.
    The rounding, 8e-6 of the largest attenuation, is far below a CT's noise.

    Attributes:
        values: [K+2, J+2, I+2]; attenuation is `scale` times this.
        scale: 1/mm.
        occupied: one flag for each brick of `values`, (k, j, i); 0 if no voxel within BRICK voxels
            of any point of the brick attenuates.
    """

    values: UInt16[np.ndarray, 'K J I'] | Float32[np.ndarray, 'K J I']
    scale: float
    occupied: UInt8[np.ndarray, 'BK BJ BI']


_PACKED: WeakKeyDictionary[AttenuationVolume, PackedVolume] = WeakKeyDictionary()


def packed(volume: AttenuationVolume) -> PackedVolume:
    """Return the packed form of a volume on the CPU; made once for each volume.

    Raises:
        CTError: CT_GEOMETRY for more voxels than 32 bits can number.
    """
    known = _PACKED.get(volume)
    if known is None:
        known = _PACKED[volume] = _pack(volume)
    return known


def _pack(volume: AttenuationVolume) -> PackedVolume:
    mu = volume.mu.numpy()
    shape = [size + 2 for size in mu.shape]
    if math.prod(shape) > _MAX_VOXELS:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'the CT has {mu.size} voxels, more than the renderer can number: crop it',
        )
    scale = float(mu.max()) / _UINT16_MAX
    # NumPy's large arrays lie in huge pages where the system has them: fewer address lookups.
    if mu.size <= _SMALL or scale <= 0 or mu.min() < 0:
        values, scale = np.zeros(shape, np.float32), 1.0
        values[1:-1, 1:-1, 1:-1] = mu
    else:
        values = np.zeros(shape, np.uint16)
        _quantise(mu, np.float32(1 / scale), values)
    return PackedVolume(values, scale, _occupied_bricks(values))


@njit(cache=True, nogil=True, parallel=True)
def _quantise(mu, per_unit, values):  # type: ignore[no-untyped-def]
    for k in prange(mu.shape[0]):
        for j in range(mu.shape[1]):
            for i in range(mu.shape[2]):
                values[k + 1, j + 1, i + 1] = np.uint16(mu[k, j, i] * per_unit + np.float32(0.5))


def _occupied_bricks(values: np.ndarray) -> np.ndarray:
    own = np.zeros([-(-size // BRICK) for size in values.shape], np.uint8)
    _mark_bricks(values, own)
    for axis in range(3):
        own = _with_neighbours(own, axis)
    return own


@njit(cache=True, nogil=True, parallel=True)
def _mark_bricks(values, own):  # type: ignore[no-untyped-def]
    for brick in prange(own.shape[0]):
        for k in range(brick * BRICK, min((brick + 1) * BRICK, values.shape[0])):
            for j in range(values.shape[1]):
                for i in range(values.shape[2]):
                    if values[k, j, i] != 0:
                        own[brick, j // BRICK, i // BRICK] = 1


def _with_neighbours(flags: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(flags, axis, 0)
    wide = moved.copy()
    wide[1:] |= moved[:-1]
    wide[:-1] |= moved[1:]
    return np.ascontiguousarray(np.moveaxis(wide, 0, axis))
