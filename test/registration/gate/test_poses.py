"""The gate on a phantom: right poses pass, wrong ones do not, each for the reason that it has."""

import math
import re
from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, xray

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.error_parts import VerdictFor
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.mirror import mirrored_volume
from sph_reg_ros.registration.gate.rival_poses import check_rival
from sph_reg_ros.registration.gate.verify import verify
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.reasons import finding_of
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict, Verification
from sph_reg_ros.registration.view import View
from sph_reg_ros.solvers import TerminationReason

FINE = replace(CONFIG, max_tre_mm=6.0)
"""A small smooth phantom tells depth to a few millimetres only."""


def judged(
    twist=(0.0,) * 6, *, volume=None, camera=CAMERA, config=FINE, initial=None, noise=0.01
) -> Verification:
    """Judge the pose that lies beside the truth by a twist (rad, mm)."""
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    view = View(xray(phantom, truth, noise=noise), camera)
    volume = volume or phantom
    request = RegistrationRequest(volume, (view,), truth, config)
    levels = [build_level(request, height, 'numba') for height in config.levels]
    pose = se3.apply_twist(torch.tensor(twist, dtype=torch.float64), truth, phantom.centre)
    return verify(Evidence.of_pose(levels, pose, initial, config))


def failed(verification: Verification) -> dict[str, ErrorCode]:
    return {check.name: check.reason for check in verification.checks if not check.passed}


def test_the_true_pose_is_verified_and_its_bound_covers_no_error():
    verification = judged()
    assert verification.verdict == Verdict.VERIFIED and verification.reasons == ()
    assert 0 < verification.tre_rms_mm < verification.tre_p95_mm < 6.0


@pytest.mark.parametrize(
    'twist',
    [
        (0.0, 0.0, 0.0, 4.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, -8.0, 3.0),
        (0.0, 0.0, 0.06, 0.0, 0.0, 0.0),
        (0.05, -0.04, 0.0, 2.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 15.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, -15.0),
    ],
)
def test_a_pose_beside_the_true_one_is_rejected_by_several_checks(twist):
    verification = judged(twist)
    assert verification.verdict == Verdict.REJECTED
    assert {'remaining_step_mm', 'tre_p95_mm'} <= set(failed(verification))
    assert ErrorCode.POSE_UNCERTAIN in verification.reasons


@pytest.mark.parametrize('axis', range(3))
def test_a_half_turn_is_rejected_because_turning_back_looks_better(axis):
    turn = [0.0] * 6
    axes = pose_in_front(smooth_phantom())[:3, :3]
    turn[:3] = (math.pi * axes[:, axis]).tolist()
    assert failed(judged(tuple(turn)))['rival'] == ErrorCode.RIVAL_POSE


def test_a_mirrored_ct_is_rejected():
    phantom = smooth_phantom()
    mirrored = AttenuationVolume(phantom.mu.flip(2).contiguous(), phantom.ct_from_index)
    assert judged(volume=mirrored).verdict == Verdict.REJECTED


def nearly_symmetric(share: float) -> AttenuationVolume:
    """Return a phantom of which a share tells left from right."""
    phantom = smooth_phantom()
    mu = ((1 + share) * phantom.mu + (1 - share) * phantom.mu.flip(2)) / 2
    return AttenuationVolume(mu, phantom.ct_from_index)


def judged_of_another(ct: AttenuationVolume, patient: AttenuationVolume) -> Verification:
    truth = pose_in_front(patient)
    request = RegistrationRequest(ct, (View(xray(patient, truth), CAMERA),), truth, FINE)
    levels = [build_level(request, height, 'numba') for height in FINE.levels]
    pose = register(replace(request, config=replace(FINE, starts=0)), verified=False)
    return verify(Evidence.of_pose(levels, pose.camera_from_ct[0], None, FINE))


def test_anatomy_whose_sides_look_alike_leaves_doubt():
    ct = nearly_symmetric(0.0)
    (mirror,) = [check for check in judged_of_another(ct, ct).checks if check.name == 'mirror']
    assert (mirror.verdict, mirror.reason) == (Verdict.UNVERIFIED, ErrorCode.RIVAL_POSE)


def test_a_mirrored_ct_is_named_although_it_looks_nearly_right():
    patient = nearly_symmetric(0.25)
    right = judged_of_another(patient, patient)
    assert 'mirror' not in failed(right)
    wrong = judged_of_another(mirrored_volume(patient), patient)
    assert failed(wrong)['mirror'] == ErrorCode.RIVAL_POSE
    assert wrong.verdict == Verdict.REJECTED


