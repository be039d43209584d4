"""Attenuation of a large CT in 16 bits a voxel, as the CPU renderer reads it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Shaped, UInt16
from torch import Tensor

MOST_IN_FLOATS = 2**22
"""Up to this many voxels float32 stays in the caches, so that 16 bits would gain nothing."""
LARGEST = 65535


@dataclass(frozen=True, eq=False)
class PackedVoxels:
    """Zero-padded attenuation; its rounding, 8e-6 of the largest, is far below a CT's noise.

    Attributes:
        padded: [K+2, J+2, I+2]; attenuation is `scale` times this.
        scale: 1/mm.
    """

    padded: UInt16[np.ndarray, 'K+2 J+2 I+2']
    scale: float

    @classmethod
    def of(cls, mu: Float32[Tensor, 'K J I']) -> 'PackedVoxels | None':
        """Pack attenuation (1/mm) on the CPU; None if it is empty or negative somewhere."""
        lowest, highest = (float(end) for end in torch.aminmax(mu))
        if lowest < 0 or highest <= 0:
            return None
        return cls.converted(mu.numpy(), highest, lambda values, per_mu: rounded(values * per_mu))

    @classmethod
    def converted(
        cls,
        source: Shaped[np.ndarray, 'K J I'],
        largest: float,
        numbers: Callable[[Shaped[np.ndarray, 'J I'], np.float32], UInt16[np.ndarray, 'J I']],
    ) -> 'PackedVoxels':
        """Pack a volume slice by slice, so that no second one of floats is needed in between.

        Args:
            source: any values.
            largest: their attenuation (1/mm) at the most; above 0.
            numbers: gives attenuation in units, from values and the units that are 1/mm.
        """
        slices, rows, columns = source.shape
        scale = largest / LARGEST
        # NumPy's large arrays lie in huge pages where the system has them: fewer address lookups.
        padded = np.zeros((slices + 2, rows + 2, columns + 2), np.uint16)

        def convert(k: int) -> None:
            padded[k + 1, 1:-1, 1:-1] = numbers(source[k], np.float32(1 / scale))

        _each(convert, slices)
        return cls(padded, scale)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (K, J, I)."""
        slices, rows, columns = (size - 2 for size in self.padded.shape)
        return slices, rows, columns

    def floats(self, device: torch.device | str = 'cpu') -> Float32[Tensor, 'K J I']:
        """Return attenuation (1/mm), which takes twice the memory, on a device."""
        # Not every torch has uint16.
        bits = torch.from_numpy(self.padded.view(np.int16)).to(device)[1:-1, 1:-1, 1:-1]
        mu = torch.empty(bits.shape, device=device)
        for source, target in zip(bits, mu, strict=True):
            torch.mul(source.int() & LARGEST, self.scale, out=target)
        return mu

    def block_means(self, factors: tuple[int, int, int]) -> Float32[Tensor, 'K J I']:
        """Return the mean attenuation (1/mm) of blocks of voxels.

        Args:
            factors: voxels of a block along i, j, k; blocks at the end are filled up with air.
        """
        # Imported lazily: Numba takes as long as many a CT to read.
        from sph_reg_ros.imaging.block_sums import add_block_sums

        i, j, k = factors
        shape = [-(-size // factor) for size, factor in zip(self.shape, (k, j, i), strict=True)]
        means = np.empty(shape, np.float32)

        def average(block: int) -> None:
            sums = np.zeros(shape[1:], np.int64)
            add_block_sums(self.padded, block, (k, j, i), sums)
            means[block] = sums * (self.scale / (i * j * k))

        _each(average, shape[0])
        return torch.from_numpy(means)


def rounded(units: Float32[np.ndarray, '...']) -> UInt16[np.ndarray, '...']:
    """Return the nearest whole numbers."""
    return (units + np.float32(0.5)).astype(np.uint16)


def _each(function: Callable[[int], None], count: int) -> None:
    """Call a function that lets other threads run with 0 to count - 1."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(function, range(count)):
            pass
