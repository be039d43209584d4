"""X-rays of a phantom, starts beside the truth, and how near a registration has to come."""

import math

import torch

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.rendering.render import render

CAMERA = Camera.from_geometry(1000.0, (1.5, 1.5), (96, 96), principal_point=(45.0, 52.0))
# A small smooth phantom has no edges that would tell a drift of the intensities from its shape, and
# tells depth to a few millimetres only.
CONFIG = RegistrationConfig(levels=(24, 48, 96), similarity='ncc', max_tre_mm=6.0)
IN_PLANE_MM, DEPTH_MM, ROTATION_DEG = 0.1, 1.5, 0.3
NOISE = 0.01


def xray(volume, camera_from_ct, camera=CAMERA, noise=NOISE, seed=0) -> torch.Tensor:
    """Render with the reference at a fine step, in double precision, and add noise."""
    image = render(volume, camera_from_ct, camera.K, camera.size, backend='torch', step_mm=0.7)
    generator = torch.Generator().manual_seed(seed)
    return (image + noise * image.max() * torch.randn(image.shape, generator=generator)).float()


def moved(volume, pose, seed, degrees=5.0, millimetres=10.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    twist = torch.randn(6, dtype=torch.float64, generator=generator)
    twist[:3] *= math.radians(degrees) / twist[:3].norm()
    twist[3:] *= millimetres / twist[3:].norm()
    return se3.apply_twist(twist, pose, volume.centre)


def errors(volume, found, truth) -> tuple[float, float, float]:
    """Return in-plane mm, depth mm and degrees, at the volume's centre."""
    shift = (
        se3.transform_points(found, volume.centre[None])
        - se3.transform_points(truth, volume.centre[None])
    )[0]
    turn = se3.log(found @ se3.inverse(truth))[:3].norm()
    return float(shift[:2].norm()), float(shift[2].abs()), math.degrees(float(turn))


def assert_near(volume, found, truth):
    """Where a phantom's edges tell less than its smooth parts, or fewer pixels are looked at."""
    in_plane, depth, degrees = errors(volume, found, truth)
    assert in_plane < 0.3 and depth < 3.0 and degrees < 0.5


def assert_close(volume, found, truth):
    in_plane, depth, degrees = errors(volume, found, truth)
    assert in_plane < IN_PLANE_MM and depth < DEPTH_MM and degrees < ROTATION_DEG
