"""The CT as the CUDA renderer reads it."""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.attenuation import AttenuationVolume

_MAX_VOXELS = 2**31 - 1
_UINT16_MAX = 65535
# Larger than the rounding of a position in voxels, so that no sample reads past the border.
_MARGIN = 2.0**-10


@dataclass(frozen=True)
class PairedVolume:
    """A zero-padded volume on its device, every voxel stored with its next neighbour along i.

    One 32-bit load fetches both, so that a sample takes four loads instead of eight. 16 bits a
    voxel are evenly spaced, as those of the CPU renderer: float16 would cost 4e-3 of the Jacobian's
    depth column.

    Attributes:
        pairs: [K+2, J+2, I+2]; a voxel's number in the low 16 bits, its neighbour's in the high.
        levels: (1/mm) of one unit, the number of attenuation 0, and the lowest and highest index
            (i, j, k) between which the volume is not empty.
    """

    pairs: Int32[Tensor, 'K J I']
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
    mu = volume.mu
    lowest, highest = (mu.amin().clamp(max=0), mu.amax().clamp(min=0))
    unit = ((highest - lowest) / _UINT16_MAX).clamp(min=torch.finfo(torch.float32).tiny)
    zero = (-lowest / unit).round()
    slices, rows, columns = volume.shape
    pairs = torch.zeros(slices + 2, rows + 2, columns + 2, dtype=torch.int32, device=mu.device)
    pairs += zero.int() | (zero.int() << 16)
    occupied = []
    # Slice by slice: on a device, too, memory is what limits the size of a CT.
    for source, target in zip(mu, pairs[1:-1], strict=True):
        numbers = ((source / unit).round() + zero).clamp(0, _UINT16_MAX).int()
        full = numbers != zero.int()
        occupied.append((full.any(0), full.any(1), full.any()))
        numbers = torch.nn.functional.pad(numbers - zero.int(), (1, 2, 0, 0)) + zero.int()
        target[1:-1] = numbers[:, :-1] | (numbers[:, 1:] << 16)
    along = (torch.stack(flags) for flags in zip(*occupied, strict=True))
    by_column, by_row, by_slice = along
    ends = [_ends(flags) for flags in (by_column.any(0), by_row.any(0), by_slice)]
    first, last = (torch.stack(limits) for limits in zip(*ends, strict=True))
    levels = torch.cat([torch.stack([unit, zero]), first + _MARGIN, last - _MARGIN])
    return PairedVolume(pairs, levels)


def _ends(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the padded indices of the empty neighbours before and after all that is occupied.

    The first lies behind the last if nothing is.
    """
    index = torch.arange(1, len(occupied) + 1, device=occupied.device, dtype=torch.float32)
    first = torch.where(occupied, index, len(occupied) + 1.0).amin() - 1
    last = torch.where(occupied, index, 0.0).amax() + 1
    return first, last
