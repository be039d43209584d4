"""Other renderers, called as their own users would, on our rays."""

import warnings
from collections.abc import Callable

import torch
from diffdrr.renderers import Siddon, Trilinear
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.sampling import unit_directions

Renderer = Callable[[Tensor], Tensor]
"""camera_from_ct [4, 4] to image [H, W]; torch can differentiate it."""

# Far enough from the source to leave any volume; nanodrr clips its rays, so that it costs nothing.
NANODRR_REACH_MM = 3000.0


def diffdrr_siddon(volume: AttenuationVolume, camera: Camera) -> Renderer:
    """Return DiffDRR's exact sum over piecewise constant voxels."""
    return _diffdrr(volume, camera, Siddon(voxel_shift=0.5), {})


def diffdrr_trilinear(volume: AttenuationVolume, camera: Camera, points: int) -> Renderer:
    """Return DiffDRR's trilinear sum with a number of points on each ray."""
    return _diffdrr(volume, camera, Trilinear(voxel_shift=0.5), {'n_points': points})


def nanodrr(
    volume: AttenuationVolume, camera: Camera, points: int, *, compiled: bool = False
) -> Renderer:
    """Return nanodrr's renderer: torch on the CPU, its Triton kernel on CUDA."""
    from nanodrr.drr import DRR

    device = volume.device
    half_pixel = torch.tensor([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], dtype=torch.float64)
    k_inv = torch.linalg.inv(half_pixel @ camera.K)[None].float().to(device)
    reach = torch.tensor([NANODRR_REACH_MM], device=device)
    module: Renderer = DRR(k_inv, reach, camera.height, camera.width)
    module = torch.compile(module) if compiled else module
    subject = nanodrr_subject(volume)

    def render(camera_from_ct: Tensor) -> Tensor:
        ct_from_camera = se3.inverse(camera_from_ct)[None].float().to(device)
        return module(subject, ct_from_camera, n_samples=points)[0, 0]

    return render


def nanodrr_subject(volume: AttenuationVolume) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torchio speaks of things to come
        from nanodrr.data import Subject

    mu = volume.mu[None, None]
    affine = volume.ct_from_index.float().to(mu.device)
    # The constructor that its `from_images` calls; attenuation is given instead of Hounsfield.
    return Subject(
        mu,
        torch.zeros_like(mu),
        affine,
        torch.linalg.inv(volume.ct_from_index).float().to(mu.device),
        Subject._make_voxel_to_grid(mu.shape).to(mu.device),
        volume.centre.float().to(mu.device),
        max_label=0,
        convert_to_mu=False,
    )


def _diffdrr(
    volume: AttenuationVolume, camera: Camera, renderer: torch.nn.Module, options: dict[str, int]
) -> Renderer:
    density = volume.mu.permute(2, 1, 0)
    index_from_ct = torch.linalg.inv(volume.ct_from_index)
    directions = unit_directions(camera.K, camera.size).reshape(-1, 3)

    def render(camera_from_ct: Tensor) -> Tensor:
        index_from_camera = index_from_ct @ se3.inverse(camera_from_ct)
        # Far enough to leave the volume; lengths on a ray are shares of this reach.
        reach = 2 * float(camera_from_ct[:3, 3].detach().norm()) + 2000
        source = index_from_camera[:3, 3].float().to(density.device)
        target = se3.transform_points(index_from_camera, reach * directions).float()
        target = target.to(density.device)
        length = torch.full((1, 1, len(target)), reach, device=density.device)
        image = renderer(density, source.expand(1, len(target), 3), target[None], length, **options)
        return image.reshape(camera.size)

    return render
