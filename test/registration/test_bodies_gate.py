"""One view of metal: where it is across the beam is known, how far away it is is not."""

import math
from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.registration.bodies_gate import judge_outline
from sph_reg_ros.registration.calibration import CALIBRATIONS
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.error_parts import ErrorParts, VerdictFor
from sph_reg_ros.registration.gate.bound import imager_error
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.outline_fit import OutlineEvidence
from sph_reg_ros.registration.outline_search import OutlineFit
from sph_reg_ros.registration.result import Verdict, Verification
from sph_reg_ros.registration.view import View

VOLUME = smooth_phantom()
POSE = pose_in_front(VOLUME)
VIEW = View(torch.eye(*CAMERA.size), CAMERA)
NOTHING = ErrorParts.all_of(0.0)


def errors(covariance: torch.Tensor) -> TargetErrors:
    return TargetErrors.seen_by([VIEW], POSE, covariance, VOLUME.centre, target_points(VOLUME))


def judged(config: RegistrationConfig, *, across_mm: float, along_mm: float) -> Verification:
    beam = errors(torch.eye(6).double()).along
    covariance = 1e-8 * torch.eye(6, dtype=torch.float64)
    covariance[3:, 3:] += across_mm**2 * torch.eye(3) + along_mm**2 * torch.outer(beam, beam)
    evidence = OutlineEvidence(covariance, (0.9,), (1.0,), (0.2,))
    fit = OutlineFit(POSE, evidence, 0.9, 0.5, 20.0)
    return judge_outline(fit, errors(covariance), None, NOTHING, config)


def test_metal_of_unknown_depth_is_verified_for_across_if_that_is_asked_and_not_before():
    whole = judged(RegistrationConfig(), across_mm=0.2, along_mm=6.0)
    assert whole.verdict == Verdict.UNVERIFIED
    assert whole.reasons == (ErrorCode.POSE_UNCERTAIN,)
    across = judged(RegistrationConfig(max_tre_across_mm=2.0), across_mm=0.2, along_mm=6.0)
    assert across.verdict == Verdict.VERIFIED and across.verdict_for == VerdictFor.ACROSS_BEAM
    assert across.bound.across_mm < 1.0 and across.bound.along_mm > 11.0
    assert '12.0 mm' in across.reservation


def test_metal_that_is_uncertain_across_is_not_verified_for_across():
    config = RegistrationConfig(max_tre_across_mm=2.0)
    unsure = judged(config, across_mm=1.5, along_mm=6.0)
    assert unsure.verdict == Verdict.UNVERIFIED and unsure.reservation == ''


def test_an_imager_known_by_its_data_sheet_leaves_the_depth_open_by_its_share_of_the_distance():
    at_pose = errors(torch.eye(6).double())
    distance_mm = float(se3.transform_points(POSE, target_points(VOLUME)).mean(0).norm())
    one = imager_error([VIEW], at_pose, CALIBRATIONS['nominal'])
    assert one.along_mm == pytest.approx(0.01 * distance_mm)
    share = CAMERA.height / CAMERA.focal_length
    assert one.across_mm == pytest.approx(math.sqrt(2) * 0.015 * share * distance_mm)
    assert imager_error([VIEW], at_pose, CALIBRATIONS['exact']) == NOTHING


def test_a_second_beam_from_the_side_tells_the_depth_whatever_the_focal_length():
    at_pose = errors(torch.eye(6).double())
    side = torch.eye(4, dtype=torch.float64)
    side[:3, :3] = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    views = [replace(VIEW, fixed_from_camera=place) for place in (torch.eye(4).double(), side)]
    trust = CALIBRATIONS['unknown'].but(-1, 0.001, -1, -1, -1)
    one, two = imager_error(views[:1], at_pose, trust), imager_error(views, at_pose, trust)
    assert two.along_mm < one.along_mm / 10 and two.across_mm == one.across_mm
