"""The gate on a registration with a prior: the X-rays alone have to confirm the pose."""

from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, xray

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.part import register_part
from sph_reg_ros.registration.part_search import PartSearch
from sph_reg_ros.registration.prior import PosePrior
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.view import View

VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)
DEVIATIONS = torch.tensor([0.1, 0.1, 0.1, 5.0, 5.0, 6.0], dtype=torch.float64)
CONFIG = RegistrationConfig(
    levels=(24, 48, 96),
    similarity='ncc',
    starts=0,
    search_rotation_rad=0.1,
    search_in_plane_mm=5.0,
    search_depth_mm=6.0,
)
PULLING = 0.2
"""Weight of a prior that moves the pose by millimetres."""


def deeper(depth_mm: float) -> torch.Tensor:
    twist = torch.tensor([0.0, 0, 0, 0, 0, depth_mm], dtype=torch.float64)
    return se3.apply_twist(twist, TRUTH, VOLUME.centre)


def request_of(depth_mm: float, **settings: object) -> RegistrationRequest:
    view, start = View(xray(VOLUME, TRUTH, noise=0.003), CAMERA), deeper(depth_mm)
    return RegistrationRequest(VOLUME, (view,), start, replace(CONFIG, **settings))


def error_mm(result: RegistrationResult) -> float:
    return float(mean_distance_mm(result.camera_from_ct[0], TRUTH, target_points(VOLUME)))


@pytest.mark.parametrize('similarity', ['ncc', 'gradient_ncc'])
@pytest.mark.parametrize('kernel', ['none', 'huber'])
def test_a_pose_that_a_wrong_prior_holds_in_place_is_not_verified(similarity, kernel):
    request = request_of(6.0, similarity=similarity, robust_kernel=kernel)
    prior = PosePrior(request.start, DEVIATIONS, PULLING)
    result = register(replace(request, prior=prior))
    assert error_mm(result) > 3.0 and result.verdict != Verdict.VERIFIED
    checks = {check.name: check for check in result.checks}
    assert not checks['remaining_step_mm'].passed


def test_a_prior_makes_the_pose_no_surer():
    request = request_of(0.0)
    prior = PosePrior(TRUTH, DEVIATIONS, PULLING)
    alone, helped = register(request), register(replace(request, prior=prior))
    assert (helped.covariance.diagonal() > 0.7 * alone.covariance.diagonal()).all()


def test_a_part_whose_depth_only_the_wrong_initial_pose_tells_is_not_verified():
    search = PartSearch(margin_mm=12.0, samples=40, refined=3, survivors=2)
    result = register_part(request_of(9.0, levels=(32, 64, 96)), search)
    assert error_mm(result) > 3.0 and result.verdict != Verdict.VERIFIED
