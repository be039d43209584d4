"""Registration of a phantom whose X-rays come from another renderer setting, with noise."""

import math
from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import (
    CAMERA,
    CONFIG,
    IN_PLANE_MM,
    ROTATION_DEG,
    assert_close,
    errors,
    moved,
    xray,
)

from sph_reg_ros.errors import CancelledError, ConfigError, ErrorCode, SolverError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.attempt import depth_warnings
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View
from sph_reg_ros.solvers import TerminationReason


@pytest.mark.parametrize('seed', range(4))
def test_one_view_is_registered_from_ten_millimetres_and_five_degrees(seed):
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    request = RegistrationRequest(
        volume, (View(xray(volume, truth, seed=seed), CAMERA),), moved(volume, truth, seed), CONFIG
    )
    result = register(request)
    assert_close(volume, result.camera_from_ct[0], truth)
    assert result.termination == TerminationReason.CONVERGED
    assert result.verdict == Verdict.VERIFIED and all(c.passed for c in result.checks)
    assert result.similarity_after > max(0.95, result.similarity_before)
    assert result.backend == 'numba' and result.iterations > 3
    assert set(result.timings_s) == {'prepare', 'search', 'refine', 'verify'}


def test_two_views_share_one_pose_and_fix_the_depth():
    volume = smooth_phantom()
    first = pose_in_front(volume)
    quarter_turn = se3.exp(torch.tensor([0.0, math.pi / 2, 0, 0, 0, 0], dtype=torch.float64))
    second = se3.apply_twist(se3.log(quarter_turn), first, volume.centre)
    # The fixed frame is anything but one of the cameras.
    fixed_from_ct = se3.exp(torch.tensor([0.1, 0.4, -0.3, 50.0, -20.0, 30.0], dtype=torch.float64))
    views = tuple(
        View(
            xray(volume, pose, seed=s), CAMERA, fixed_from_camera=fixed_from_ct @ se3.inverse(pose)
        )
        for s, pose in enumerate((first, second))
    )
    result = register(RegistrationRequest(volume, views, moved(volume, first, 3), CONFIG))
    for found, truth in zip(result.camera_from_ct, (first, second), strict=True):
        in_plane, depth, degrees = errors(volume, found, truth)
        assert max(in_plane, depth) < IN_PLANE_MM and degrees < ROTATION_DEG
    request = RegistrationRequest(volume, views[:1], moved(volume, first, 3), CONFIG)
    single = register(request)
    assert result.covariance[5, 5] < single.covariance[5, 5]
    (warning,) = depth_warnings(1, CONFIG)
    assert warning in single.warnings and 'within 0.1 %' in warning
    assert not any('depth' in text for text in result.warnings)


def test_a_mirrored_image_is_registered_with_its_mirrored_camera():
    volume = smooth_phantom()
    truth, camera = pose_in_front(volume), CAMERA.flip(horizontal=True)
    image = xray(volume, truth).flip(1)
    result = register(
        RegistrationRequest(volume, (View(image, camera),), moved(volume, truth, 1), CONFIG)
    )
    assert_close(volume, result.camera_from_ct[0], truth)


def test_pixels_outside_the_mask_do_not_matter():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    image, mask = xray(volume, truth), torch.ones(CAMERA.size, dtype=torch.bool)
    mask[:20], image[:20] = False, 50.0
    request = RegistrationRequest(
        volume, (View(image, CAMERA, mask),), moved(volume, truth, 2), CONFIG
    )
    assert_close(volume, register(request).camera_from_ct[0], truth)


def test_cropping_and_flipping_the_stored_ct_does_not_change_the_pose():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    views, start = (View(xray(volume, truth), CAMERA),), moved(volume, truth, 0)
    expected = register(RegistrationRequest(volume, views, start, CONFIG)).camera_from_ct[0]
    air_cut_off = volume.mu[1:, :, 1:-1]
    shift = torch.eye(4, dtype=torch.float64)
    shift[0, 0], shift[:3, 3] = -1, torch.tensor([air_cut_off.shape[2], 0.0, 1.0])
    other = AttenuationVolume(air_cut_off.flip(2).contiguous(), volume.ct_from_index @ shift)
    found = register(RegistrationRequest(other, views, start, CONFIG)).camera_from_ct[0]
    in_plane, depth, degrees = errors(volume, found, expected)
    # A small part of what the noise makes uncertain.
    assert in_plane < 0.03 and depth < 1.0 and degrees < 0.1


