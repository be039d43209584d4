"""Negatives are told by the CT, view by view, with and without air in the image."""

import math
from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, errors, moved, xray

from sph_reg_ros.errors import CancelledError, ErrorCode, ImageError, SolverError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.xray.intensity import IntensityModel
from sph_reg_ros.registration.negatives import POLARITY_OPEN
from sph_reg_ros.registration.polarity import NEGATIVE, inverted_views
from sph_reg_ros.registration.prepared_view import ViewMaker
from sph_reg_ros.registration.reasons import InputDoubt
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict

VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)
NEAR = replace(
    CONFIG, search_rotation_rad=0.05, search_in_plane_mm=5.0, search_depth_mm=10.0, starts=1
)
INNER = CAMERA.crop(30, 26, 40, 40)


def shown(camera, *, inverted, pose=TRUTH, log=False):
    """An X-ray as it is stored: counts or, as displays show them, their logarithm in 8 bit."""
    integrals = xray(VOLUME, pose, camera, noise=0.005)
    counts = torch.exp(-integrals / integrals.max() * 3)
    if log:
        counts = (255 * (1 + torch.log(counts) / 3.3)).clamp(0, 255).round()
    return (counts.max() - counts) if inverted else counts


def request_of(*pixels, camera=CAMERA, given=False, bright_air=True, places=(None,)):
    model = IntensityModel(bright_air=bright_air)
    make_view = ViewMaker(model, polarity_given=given, mask_collimator=False)
    views = tuple(
        make_view(image, camera, fixed_from_camera=place)
        for image, place in zip(pixels, places, strict=True)
    )
    return RegistrationRequest(VOLUME, views, moved(VOLUME, TRUTH, 0, 3.0, 5.0), NEAR)


def inverted(request):
    return inverted_views(request, request.start[None], 'numba', lambda level: None)


@pytest.mark.parametrize('log', [False, True])
@pytest.mark.parametrize('camera', [CAMERA, INNER])
@pytest.mark.parametrize('is_negative', [False, True])
def test_the_ct_tells_a_negative_with_air_in_view_or_without(camera, is_negative, log):
    image = shown(camera, inverted=is_negative, log=log)
    request = request_of(image, camera=camera)
    assert inverted(request) == (is_negative,)
    taken_wrongly = request_of(image, camera=camera, bright_air=False)
    assert inverted(taken_wrongly) == (not is_negative,)


def test_line_integrals_of_the_wrong_sign_are_negatives_too():
    integrals = xray(VOLUME, TRUTH)
    make_view = ViewMaker(IntensityModel('line_integral'), mask_collimator=False)
    for image, is_negative in ((integrals, False), (-integrals, True)):
        request = replace(request_of(integrals), views=(make_view(image, CAMERA),))
        assert inverted(request) == (is_negative,)


def test_of_two_views_the_one_that_is_a_negative_is_found():
    quarter_turn = se3.exp(torch.tensor([0.0, math.pi / 2, 0, 0, 0, 0], dtype=torch.float64))
    other = se3.apply_twist(se3.log(quarter_turn), TRUTH, VOLUME.centre)
    pixels = shown(CAMERA, inverted=False), shown(CAMERA, inverted=True, pose=other)
    places = tuple(se3.inverse(pose) for pose in (TRUTH, other))
    request = request_of(*pixels, places=places)
    assert inverted(request) == (False, True)


def test_a_negative_is_registered_as_one_and_says_so():
    result = register(request_of(shown(CAMERA, inverted=True)))
    in_plane_mm, _, _ = errors(VOLUME, result.camera_from_ct[0], TRUTH)
    assert in_plane_mm < 1.0 and NEGATIVE in result.warnings and result.doubts == ()
    assert 'as it was taken first' in result.timings_s


def test_a_polarity_that_was_given_stays_and_is_the_reason_of_the_failure():
    result = register(request_of(shown(CAMERA, inverted=True), given=True))
    assert result.verdict != Verdict.VERIFIED and NEGATIVE not in result.warnings
    assert result.doubts == (InputDoubt.INVERTED_IMAGE,)
    assert 'inverted' in result.finding.explanation.reason


def test_what_is_verified_as_it_was_taken_is_not_doubted():
    result = register(request_of(shown(CAMERA, inverted=False)))
    assert result.verdict == Verdict.VERIFIED and NEGATIVE not in result.warnings


@pytest.mark.parametrize('code', [ErrorCode.TIMEOUT, ErrorCode.CANCELLED])
def test_a_pose_that_was_checked_survives_if_there_is_no_time_to_try_the_negative(code):
    def stop_at_the_negative(progress):
        if progress.stage.startswith('polarity'):
            raise CancelledError(code)

    asked = request_of(shown(CAMERA, inverted=True))
    if code == ErrorCode.CANCELLED:
        with pytest.raises(CancelledError):
            register(asked, stop_at_the_negative)
        return
    result = register(asked, stop_at_the_negative)
    assert result.verdict != Verdict.VERIFIED and result.warnings[-1] == POLARITY_OPEN
    assert result.finding is not None


def test_a_polarity_that_was_given_is_not_overruled_where_the_solver_fails(monkeypatch):
    def fail(*_):
        raise SolverError(ErrorCode.NUMERICAL, 'degenerate')

    asked = request_of(shown(CAMERA, inverted=True), given=True)
    monkeypatch.setattr('sph_reg_ros.registration.register.by_networks_or_search', fail)
    with pytest.raises(SolverError, match='degenerate; .*inverted'):
        register(asked)


def test_an_xray_whose_negative_is_no_usable_image_is_not_looked_at_as_one():
    def unusable():
        raise ImageError(ErrorCode.IMAGE_CONTENT, 'only 3 pixels are usable')

    asked = request_of(shown(CAMERA, inverted=False))
    view = replace(asked.views[0], negative=unusable)
    assert inverted(replace(asked, views=(view,))) == (False,)
