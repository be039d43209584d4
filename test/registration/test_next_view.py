"""Where a pose is too uncertain, the result names the X-ray that would help most."""

import math
from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, xray

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View

STRICT = replace(CONFIG, max_tre_mm=0.2, starts=0)
"""No bound is as small."""


@pytest.fixture(scope='module')
def request_of_one():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    view = View(xray(volume, truth), CAMERA, None, se3.inverse(truth))
    return RegistrationRequest(volume, (view,), truth, STRICT)


@pytest.fixture(scope='module')
def of_one(request_of_one):
    result = register(request_of_one)
    assert result.verdict == Verdict.UNVERIFIED and result.next_view is not None
    return result


def test_an_xray_from_the_side_is_asked_for_and_would_shrink_the_bound(of_one):
    asked = of_one.next_view
    assert 45 < math.degrees(asked.turned_rad) < 135
    assert asked.bound.along_mm < 0.5 * of_one.verification.bound.along_mm
    assert asked.angles in str(asked)


def test_the_xray_that_is_asked_for_brings_about_the_bound_that_was_said(request_of_one, of_one):
    volume, asked = request_of_one.volume, of_one.next_view
    there = camera_from_ct_for_angles(asked.primary_rad, asked.secondary_rad, 700.0, volume.centre)
    second = View(xray(volume, there, seed=1), CAMERA, None, se3.inverse(there))
    both = register(replace(request_of_one, views=(*request_of_one.views, second)))
    assert both.verification.bound.total_mm == pytest.approx(asked.bound.total_mm, rel=0.6)


def test_what_the_imager_cannot_reach_is_not_asked_for(request_of_one):
    config = replace(STRICT, max_primary_deg=20.0, max_secondary_deg=5.0)
    asked = register(replace(request_of_one, config=config)).next_view
    if asked is not None:
        assert abs(math.degrees(asked.primary_rad)) <= 20 + 1e-6
        assert abs(math.degrees(asked.secondary_rad)) <= 5 + 1e-6


def test_nothing_is_asked_for_where_the_pose_is_certain_enough_or_wrong(request_of_one):
    sure = register(replace(request_of_one, config=replace(STRICT, max_tre_mm=20.0)))
    assert sure.verdict == Verdict.VERIFIED and sure.next_view is None
    noise = torch.rand(CAMERA.size, generator=torch.Generator().manual_seed(0))
    wrong = register(replace(request_of_one, views=(View(noise, CAMERA),)))
    assert wrong.verdict == Verdict.REJECTED and wrong.next_view is None
