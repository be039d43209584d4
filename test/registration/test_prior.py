"""Knowledge of a pose beside the X-rays, as residuals."""

from dataclasses import replace

import torch
from phantoms import pose_in_front, smooth_phantom

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.prior import PosePrior
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

VOLUME = smooth_phantom()
EXPECTED = pose_in_front(VOLUME)
DEVIATIONS = torch.tensor([0.1, 0.1, 0.2, 4.0, 5.0, 20.0], dtype=torch.float64)
PRIOR = PosePrior(EXPECTED, DEVIATIONS, 2e-3)


def moved(*twist: float) -> torch.Tensor:
    return se3.apply_twist(torch.tensor(twist, dtype=torch.float64), EXPECTED, VOLUME.centre)


def test_one_standard_deviation_along_each_axis_is_a_distance_of_one():
    for axis in range(6):
        twist = torch.zeros(6)
        twist[axis] = DEVIATIONS[axis]
        distance = PRIOR.squared_distance(moved(*twist.tolist()), VOLUME.centre)
        assert abs(distance - 1) < 1e-6
    assert PRIOR.squared_distance(EXPECTED, VOLUME.centre) == 0


def test_the_cost_is_the_weight_in_the_cost_units_of_every_view():
    pose = moved(0.05, -0.1, 0.02, 3.0, -1.0, 10.0)
    block = PRIOR.residuals(pose, VOLUME.centre, views=2)
    expected = 2 * 2 * PRIOR.weight * PRIOR.squared_distance(pose, VOLUME.centre)
    assert abs(float(block.residual.square().sum()) - expected) < 1e-12


def test_the_derivative_is_that_of_differences_far_from_the_expected_pose():
    pose, step = moved(0.4, -0.7, 0.3, 30.0, -10.0, 50.0), 1e-6
    block = PRIOR.residuals(pose, VOLUME.centre, views=1)
    for axis in range(6):
        twist = torch.zeros(6, dtype=torch.float64)
        twist[axis] = step * (1 if axis < 3 else TWIST_LENGTH_MM)
        ahead, behind = (
            PRIOR.residuals(se3.apply_twist(t, pose, VOLUME.centre), VOLUME.centre, 1).residual
            for t in (twist, -twist)
        )
        assert torch.allclose(block.jacobian[:, axis], (ahead - behind) / (2 * step), rtol=1e-6)


def test_a_firm_prior_holds_a_registration_and_a_loose_one_lets_the_image_decide():
    camera = Camera.from_geometry(1000.0, (4.0, 4.0), (48, 48))
    image = render(VOLUME, EXPECTED, camera.K, camera.size)
    start = moved(0.0, 0.0, 0.0, 6.0, 0.0, 0.0)
    config = RegistrationConfig(similarity='ncc', starts=0, levels=(48,))
    request = RegistrationRequest(VOLUME, (View(image, camera),), start, config)
    shifts = []
    for weight in (1e3, 1e-9):
        prior = PosePrior(start, DEVIATIONS, weight)
        found = register(replace(request, prior=prior)).camera_from_ct[0]
        centre = se3.transform_points(found, VOLUME.centre[None])[0]
        shifts.append(float((centre - se3.transform_points(start, VOLUME.centre[None])[0]).norm()))
    assert shifts[0] < 0.05 and abs(shifts[1] - 6) < 0.3
