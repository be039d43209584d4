"""The gate on several views: each has to want the pose, and X-rays of one side count once."""

import math
from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, xray

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.covariance import views_alike
from sph_reg_ros.registration.error_parts import ErrorParts, VerdictFor
from sph_reg_ros.registration.gate.each_view import (
    OwnStep,
    check_views,
    unknown_to_views,
)
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.patches import compare_patches
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.view import View

VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)
NOISE = 0.003
RIGHT = (0.0,) * 6
CONFIG_HERE = replace(CONFIG, starts=0)
ACROSS_RAD = 1.2


def moved(twist: tuple[float, ...], pose: torch.Tensor = TRUTH) -> torch.Tensor:
    return se3.apply_twist(torch.tensor(twist, dtype=torch.float64), pose, VOLUME.centre)


def turned(angle: float) -> torch.Tensor:
    return moved((0.0, angle, 0.0, 0.0, 0.0, 0.0))


def seen(pose: torch.Tensor, seed: int, imager_error: tuple[float, ...] = RIGHT) -> View:
    """Return an X-ray taken at a pose, by an imager that says to be beside that."""
    image = xray(VOLUME, pose, noise=NOISE, seed=seed)
    return View(image, CAMERA, fixed_from_camera=se3.inverse(moved(imager_error, pose)))


def request_of(imager_error: tuple[float, ...]) -> RegistrationRequest:
    views = seen(TRUTH, 0), seen(turned(ACROSS_RAD), 1, imager_error)
    return RegistrationRequest(VOLUME, views, TRUTH, CONFIG_HERE)


def worst_error_mm(result: RegistrationResult) -> float:
    points = target_points(VOLUME)
    poses = zip(result.camera_from_ct, (TRUTH, turned(ACROSS_RAD)), strict=True)
    return max(float(mean_distance_mm(found, truth, points)) for found, truth in poses)


def figures(result: RegistrationResult) -> dict[str, float]:
    return {check.name: check.value for check in result.checks}


@pytest.mark.parametrize('similarity', ['ncc', 'gradient_ncc'])
def test_right_imager_poses_leave_the_pose_of_two_views_verified(similarity):
    request = request_of(RIGHT)
    result = register(replace(request, config=replace(CONFIG_HERE, similarity=similarity)))
    assert result.verdict == Verdict.VERIFIED and worst_error_mm(result) < 0.2
    assert figures(result)['views_disagree_mm'] < 0.4


@pytest.mark.parametrize(
    'imager_error',
    [
        (0.0, 0.0, 0.0, 4.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 8.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 15.0),
        (0.1, 0.0, 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_a_wrong_imager_pose_of_one_view_is_rejected_and_the_bound_covers_its_error(imager_error):
    result = register(request_of(imager_error))
    error_mm = worst_error_mm(result)
    assert error_mm > 3.0 and result.verdict == Verdict.REJECTED
    assert not {c.name: c.passed for c in result.checks}['views_disagree_mm']
    assert result.verification.tre_p95_mm > error_mm


def test_one_view_is_not_compared_with_itself():
    request = RegistrationRequest(VOLUME, (seen(TRUTH, 0),), TRUTH, CONFIG_HERE)
    assert 'views_disagree_mm' not in figures(register(request))
    assert check_views((), VerdictFor.POSE) is None


def test_a_step_that_is_no_number_does_not_hide_behind_another_view():
    steps = own_step(0.0, 0.1), own_step(math.nan, 0.1)
    check = check_views(steps, VerdictFor.POSE)
    assert check is not None and not check.passed
    assert math.isnan(unknown_to_views(steps).total_mm)


def test_what_a_view_wants_within_its_own_uncertainty_is_doubt_and_not_disagreement():
    steps = own_step(0.1, 0.1), own_step(3.0, 4.0)
    check = check_views(steps, VerdictFor.POSE)
    assert check is not None and check.passed and check.value == 0.0
    assert unknown_to_views(steps).total_mm == pytest.approx(5.0)


def test_a_view_that_disagrees_along_the_beam_only_does_not_matter_across():
    steps = [OwnStep(ErrorParts(9.0, 0.2, 9.0), ErrorParts.all_of(0.1))]
    along, across = check_views(steps, VerdictFor.POSE), check_views(steps, VerdictFor.ACROSS_BEAM)
    assert along is not None and across is not None
    assert not along.passed and across.passed


def own_step(size_mm: float, sigma_mm: float) -> OwnStep:
    return OwnStep(ErrorParts.all_of(size_mm), ErrorParts.all_of(sigma_mm))


def test_patches_of_a_good_view_do_not_outvote_those_of_one_that_lies_off():
    good, off = request_of(RIGHT), request_of((0.0, 0.0, 0.0, 0.0, 4.0, 0.0))
    agreements = []
    for request in (good, off):
        levels = [build_level(request, height, 'numba') for height in CONFIG_HERE.levels]
        evidence = Evidence.of_pose(levels, TRUTH, None, CONFIG_HERE)
        agreements.append(compare_patches(evidence))
    assert agreements[0].displacement_mm < 0.3
    assert agreements[1].displacement_mm > 1.5


def test_the_same_xray_again_makes_nothing_surer():
    results = []
    for count in (1, 2, 5):
        request = RegistrationRequest(VOLUME, (seen(TRUTH, 0),) * count, TRUTH, CONFIG_HERE)
        results.append(register(request))
    bounds = [result.verification.tre_p95_mm for result in results]
    assert min(bounds) > 0.95 * bounds[0]
    for result in results[1:]:
        assert torch.allclose(result.covariance, results[0].covariance, rtol=0.1)


def test_views_along_one_line_count_together_and_others_by_themselves():
    first = TRUTH
    angles = (0.0, math.radians(4.0), math.pi, 1.2)
    poses = [turned(angle) @ se3.inverse(first) for angle in angles]
    assert views_alike(poses) == [3, 3, 3, 1]
    assert views_alike(poses[:1]) == [1]