def test_a_pose_that_the_initial_one_does_not_explain_is_rejected():
    away = pose_in_front(smooth_phantom()).clone()
    away[0, 3] += 8 * FINE.search_in_plane_mm
    assert failed(judged(initial=away)) == {'prior_distance': ErrorCode.FAR_FROM_PRIOR}


def test_a_pose_near_the_initial_one_is_not_blamed_for_it():
    near = pose_in_front(smooth_phantom()).clone()
    near[2, 3] += 2 * FINE.search_depth_mm
    checks = {check.name: check for check in judged(initial=near).checks}
    assert checks['prior_distance'].value == pytest.approx(4.0, rel=1e-6)
    assert checks['prior_distance'].passed


def test_where_no_start_leads_elsewhere_there_is_no_rival():
    check = check_rival(None)
    assert check.passed and check.name == 'rival'


def test_a_distance_that_no_imager_has_is_rejected():
    phantom = smooth_phantom()
    far = pose_in_front(phantom)
    away = 5000 / float(se3.transform_points(far, phantom.centre[None])[0, 2])
    far[2, 3] += 5000 * (1 - 1 / away)
    K = CAMERA.K.clone()
    K[:2, :2] *= away
    camera = Camera(K, *CAMERA.size)
    view = View(xray(phantom, far, camera), camera)
    levels = [build_level(RegistrationRequest(phantom, (view,), far, FINE), 64, 'numba')]
    reasons = failed(verify(Evidence.of_pose(levels, far, None, FINE)))
    assert reasons['camera_misfit'] == ErrorCode.CAMERA_INVALID


@pytest.mark.parametrize('ratio', [1.5, 1 / 1.5, 2.2])
def test_oblong_pixels_are_verified(ratio):
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    K = CAMERA.K.clone()
    K[0] *= ratio
    camera = Camera(K, CAMERA.height, round(CAMERA.width * ratio))
    view = View(xray(phantom, truth, camera, noise=0.01), camera)
    request = RegistrationRequest(phantom, (view,), truth, FINE)
    levels = [build_level(request, height, 'numba') for height in FINE.levels]
    assert verify(Evidence.of_pose(levels, truth, None, FINE)).verdict == Verdict.VERIFIED


def test_a_wrong_aspect_of_the_pixels_is_rejected():
    K = CAMERA.K.clone()
    K[0, 0] *= 1.2
    assert judged(camera=Camera(K, *CAMERA.size)).verdict == Verdict.REJECTED


@pytest.mark.parametrize('percent', [-2.0, 2.0])
def test_slightly_wrong_pixels_are_rejected_by_name_at_the_pose_that_hides_them(percent):
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    K = CAMERA.K.clone()
    K[0, 0] *= 1 + percent / 100
    result = registered(phantom, truth, View(xray(phantom, truth, noise=0.001), Camera(K, 96, 96)))
    assert failed(result.verification)['aspect_misfit'] == ErrorCode.CAMERA_INCONSISTENT
    assert 'distortion_misfit' not in failed(result.verification)


@pytest.mark.parametrize('percent', [-3.0, 3.0])
def test_distortion_is_rejected_by_name_at_the_pose_that_hides_it(percent):
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    image = xray(phantom, truth, noise=0.001)
    v, u = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in image.shape), indexing='ij')
    scale = 1 + percent / 100 * (u * u + v * v)
    image = torch.nn.functional.grid_sample(
        image[None, None],
        torch.stack([u * scale, v * scale], -1)[None],
        mode='bicubic',
        padding_mode='border',
        align_corners=True,
    )[0, 0]
    result = registered(phantom, truth, View(image, CAMERA))
    assert failed(result.verification)['distortion_misfit'] == ErrorCode.CAMERA_INCONSISTENT
    assert 'aspect_misfit' not in failed(result.verification)


def registered(phantom, truth, view):
    return register(RegistrationRequest(phantom, (view,), truth, replace(FINE, starts=0)))


