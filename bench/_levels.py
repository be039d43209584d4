"""X-rays at a coarser resolution, for the baselines."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sph_reg_ros.geometry import Camera
from sph_reg_ros.registration.view import View, shrink


@dataclass(frozen=True)
class Level:
    """One X-ray at one resolution: line integrals and mask [H, W], camera."""

    image: Tensor
    mask: Tensor
    camera: Camera


def level_of(view: View, height: int) -> Level:
    """Return a view averaged over blocks of pixels, without those that are masked."""
    small = shrink(view, height)
    everything = torch.ones(small.camera.size, dtype=torch.bool)
    mask = everything if small.mask is None else small.mask
    return Level(small.line_integrals, mask, small.camera)


def masked_ncc(images: Tensor, level: Level) -> Tensor:
    """Return the normalised cross-correlation of renderings [..., H, W] with the X-ray."""
    fixed, moving = level.image[level.mask], images[..., level.mask]
    fixed = (fixed - fixed.mean()) / (fixed.std(correction=0) + 1e-6)
    centred = moving - moving.mean(-1, keepdim=True)
    return (centred * fixed).mean(-1) / (centred.std(-1, correction=0) + 1e-6)
