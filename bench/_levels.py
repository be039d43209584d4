"""X-ray and CT at a coarser resolution, for the baselines."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.request import View


@dataclass(frozen=True)
class Level:
    """One X-ray at one resolution: line integrals and mask [H, W], camera."""

    image: Tensor
    mask: Tensor
    camera: Camera


def level_of(view: View, height: int) -> Level:
    """Return a view averaged over blocks of pixels, without those that are masked."""
    usable = torch.ones_like(view.line_integrals) if view.mask is None else view.mask.float()
    size = (height, round(height * view.camera.width / view.camera.height))
    weight, total = (
        functional.interpolate(image[None, None], size, mode='area')[0, 0]
        for image in (usable, usable * view.line_integrals)
    )
    return Level(total / weight.clamp(min=1e-6), weight > 0.5, view.camera.rescale(*size))


def coarse_volume(volume: AttenuationVolume, pixel_mm: float) -> AttenuationVolume:
    """Return the CT averaged to voxels of about a pixel's size at the anatomy."""
    i, j, k = (max(1, int(pixel_mm / spacing)) for spacing in volume.spacing_mm)
    return volume.downsampled((i, j, k))


def masked_ncc(images: Tensor, level: Level) -> Tensor:
    """Return the normalised cross-correlation of renderings [..., H, W] with the X-ray."""
    fixed, moving = level.image[level.mask], images[..., level.mask]
    fixed = (fixed - fixed.mean()) / (fixed.std(correction=0) + 1e-6)
    centred = moving - moving.mean(-1, keepdim=True)
    return (centred * fixed).mean(-1) / (centred.std(-1, correction=0) + 1e-6)
