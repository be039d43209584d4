"""What one view does not know: the distance along its beam; and how a second one tells it."""

import math

import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, assert_close, moved, xray
from reliability import record, repetitions

from sph_reg_ros.geometry import se3
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult
from sph_reg_ros.registration.view import View

VOLUME = smooth_phantom()
ANGLES_DEG = 60.0, 75.0, 90.0
LEAST_OF_ONE_VIEW, MOST_OF_TWO = 3.0, 2.0


def test_one_view_hardly_knows_its_depth_and_a_second_across_tells_it():
    ones, twos = [], []
    for seed in range(repetitions(2, 20)):
        first, axis = pose_from_any_side(seed)
        start, view = moved(VOLUME, first, seed), seen(first, 10 * seed)
        one = register(RegistrationRequest(VOLUME, (view,), start, CONFIG))
        ones += depth_in_lateral_sigmas(one)
        for number, angle in enumerate(ANGLES_DEG, 1):
            second = seen(turned(first, axis, math.radians(angle)), 10 * seed + number)
            two = register(RegistrationRequest(VOLUME, (view, second), start, CONFIG))
            assert_close(VOLUME, two.camera_from_ct[0], first)
            twos += depth_in_lateral_sigmas(two)
            assert two.covariance[5, 5] < one.covariance[5, 5]
    assert min(ones) >= LEAST_OF_ONE_VIEW
    assert max(twos) < MOST_OF_TWO
    record(
        'P11',
        f'sigma along the beam / across it: {min(ones):.1f} or more with one view, '
        f'{max(twos):.1f} or less with a second one at 60 to 90 degrees ({len(twos) // 2} pairs)',
    )


def pose_from_any_side(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a pose, and an axis across its beam."""
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.randn(3, generator=generator, dtype=torch.float64)
    direction = 2 * math.pi * float(torch.rand(1, generator=generator))
    axis = torch.tensor([math.cos(direction), math.sin(direction), 0.0], dtype=torch.float64)
    return pose_in_front(VOLUME, rotation=tuple(rotation.tolist())), axis


def turned(pose: torch.Tensor, axis: torch.Tensor, angle: float) -> torch.Tensor:
    """Turn the CT about its centre."""
    return se3.apply_twist(torch.cat([angle * axis, torch.zeros(3)]), pose, VOLUME.centre)


def seen(pose: torch.Tensor, seed: int) -> View:
    """Return an X-ray of the phantom; the fixed frame is the CT's."""
    return View(xray(VOLUME, pose, seed=seed), CAMERA, fixed_from_camera=se3.inverse(pose))


def depth_in_lateral_sigmas(result: RegistrationResult) -> tuple[float, float]:
    """Return along the beam / rms of both axes across: of the centre, of the region of interest."""
    x, y, z = result.covariance.diagonal()[3:].sqrt().tolist()
    figures = {check.name: check.value for check in result.checks}
    across, along = figures['sigma_across_beam_mm'], figures['sigma_along_beam_mm']
    return z / math.hypot(x, y) * math.sqrt(2), along / across * math.sqrt(2)