def test_a_wrong_focal_length_is_rejected_at_the_depth_that_hides_it():
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    K = CAMERA.K.clone()
    K[:2, :2] *= 1.4
    deeper = truth.clone()
    deeper[2, 3] += 0.4 * float(se3.transform_points(truth, phantom.centre[None])[0, 2])
    view = View(xray(phantom, truth, noise=0.001), Camera(K, *CAMERA.size))
    result = register(RegistrationRequest(phantom, (view,), deeper, replace(FINE, starts=0)))
    assert failed(result.verification)['focal_misfit'] == ErrorCode.CAMERA_INCONSISTENT
    assert result.verdict == Verdict.REJECTED


def test_a_wrong_principal_point_is_rejected_at_the_turn_that_hides_it():
    phantom, angle = smooth_phantom(), 0.08
    truth = pose_in_front(phantom, distance_mm=300.0)  # where perspective is strong
    camera = Camera.from_geometry(1000.0, (4.0, 4.0), (96, 96))
    K = camera.K.clone()
    K[0, 2] += angle * K[0, 0]
    about_source = torch.tensor([0.0, -angle, 0, 0, 0, 0], dtype=torch.float64)
    view = View(xray(phantom, truth, camera, noise=0.001), Camera(K, *camera.size))
    start = se3.exp(about_source) @ truth
    result = register(RegistrationRequest(phantom, (view,), start, replace(FINE, starts=0)))
    reasons = failed(result.verification)
    assert reasons['principal_point_misfit'] == ErrorCode.CAMERA_INCONSISTENT
    assert result.verdict == Verdict.REJECTED


def test_noise_alone_leaves_doubt_about_the_pose_but_is_not_verified():
    verification = judged(noise=1.0)
    assert verification.verdict != Verdict.VERIFIED


def test_the_bound_is_compared_with_what_the_caller_can_bear():
    strict = judged(config=replace(FINE, max_tre_mm=0.2))
    assert strict.verdict == Verdict.UNVERIFIED
    assert failed(strict) == {'tre_p95_mm': ErrorCode.POSE_UNCERTAIN}


def test_a_limit_across_the_beam_alone_verifies_for_that_alone_and_says_how_uncertain_depth_is():
    whole = judged(config=replace(FINE, max_tre_mm=1.0))
    assert failed(whole) == {'tre_p95_mm': ErrorCode.POSE_UNCERTAIN}
    across = judged(config=replace(FINE, max_tre_across_mm=1.0))
    assert across.verdict == Verdict.VERIFIED
    assert across.verdict_for == VerdictFor.ACROSS_BEAM
    assert f'by {across.bound.along_mm:.1f} mm' in across.reservation
    assert across.bound.across_mm < 1.0 < across.bound.along_mm
    names = {check.name for check in across.checks}
    assert 'tre_p95_across_mm' in names and not {'tre_p95_mm', 'sigma_along_beam_mm'} & names
    assert judged().reservation == '' and judged().verdict_for == VerdictFor.POSE


def test_a_limit_along_the_beam_alone_and_limits_for_both_are_each_compared():
    along = judged(config=replace(FINE, max_tre_along_mm=0.5))
    assert failed(along) == {'tre_p95_along_mm': ErrorCode.POSE_UNCERTAIN}
    both = judged(config=replace(FINE, max_tre_across_mm=1.0, max_tre_along_mm=6.0))
    assert both.verdict == Verdict.VERIFIED and both.verdict_for == VerdictFor.POSE
    assert {'tre_p95_across_mm', 'tre_p95_along_mm'} <= {check.name for check in both.checks}
    assert both.reservation == ''


def test_a_pose_that_is_wrong_across_the_beam_is_not_verified_for_across():
    wrong = judged((0.0, 0.0, 0.0, 4.0, 0.0, 0.0), config=replace(FINE, max_tre_across_mm=2.0))
    assert wrong.verdict == Verdict.REJECTED and wrong.reservation == ''


@pytest.mark.parametrize('setting', ['focal_length_sd', 'principal_point_sd'])
def test_the_bound_knows_how_far_the_camera_can_be_trusted(setting):
    # 1 % of 700 mm in depth, 1 % of the image's 144 mm at the detector: twice that at 95 %.
    wide = judged(config=replace(FINE, **{setting: 0.01}))
    at_least_mm = {'focal_length_sd': 13.0, 'principal_point_sd': 2.0}[setting]
    added_mm = math.sqrt(wide.tre_p95_mm**2 - judged().tre_p95_mm ** 2)
    assert at_least_mm < added_mm < 2 * at_least_mm
    other = 'principal_point_sd' if setting == 'focal_length_sd' else 'focal_length_sd'
    both = judged(config=replace(FINE, **{setting: 0.01, other: 0.01}))
    assert wide.tre_p95_mm < both.tre_p95_mm