def test_the_covariance_predicts_the_spread_of_repeated_registrations():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    deviations, predicted = [], []
    for seed in range(12):
        views = (View(xray(volume, truth, noise=0.05, seed=seed), CAMERA),)
        result = register(RegistrationRequest(volume, views, truth, CONFIG))
        in_plane, depth, _ = errors(volume, result.camera_from_ct[0], truth)
        deviations.append([in_plane, depth])
        variance = result.covariance.diagonal()
        predicted.append([float(variance[3] + variance[4]) ** 0.5, float(variance[5]) ** 0.5])
    rms = torch.tensor(deviations).square().mean(0).sqrt()
    ratio = rms / torch.tensor(predicted).mean(0)
    assert (ratio > 0.4).all() and (ratio < 2.5).all()


def test_a_start_that_shows_nothing_is_refused():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    away = truth.clone()
    away[0, 3] += 5000
    request = RegistrationRequest(volume, (View(xray(volume, truth), CAMERA),), away, CONFIG)
    with pytest.raises(SolverError) as error:
        register(request)
    assert error.value.code == ErrorCode.NO_OVERLAP


def test_an_image_of_something_else_is_not_verified():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    noise = torch.rand(CAMERA.size, generator=torch.Generator().manual_seed(0))
    result = register(RegistrationRequest(volume, (View(noise, CAMERA),), truth, CONFIG))
    assert result.verdict == Verdict.REJECTED
    checks = {check.name: check for check in result.checks}
    assert checks['agreeing_patches'].reason == ErrorCode.SIMILARITY_TOO_LOW


def test_a_registration_cut_short_is_not_verified():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    request = RegistrationRequest(
        volume,
        (View(xray(volume, truth), CAMERA),),
        moved(volume, truth, 0),
        replace(CONFIG, max_iterations=1),
    )
    result = register(request)
    assert result.termination == TerminationReason.MAX_ITERATIONS
    assert result.verdict != Verdict.VERIFIED
    assert ErrorCode.NOT_CONVERGED in result.verification.reasons


def test_the_observer_sees_every_step_and_can_stop():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    request = RegistrationRequest(
        volume, (View(xray(volume, truth), CAMERA),), moved(volume, truth, 0), CONFIG
    )
    seen = []
    result = register(request, seen.append)
    assert {p.iteration for p in seen if p.stage in ('prepare', 'search')} == {0}
    refining = [p for p in seen if p.stage.startswith('refine')]
    iterations = [p.iteration for p in refining]
    assert iterations == sorted(iterations)
    assert iterations[0] == 0 and iterations[-1] == result.iterations
    # Several poses take their steps together.
    steps = [b - a for a, b in zip(iterations, iterations[1:], strict=False)]
    assert max(steps) <= CONFIG.starts + 1 and 1 in steps
    assert all(p.best_loss <= p.loss for p in seen)
    heights = [int(p.stage.split()[1]) for p in refining[1:]]
    assert heights == sorted(heights)

    def stop(progress):
        raise CancelledError

    with pytest.raises(CancelledError):
        register(request, stop)


def test_levels_on_which_the_checks_refuse_every_pose_are_for_poses_without_checks_only():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    view = View(xray(volume, truth), CAMERA)
    request = RegistrationRequest(volume, (view,), truth, replace(CONFIG, levels=(24,), starts=0))
    with pytest.raises(ConfigError, match='48 px or more') as error:
        register(request)
    assert error.value.code == ErrorCode.CONFIG_INVALID
    assert register(request, verified=False).verdict == Verdict.UNVERIFIED


def test_registering_twice_gives_the_same_numbers():
    volume = smooth_phantom()
    truth = pose_in_front(volume)
    request = RegistrationRequest(
        volume, (View(xray(volume, truth), CAMERA),), moved(volume, truth, 0), CONFIG
    )
    assert torch.equal(register(request).camera_from_ct[0], register(request).camera_from_ct[0])


@pytest.mark.parametrize(
    'setting',
    [
        {'backend': 'gpu'},
        {'levels': ()},
        {'levels': (64, 32)},
        {'levels': (4,)},
        {'max_iterations': 0},
        {'max_tre_mm': 0.0},
        {'max_tre_mm': 0.19},
        {'max_tre_across_mm': 0.1},
        {'max_tre_along_mm': -1.0},
        {'search_rotation_rad': 0.0},
        {'search_in_plane_mm': 0.0},
        {'search_depth_mm': 0.0},
        {'levels': (8, 64)},
        {'max_iterations': 10**9},
        {'max_rotation_step_rad': 0.0},
        {'max_translation_step_mm': float('nan')},
    ],
)
def test_a_setting_out_of_range_is_refused(setting):
    with pytest.raises(ConfigError) as error:
        RegistrationConfig(**setting)
    assert error.value.code == ErrorCode.CONFIG_INVALID
