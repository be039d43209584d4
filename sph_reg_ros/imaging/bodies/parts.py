"""Parts of a CT by a label map, and the CT without them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_of_hounsfield, stored

SOFT_TISSUE_HU = 40.0
LEAST_INSIDE = 0.5
"""Share of a structure that the CT must hold; the rest may be cut off."""
LEAST_DENSE = 0.3
"""Share of its voxels that must be denser than soft tissue."""


def soft_tissue_attenuation(energy_kev: float) -> float:
    """Return what a body displaces (1/mm); raises ConfigError outside 30 to 150 keV."""
    return attenuation_of_hounsfield(SOFT_TISSUE_HU, energy_kev)


def grown(
    mask: Bool[np.ndarray, 'K J I'], where: Bool[np.ndarray, 'K J I']
) -> Bool[np.ndarray, 'K J I']:
    """Return a mask with those of its voxels' six neighbours that lie in another mask."""
    neighbours = np.zeros_like(mask)
    for axis in range(3):
        ahead, behind = (
            tuple(part if n == axis else slice(None) for n in range(3))
            for part in (slice(1, None), slice(None, -1))
        )
        neighbours[ahead] |= mask[behind]
        neighbours[behind] |= mask[ahead]
    return mask | (neighbours & where)


@dataclass(frozen=True, eq=False)
class Coverage:
    """The share of voxels of a CT that a body fills.

    Attributes:
        share: [K, J, I] from 0 to 1, of a block of the CT.
        start: (k, j, i) of the block's first voxel.
        inside: share of the body that the CT holds.
    """

    share: Float32[Tensor, 'K J I']
    start: tuple[int, int, int]
    inside: float = 1.0

    @property
    def block(self) -> tuple[slice, slice, slice]:
        """Return where in the CT the block is."""
        k, j, i = (
            slice(first, first + size)
            for first, size in zip(self.start, self.share.shape, strict=True)
        )
        return k, j, i


def coverage_in_ct(
    share: Float32[np.ndarray, 'K J I'],
    lps_from_index: Float64[np.ndarray, '4 4'],
    ct: AttenuationVolume,
) -> Coverage | None:
    """Resample what a body fills from a grid of its own to that of the CT; None if outside.

    Args:
        share: from 0 to 1, of each voxel.
        lps_from_index: [4, 4]; (i, j, k, 1) of it to LPS (mm).
        ct: the CT.
    """
    filled = np.argwhere(share > 0)
    low, high = filled.min(0), filled.max(0) + 1
    share = share[tuple(slice(first, last) for first, last in zip(low, high, strict=True))]
    lps_from_index = lps_from_index.copy()
    lps_from_index[:3, 3] += lps_from_index[:3, :3] @ low[::-1]
    ct_index = np.linalg.inv(ct.ct_from_index.cpu().numpy()) @ lps_from_index
    places = np.argwhere(share > 0)[:, ::-1] @ ct_index[:3, :3].T + ct_index[:3, 3]
    size = np.array(ct.shape[::-1])
    inside = ((places > -0.5) & (places < size - 0.5)).all(1)
    if not inside.any():
        return None
    # On the same grid, these are whole numbers but for rounding.
    first = np.maximum(np.floor(places[inside].min(0) + 1e-3).astype(int) - 1, 0)
    last = np.minimum(np.ceil(places[inside].max(0) - 1e-3).astype(int) + 2, size)
    resampled = _resampled(share, np.linalg.inv(ct_index), first, last)
    k, j, i = first[::-1].tolist()
    return Coverage(resampled, (k, j, i), float(inside.mean()))


def _resampled(
    share: Float32[np.ndarray, 'K J I'],
    index_from_ct_index: Float64[np.ndarray, '4 4'],
    first: np.ndarray,
    last: np.ndarray,
) -> Float32[Tensor, 'K J I']:
    """Interpolate linearly at the CT's voxels from (i, j, k) `first` up to `last`."""
    padded = torch.nn.functional.pad(torch.from_numpy(np.ascontiguousarray(share)), (1,) * 6)
    sizes = np.array(padded.shape[::-1])
    axes = [torch.arange(a, b, dtype=torch.float64) for a, b in zip(first, last, strict=True)]
    k, j, i = torch.meshgrid(axes[2], axes[1], axes[0], indexing='ij')
    affine = torch.from_numpy(index_from_ct_index)
    index = torch.stack([i, j, k], -1) @ affine[:3, :3].T + affine[:3, 3] + 1
    grid = (2 * index / torch.from_numpy(sizes - 1) - 1).float()
    return torch.nn.functional.grid_sample(padded[None, None], grid[None], align_corners=True)[0, 0]


class Remainder:
    """A CT that bodies are cut out of, one after the other."""

    def __init__(self, ct: AttenuationVolume, energy_kev: float) -> None:
        """Copy the CT's attenuation; raises ConfigError outside 30 to 150 keV."""
        self._ct, self._mu = ct, ct.mu.clone()
        self._soft = soft_tissue_attenuation(energy_kev)

    def cut(self, coverage: Coverage) -> Float32[Tensor, 'K J I']:
        """Take out what is denser than soft tissue, and return that; bodies share no voxel."""
        block = self._mu[coverage.block]
        excess = (block - self._soft).clamp(min=0) * coverage.share
        block -= excess
        return excess

    def part(
        self, excess: Float32[Tensor, 'K J I'], start: tuple[int, int, int]
    ) -> AttenuationVolume:
        """Return a block of voxels that begins at (k, j, i) as volume in CT coordinates."""
        affine = self._ct.ct_from_index.clone()
        affine[:3, 3] += affine[:3, :3] @ torch.tensor(start[::-1], dtype=torch.float64)
        return AttenuationVolume(excess, affine)

    @property
    def volume(self) -> AttenuationVolume:
        """Return the CT without what was cut out."""
        return replace(self._ct, voxels=stored(self._mu))
