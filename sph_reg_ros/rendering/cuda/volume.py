"""The CT as the CUDA renderer reads it."""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float32, Int
from torch import Tensor

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.attenuation import AttenuationVolume

_MAX_VOXELS = 2**31 - 1
_UINT16_MAX = 65535
# Up to this many voxels float32 stays in the caches, so that 16 bits would gain nothing.
_SMALL = 2**22
# Larger than the rounding of a position in voxels, so that no sample reads past the border.
_MARGIN = 2.0**-10


@dataclass(frozen=True)
class PairedVolume:
    """A zero-padded volume on its device, every voxel stored with its next neighbour along i.

    One load fetches both, so that a sample takes four loads instead of eight. As in the CPU
    renderer, a voxel of a large volume has 16 bits, evenly spaced (float16 would cost 4e-3 of the
    Jacobian's depth column), one of a small volume 32.

    Attributes:
        pairs: a voxel in the low half, its neighbour in the high half: of int32 numbers from 0 to
            65535, of int64 the bits of float32.
        levels: [8]: attenuation (1/mm) of one unit, the number of attenuation 0, and the lowest and
            highest index (i, j, k) between which the volume is not empty.
    """

    pairs: Int[Tensor, 'K+2 J+2 I+2']
    levels: Float32[Tensor, '8']


_PAIRED: WeakKeyDictionary[AttenuationVolume, PairedVolume] = WeakKeyDictionary()


def paired(volume: AttenuationVolume) -> PairedVolume:
    """Return the stored form of a volume; made once for each, without waiting for the device.

    Raises:
        CTError: CT_GEOMETRY for more voxels than 32 bits can number.
    """
    known = _PAIRED.get(volume)
    if known is None:
        known = _PAIRED[volume] = _pair(volume)
    return known


def _pair(volume: AttenuationVolume) -> PairedVolume:
    voxels = math.prod(size + 2 for size in volume.shape)
    if voxels > _MAX_VOXELS:
        raise CTError(
            ErrorCode.CT_GEOMETRY,
            f'the CT has {voxels} voxels with its border, the triton backend numbers up to '
            f'{_MAX_VOXELS}: crop or downsample it',
        )
    mu = volume.mu  # unpacked anew each time that it is asked for
    stored = _floats if mu.numel() <= _SMALL else _numbers
    pairs, unit, zero = stored(mu)
    occupied = mu != 0
    ends = [
        _ends(flags)
        for flags in (occupied.any(0).any(0), occupied.any(0).any(1), occupied.any(2).any(1))
    ]
    first, last = (torch.stack(limits) for limits in zip(*ends, strict=True))
    levels = torch.cat([torch.stack([unit, zero]), first + _MARGIN, last - _MARGIN])
    return PairedVolume(pairs, levels)


def _floats(mu: Float32[Tensor, 'K J I']) -> tuple[Tensor, Tensor, Tensor]:
    """Return pairs of float32, the unit and the number of 0."""
    bits = torch.nn.functional.pad(mu, (1, 2, 1, 1, 1, 1)).view(torch.int32).long()
    pairs = (bits[..., :-1] & 0xFFFFFFFF) | (bits[..., 1:] << 32)
    return pairs, mu.new_ones(()), mu.new_zeros(())


def _numbers(mu: Float32[Tensor, 'K J I']) -> tuple[Tensor, Tensor, Tensor]:
    """Return pairs of 16-bit numbers, the unit and the number of 0."""
    lowest, highest = mu.amin().clamp(max=0), mu.amax().clamp(min=0)
    unit = ((highest - lowest) / _UINT16_MAX).clamp(min=torch.finfo(torch.float32).tiny)
    zero = (-lowest / unit).round()
    air = zero.int()
    slices, rows, columns = mu.shape
    pairs = (air | (air << 16)).repeat(slices + 2, rows + 2, columns + 2)
    # Slice by slice: on a device, too, memory is what limits the size of a CT.
    for source, target in zip(mu, pairs[1:-1], strict=True):
        numbers = ((source / unit).round() + zero).clamp(0, _UINT16_MAX).int()
        numbers = torch.nn.functional.pad(numbers - air, (1, 2)) + air
        target[1:-1] = numbers[:, :-1] | (numbers[:, 1:] << 16)
    return pairs, unit, zero


def _ends(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the padded indices of the empty neighbours before and after all that is occupied.

    The first lies behind the last if nothing is.
    """
    index = torch.arange(1, len(occupied) + 1, device=occupied.device, dtype=torch.float32)
    first = torch.where(occupied, index, len(occupied) + 1.0).amin() - 1
    last = torch.where(occupied, index, 0.0).amax() + 1
    return first, last
