"""Exact path integrals through a voxel grid with DiffDRR's Siddon renderer.

The solver never uses this renderer, so an X-ray made here is no inverse crime: Siddon sums
piecewise constant voxels over exact intersection lengths (Siddon, Med. Phys. 12(2), 1985; the code
is `diffdrr.renderers.Siddon`), the registration samples a trilinear field.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

TILE_PX = 32
# A ray that only grazes the box adds less than this times the attenuation; dividing by it is safe.
MIN_CHORD_MM = 1e-3


@dataclass(frozen=True)
class _Rays:
    """Rays of one tile in voxel coordinates, clipped to the volume's box; [rows, columns, ...]."""

    entry: Float64[Tensor, 'h w 3']
    exit: Float64[Tensor, 'h w 3']
    chord_mm: Float64[Tensor, 'h w']


def signed_path_integrals(
    volume: Float32[Tensor, 'K J I'],
    camera_from_index: Float64[Tensor, '4 4'],
    K: Float64[Tensor, '3 3'],
    size: tuple[int, int],
    observer: Callable[[], None] | None = None,
) -> tuple[Float32[Tensor, 'H W'], Float32[Tensor, 'H W']]:
    """Integrate the positive and the negative voxels along the ray of every pixel, in one pass.

    Two materials that exclude each other can thus share a volume: one positive, one negative.

    Args:
        volume: voxel values, centres at integer indices (i, j, k).
        camera_from_index: maps (i, j, k, 1) to camera coordinates in mm (an affine, not rigid).
        K: intrinsics in pixels, pixel centres at integers.
        size: (height, width) of the image in pixels.
        observer: called every few milliseconds of work; raise CancelledError in it to stop.

    Returns:
        Integral ds of max(value, 0) and of max(-value, 0): value times mm.
    """
    height, width = size
    image = torch.zeros(2, height, width)
    for rows, columns in _tiles(height, width):
        if observer is not None:
            observer()
        rays = _clip_rays(volume, camera_from_index, K, rows, columns)
        if bool((rays.chord_mm > MIN_CHORD_MM).any()):
            image[:, rows, columns] = _integrate_tile(volume, rays)
    return image[0], image[1]


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            yield (
                slice(top, min(top + TILE_PX, height)),
                slice(left, min(left + TILE_PX, width)),
            )


def _clip_rays(
    volume: Tensor, camera_from_index: Tensor, K: Tensor, rows: slice, columns: slice
) -> _Rays:
    v, u = torch.meshgrid(
        torch.arange(rows.start, rows.stop, dtype=torch.float64),
        torch.arange(columns.start, columns.stop, dtype=torch.float64),
        indexing='ij',
    )
    direction_mm = torch.stack([u, v, torch.ones_like(u)], dim=-1) @ torch.linalg.inv(K).T
    index_from_camera = torch.linalg.inv(camera_from_index)
    source = index_from_camera[:3, 3]
    direction = direction_mm @ index_from_camera[:3, :3].T
    # A coordinate that never changes must not divide 0 by 0.
    direction = torch.where(direction.abs() < 1e-12, 1e-12, direction)
    upper = torch.tensor(volume.shape[::-1], dtype=torch.float64) - 0.5
    at_lower, at_upper = (-0.5 - source) / direction, (upper - source) / direction
    near = torch.minimum(at_lower, at_upper).amax(dim=-1).clamp(min=0.0)
    far = torch.maximum(at_lower, at_upper).amin(dim=-1)
    depth = (far - near).clamp(min=0.0)
    entry = source + near[..., None] * direction
    return _Rays(entry, entry + depth[..., None] * direction, depth * direction_mm.norm(dim=-1))


def _integrate_tile(volume: Tensor, rays: _Rays) -> Tensor:
    from diffdrr.renderers import Siddon  # a heavy import that only simulations need

    hit = rays.chord_mm > MIN_CHORD_MM
    box, first = _crop_to_rays(volume, rays, hit)
    # A miss becomes a harmless diagonal of length 0.
    entry = torch.where(hit[..., None], rays.entry - first, -1.0)
    leave = torch.where(hit[..., None], rays.exit - first, -2.0)
    chord_mm = torch.where(hit, rays.chord_mm, 0.0)
    siddon = Siddon(voxel_shift=0.5, reducefn=_split_by_sign)
    with torch.inference_mode():
        # Batches of rows, because torch's 3D grid_sample runs one thread a batch entry.
        split = siddon(
            box.permute(2, 1, 0), entry.float(), leave.float(), chord_mm.float()[:, None]
        )
    return split[:, 0].permute(1, 0, 2)


def _crop_to_rays(volume: Tensor, rays: _Rays, hit: Tensor) -> tuple[Tensor, Tensor]:
    """Cut out what the tile's rays cross: planes that no ray meets only cost time."""
    ends = torch.cat([rays.entry[hit], rays.exit[hit]])
    first = (torch.floor(ends.amin(dim=0) + 0.5) - 1).clamp(min=0).long()
    last = (torch.floor(ends.amax(dim=0) + 0.5) + 1).long()
    (i0, j0, k0), (i1, j1, k1) = first.tolist(), last.tolist()
    return volume[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1], first


def _split_by_sign(weighted: Tensor) -> Tensor:
    """Sum positive and negative samples of every ray: [B, n, samples] to [B, 2, n]."""
    return torch.stack(
        [weighted.clamp(min=0).sum(dim=-1), (-weighted).clamp(min=0).sum(dim=-1)], dim=1
    )
