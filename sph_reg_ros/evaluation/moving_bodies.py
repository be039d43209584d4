"""A CT whose bodies have moved, for simulated X-rays."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.imaging.attenuation import hounsfield_from_attenuation
from sph_reg_ros.imaging.bodies.body import Bodies, Body
from sph_reg_ros.imaging.ct.volume import CT

PERIOD = 7
"""Images after which a motion comes again."""


@dataclass(frozen=True)
class BodyMotion:
    """Bodies that swing to and fro from image to image, each within its prior against its parent.

    Attributes:
        ct: where nothing has moved.
        bodies: of it, with the rest; at the energy of `energy_kev`.
        energy_kev: that their attenuation is of.
        seed: of directions and phases.
    """

    ct: CT
    bodies: Bodies
    energy_kev: float = 60.0
    seed: int = 0

    def moved_from_rest(self, index: int) -> dict[str, Float64[Tensor, '4 4']]:
        """Return by name where each body's points of the CT are in an image, CT coordinates."""
        generator = np.random.default_rng(self.seed)
        moved: dict[str, Float64[Tensor, '4 4']] = {}
        for body in self.bodies:
            turn, shift, phase = (
                generator.normal(size=3),
                generator.normal(size=3),
                generator.random(),
            )
            swing = math.sin(2 * math.pi * (index / PERIOD + phase))
            rotation = so3.exp(_scaled(turn, swing * body.prior.rotation_rad))
            pivot = _pivot_in_ct(body)
            own = se3.from_parts(
                rotation,
                pivot - rotation @ pivot + _scaled(shift, swing * body.prior.translation_mm),
            )
            moved[body.name] = moved[body.parent] @ own if body.parent else own
        return moved

    def moved_ct(self, index: int) -> CT:
        """Return the CT with the bodies where they are in an image.

        What a body attenuates is interpolated linearly on the CT's grid: that of a mesh, too, which
        the CT shows as coarsely as its voxels are.
        """
        return moved_ct(self.ct, self.bodies, self.moved_from_rest(index), self.energy_kev)


def moved_ct(
    ct: CT,
    bodies: Bodies,
    moved_from_rest: dict[str, Float64[Tensor, '4 4']],
    energy_kev: float = 60.0,
) -> CT:
    """Return a CT with bodies elsewhere; see `BodyMotion`.

    Args:
        ct: where nothing has moved.
        bodies: of it, with the rest.
        moved_from_rest: by name; maps a point of the CT to where it is.
        energy_kev: that the bodies' attenuation is of.
    """
    assert bodies.rest is not None, 'bodies of a CT have a rest'
    mu = bodies.rest.mu.clone()
    for body in bodies:
        _add(mu, ct, body, moved_from_rest[body.name] @ body.ct_from_body)
    return replace(ct, hounsfield=hounsfield_from_attenuation(mu.numpy(), energy_kev))


def _add(
    mu: Float32[Tensor, 'K J I'], ct: CT, body: Body, ct_from_body: Float64[Tensor, '4 4']
) -> None:
    """Add a body's attenuation at a pose to the voxels of a CT."""
    coarse = body.volume.coarsened(min(ct.spacing_mm))
    index_from_ct = torch.linalg.inv(torch.from_numpy(ct.ct_from_index))
    places = se3.transform_points(index_from_ct @ ct_from_body, coarse.corners)
    size = torch.tensor(mu.shape[::-1])
    first = places.min(0).values.floor().long().clamp(min=0)
    last = (places.max(0).values.ceil().long() + 1).minimum(size)
    if bool((last <= first).any()):
        return
    axes = [
        torch.arange(int(a), int(b), dtype=torch.float64) for a, b in zip(first, last, strict=True)
    ]
    k, j, i = torch.meshgrid(axes[2], axes[1], axes[0], indexing='ij')
    body_index_from_index = torch.linalg.inv(index_from_ct @ ct_from_body @ coarse.ct_from_index)
    index = torch.stack([i, j, k], -1) @ body_index_from_index[:3, :3].T
    index = index + body_index_from_index[:3, 3] + 1
    padded = coarse.zero_padded
    sizes = torch.tensor(padded.shape[::-1], dtype=torch.float64)
    grid = (2 * index / (sizes - 1) - 1).float()
    added = torch.nn.functional.grid_sample(padded[None, None], grid[None], align_corners=True)
    (i0, j0, k0), (i1, j1, k1) = first.tolist(), last.tolist()
    mu[k0:k1, j0:j1, i0:i1] += added[0, 0]


def _pivot_in_ct(body: Body) -> Float64[Tensor, '3']:
    pivot = body.volume.centre
    if body.prior.pivot_mm is not None:
        pivot = torch.tensor(body.prior.pivot_mm, dtype=torch.float64)
    return se3.transform_points(body.ct_from_body, pivot[None])[0]


def _scaled(direction: Float64[np.ndarray, '3'], length: float) -> Float64[Tensor, '3']:
    return torch.from_numpy(direction * (length / np.linalg.norm(direction)))