def test_the_bound_widens_from_an_exact_imager_to_an_unknown_one_above_all_along_the_beam():
    bounds = [
        judged(config=replace(FINE, calibration=name)).bound
        for name in ('exact', 'calibrated', 'nominal', 'unknown')
    ]
    assert bounds == sorted(bounds, key=lambda bound: bound.total_mm)
    exact, calibrated, nominal, unknown = bounds
    # 0.1, 1 and 5 % of 700 mm, twice.
    for bound, expected in ((calibrated, 1.4), (nominal, 14.0), (unknown, 70.0)):
        added = math.sqrt(bound.along_mm**2 - exact.along_mm**2)
        assert added == pytest.approx(expected, rel=0.2)
    assert nominal.across_mm < nominal.along_mm / 2


@pytest.mark.parametrize(
    ('setting', 'across_mm'), [('aspect_sd', 0.1), ('skew_sd', 0.1), ('distortion_sd', 0.1)]
)
def test_what_else_may_be_wrong_with_the_imager_widens_the_bound_as_far_as_the_xray_is_silent(
    setting, across_mm
):
    exact = judged(config=replace(FINE, calibration='exact')).bound
    wide = judged(config=replace(FINE, calibration='exact', **{setting: 0.01})).bound
    wider = judged(config=replace(FINE, calibration='exact', **{setting: 0.1})).bound
    assert math.sqrt(wide.total_mm**2 - exact.total_mm**2) > across_mm
    # The X-ray itself tells pixels of 10 % from those of 1 %.
    assert wider.total_mm < 1.5 * wide.total_mm


def test_pixels_that_leave_their_prior_are_named_with_their_size_and_those_that_do_not_widen():
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    K = CAMERA.K.clone()
    K[0, 0] /= 1.03
    view = View(xray(phantom, truth), Camera(K, *CAMERA.size))
    config = replace(FINE, starts=0, max_tre_mm=30.0)
    request = RegistrationRequest(phantom, (view,), truth, config)
    refused = register(request)
    check = next(check for check in refused.checks if check.name == 'aspect_misfit')
    assert not check.passed and refused.verdict == Verdict.REJECTED
    found = re.fullmatch(r'Pixels are (.+) ± (.+) % narrower than the camera says', check.found)
    assert found and abs(float(found[1]) - 3.0) < 1.5
    assert check.found in finding_of([check]).explanation.reason
    expected = register(replace(request, config=replace(config, aspect_sd=0.02)))
    check = next(check for check in expected.checks if check.name == 'aspect_misfit')
    assert check.passed and check.limit == 0.04
    assert expected.verification.bound.total_mm > refused.verification.estimate.total_mm


def test_a_solver_that_was_cut_short_leaves_doubt():
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    request = RegistrationRequest(phantom, (View(xray(phantom, truth), CAMERA),), truth, FINE)
    levels = [build_level(request, height, 'numba') for height in FINE.levels]
    ended = replace(
        Evidence.of_pose(levels, truth, None, FINE), termination=TerminationReason.MAX_ITERATIONS
    )
    verification = verify(ended)
    assert verification.verdict == Verdict.UNVERIFIED
    assert failed(verification) == {'convergence': ErrorCode.NOT_CONVERGED}


def test_a_field_that_the_ct_hardly_reaches_leaves_doubt():
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    wide = Camera.from_geometry(1000.0, (4.0, 4.0), (96, 96), principal_point=(45.0, 52.0))
    view = View(xray(phantom, truth, camera=wide), wide)
    request = RegistrationRequest(phantom, (view,), truth, FINE)
    levels = [build_level(request, height, 'numba') for height in FINE.levels]
    verification = verify(Evidence.of_pose(levels, truth, None, FINE))
    assert failed(verification)['overlap'] == ErrorCode.LITTLE_OVERLAP


def test_an_unverified_registration_can_be_asked_for():
    phantom = smooth_phantom()
    truth = pose_in_front(phantom)
    request = RegistrationRequest(phantom, (View(xray(phantom, truth), CAMERA),), truth, FINE)
    result = register(request, verified=False)
    assert result.verdict == Verdict.UNVERIFIED and result.checks == ()
