"""Other renderers, called as their own users would, on our rays."""

from collections.abc import Callable

import torch
from diffdrr.renderers import Siddon, Trilinear
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.sampling import unit_directions

Renderer = Callable[[Tensor], Tensor]
"""camera_from_ct [4, 4] to image [H, W]."""


def diffdrr_siddon(volume: AttenuationVolume, camera: Camera) -> Renderer:
    """Return DiffDRR's exact sum over piecewise constant voxels."""
    return _diffdrr(volume, camera, Siddon(voxel_shift=0.5), {})


def diffdrr_trilinear(volume: AttenuationVolume, camera: Camera, points: int) -> Renderer:
    """Return DiffDRR's trilinear sum with a number of points on each ray."""
    return _diffdrr(volume, camera, Trilinear(voxel_shift=0.5), {'n_points': points})


def _diffdrr(
    volume: AttenuationVolume, camera: Camera, renderer: torch.nn.Module, options: dict[str, int]
) -> Renderer:
    density = volume.mu.permute(2, 1, 0)
    index_from_ct = torch.linalg.inv(volume.ct_from_index)
    directions = unit_directions(camera.K, camera.size).reshape(-1, 3)

    def render(camera_from_ct: Tensor) -> Tensor:
        index_from_camera = index_from_ct @ se3.inverse(camera_from_ct)
        # Far enough to leave the volume; lengths on a ray are shares of this reach.
        reach = 2 * float(camera_from_ct[:3, 3].norm()) + 2000
        source = index_from_camera[:3, 3].float()
        target = se3.transform_points(index_from_camera, reach * directions).float()
        length = torch.full((1, 1, len(target)), reach)
        image = renderer(density, source.expand(1, len(target), 3), target[None], length, **options)
        return image.reshape(camera.size)

    return render
