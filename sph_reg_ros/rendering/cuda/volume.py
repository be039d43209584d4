"""The CT as the CUDA renderer reads it."""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.errors import ConfigError, CTError, ErrorCode
from sph_reg_ros.imaging.attenuation import AttenuationVolume

_MAX_VOXELS = 2**31 - 1
_LARGEST_HALF_EXPONENT = 15  # 2^16 would be infinite


@dataclass(frozen=True)
class StoredVolume:
    """A zero-padded volume on its device.

    Attributes:
        values: [K+2, J+2, I+2] float16 or float32; attenuation (1/mm) is `scale` times this.
        scale: a power of 2, for float16 the one that uses its range best.
    """

    values: Float[Tensor, 'K J I']
    scale: float


_STORED: WeakKeyDictionary[AttenuationVolume, StoredVolume] = WeakKeyDictionary()


def stored(volume: AttenuationVolume) -> StoredVolume:
    """Return the stored form of a volume: float32 unless `store_as` was called; made once.

    Raises:
        CTError: CT_GEOMETRY for more voxels than 32 bits can number.
    """
    if volume not in _STORED:
        store_as(volume, torch.float32)
    return _STORED[volume]


def store_as(volume: AttenuationVolume, dtype: torch.dtype) -> None:
    """Choose how a volume is stored for all renderings to come.

    float16 halves the memory and its traffic. It costs nothing in the image (1e-5 on a chest CT),
    but up to 4e-3 of the Jacobian's depth column, in which most of the signal cancels; hence
    float32 by default.

    Raises:
        ConfigError: `dtype` is neither float16 nor float32.
        CTError: CT_GEOMETRY for more voxels than 32 bits can number.
    """
    voxels = math.prod(size + 2 for size in volume.shape)
    if voxels > _MAX_VOXELS:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'the CT has {voxels} voxels with its border, the triton backend numbers up to '
            f'{_MAX_VOXELS}: crop or downsample it',
        )
    if dtype == torch.float32:
        _STORED[volume] = StoredVolume(volume.zero_padded, 1.0)
    elif dtype == torch.float16:
        _STORED[volume] = _halved(volume.mu)
    else:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID, f'the volume can be float16 or float32, not {dtype}'
        )


def _halved(mu: Float[Tensor, 'K J I']) -> StoredVolume:
    largest = float(mu.abs().max())
    exponent = math.frexp(largest)[1] if largest > 0 else 0  # largest < 2^exponent
    scale = 2.0 ** (exponent - _LARGEST_HALF_EXPONENT)
    return StoredVolume(torch.nn.functional.pad((mu / scale).half(), (1,) * 6), scale)
