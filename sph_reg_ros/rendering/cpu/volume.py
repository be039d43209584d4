"""Packed volume of the CPU renderer, with a map of bricks of air."""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, UInt8, UInt16
from numba import njit, prange
from torch import Tensor

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.packed_voxels import PackedVoxels

BRICK = 8
"""Edge of a brick in voxels; a brick counts as air if it and all its neighbours are empty."""
_MAX_VOXELS = 2**31 - 1
MOST_IN_FLOATS = 2**17
"""Up to this many voxels fit float32 into the cache of a core; more are rendered faster from 16
bits, even where another cache holds them."""


@dataclass(frozen=True)
class PackedVolume:
    """A zero-padded volume.

    All but small ones have 16 bits a voxel: half the bytes of float32, half the waiting for memory.
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
    if math.prod(size + 2 for size in volume.shape) > _MAX_VOXELS:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'the CT has {math.prod(volume.shape)} voxels, more than the renderer can number: '
            'crop it',
        )
    voxels: Tensor | PackedVoxels | None = volume.voxels
    if isinstance(voxels, Tensor):
        voxels = PackedVoxels.of(voxels) if voxels.numel() > MOST_IN_FLOATS else None
    if voxels is None:
        values, scale = volume.zero_padded.numpy(), 1.0
    else:
        values, scale = voxels.padded, voxels.scale
    return PackedVolume(values, scale, _occupied_bricks(values))


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
