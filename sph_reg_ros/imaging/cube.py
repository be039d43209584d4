"""A CT as a network takes it: a cube of LPS axes about its middle, the same size for all CTs."""

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from sph_reg_ros.imaging.attenuation import AttenuationVolume

CUBE_MM = 400.0
"""Edge of the cube, which holds a chest or a pelvis; what is outside is cut off."""


def cube_of(
    volume: AttenuationVolume, voxels: int, edge_mm: float = CUBE_MM
) -> Float32[Tensor, 'D D D']:
    """Return attenuation (1/mm) at the middles of D^3 voxels, axes S, P and L; air outside the CT.

    Interpolated from the CT averaged to voxels of about that size, on the CT's device.

    Args:
        volume: the CT.
        voxels: D.
        edge_mm: edge of the cube.
    """
    voxel_mm = edge_mm / voxels
    i, j, k = (max(1, int(voxel_mm / spacing)) for spacing in volume.spacing_mm)
    coarse = volume.downsampled((i, j, k))
    # Both ends of an axis of `grid_sample` are the middles of the outermost voxels.
    sizes = torch.tensor(coarse.zero_padded.shape[::-1], dtype=torch.float64)
    index = _indices(volume, coarse, voxels, voxel_mm) + 1
    grid = (2 * index / (sizes - 1) - 1).to(coarse.mu)
    sampled = torch.nn.functional.grid_sample(
        coarse.zero_padded[None, None], grid[None], align_corners=True
    )
    return sampled[0, 0]


def _indices(
    volume: AttenuationVolume, coarse: AttenuationVolume, voxels: int, voxel_mm: float
) -> Float[Tensor, 'D D D 3']:
    """Return where the cube's voxels lie in the coarse CT, as (i, j, k)."""
    steps = (torch.arange(voxels, dtype=torch.float64) - (voxels - 1) / 2) * voxel_mm
    z, y, x = torch.meshgrid(steps, steps, steps, indexing='ij')
    points = torch.stack([x, y, z], -1) + volume.centre
    index_from_ct = torch.linalg.inv(coarse.ct_from_index)
    return points @ index_from_ct[:3, :3].T + index_from_ct[:3, 3]
