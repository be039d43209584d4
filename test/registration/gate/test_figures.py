"""The figures behind the gate: targets, displacements of patches, the derivative by the camera."""

import math
from dataclasses import replace

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.gate.bent_rays import by_imager
from sph_reg_ros.registration.gate.patches import displacements
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.gate.verify import verdict_of
from sph_reg_ros.registration.result import Check, Verdict, Verification
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render, render_with_jacobian

IMAGE = torch.eye(*CAMERA.size)
DOUBT = (Verdict.UNVERIFIED, ErrorCode.POSE_UNCERTAIN)
AGAINST = (Verdict.REJECTED, ErrorCode.RIVAL_POSE)


def textured(seed=0, size=128) -> torch.Tensor:
    """A smooth random image, rendered twice as fine as it is used."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, size // 4, size // 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode='bicubic')[0, 0]


def shifted(image, pixels: float) -> torch.Tensor:
    """Move an image to the right by Fourier's theorem."""
    frequency = torch.fft.fftfreq(image.shape[1])
    phase = torch.exp(-2j * math.pi * frequency * pixels)
    return torch.fft.ifft(torch.fft.fft(image) * phase).real


def test_a_shift_moves_every_target_as_far():
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    moved = pose.clone()
    moved[:3, 3] += torch.tensor([3.0, 0.0, 4.0])
    assert float(mean_distance_mm(pose, moved, target_points(volume))) == pytest.approx(5.0)


def test_targets_lie_within_the_ct():
    volume = smooth_phantom()
    points, corners = target_points(volume), volume.corners
    assert (points >= corners.amin(0)).all() and (points <= corners.amax(0)).all()


def test_the_expected_error_is_that_of_random_poses_of_this_covariance():
    volume = smooth_phantom()
    pose, points = pose_in_front(volume), target_points(volume)
    root = torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    root *= torch.tensor([1e-3] * 3 + [0.2, 0.2, 0.8], dtype=torch.float64)[:, None]
    draws = torch.randn(4000, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    moved = se3.apply_twist(draws @ root.T, pose.expand(4000, 4, 4), volume.centre)
    error = se3.transform_points(moved, points) - se3.transform_points(pose, points)
    covariance = root @ root.T
    errors = TargetErrors.seen_by([View(IMAGE, CAMERA)], pose, covariance, volume.centre, points)
    expected = errors.by(covariance)
    along = error @ errors.along
    assert expected.along_mm == pytest.approx(float(along.square().mean().sqrt()), rel=0.05)
    total = float(error.square().sum(-1).mean().sqrt())
    assert expected.total_mm == pytest.approx(total, rel=0.05)
    assert math.hypot(expected.across_mm, expected.along_mm) == pytest.approx(expected.total_mm)


def test_of_one_view_a_shift_along_the_ray_through_the_ct_is_along_and_all_else_across():
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    pose[0, 3] += 80.0
    points = target_points(volume)
    unknown = torch.eye(6, dtype=torch.float64)
    errors = TargetErrors.seen_by([View(IMAGE, CAMERA)], pose, unknown, volume.centre, points)
    for shift, across, along in (
        (3.0 * errors.along, 0.0, 3.0),
        (torch.tensor([0.0, 2.0, 0.0]).double(), 2.0, 0.0),
    ):
        moved = pose.clone()
        moved[:3, 3] += shift
        found = errors.to(moved)
        assert found.across_mm == pytest.approx(across, abs=0.05)
        assert found.along_mm == pytest.approx(along, abs=0.05)
        assert found.total_mm == pytest.approx(float(shift.norm()))
    assert float(errors.along[0]) > 0.1, 'the beam goes through the CT, which lies off its middle'


def test_of_several_views_along_is_the_direction_that_is_known_worst():
    volume = smooth_phantom()
    pose, points = pose_in_front(volume), target_points(volume)
    worst = torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64)
    covariance = torch.zeros(6, 6, dtype=torch.float64)
    covariance[3:, 3:] = 0.01 * torch.eye(3) + 4.0 * torch.outer(worst, worst)
    views = [View(IMAGE, CAMERA)] * 2
    errors = TargetErrors.seen_by(views, pose, covariance, volume.centre, points)
    assert abs(float(errors.along @ worst)) == pytest.approx(1.0)
    assert errors.by(covariance).along_mm == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize('pixels', [0.0, 0.2, -0.6])
def test_patches_tell_by_how_much_an_image_is_shifted_whatever_its_contrast(pixels):
    image = textured()
    xray = 3.0 * shifted(image, pixels) + 7.0
    size, sigma = displacements(xray, image, torch.ones(image.shape, dtype=torch.bool))
    assert len(size) == 64
    assert float(size.median()) == pytest.approx(abs(pixels), abs=0.05)
    assert float(sigma.median()) < 0.1


def test_patches_of_another_image_are_certain_of_nothing():
    image = textured()
    _, sigma = displacements(textured(seed=5), image, torch.ones(image.shape, dtype=torch.bool))
    assert float((sigma < 0.2).double().mean()) < 0.1


def test_masked_and_empty_patches_are_left_out():
    image, mask = textured(), torch.ones(128, 128, dtype=torch.bool)
    mask[:64] = False
    assert len(displacements(image, image, mask)[0]) == 32
    image[:, 64:] = 0.5
    assert len(displacements(image, image, mask)[0]) == 16


@pytest.mark.parametrize('number', range(5))
@pytest.mark.parametrize(
    'camera',
    [CAMERA, CAMERA.flip(horizontal=True), CAMERA.rotate90(), replace(CAMERA, scan_depth_mm=700.0)],
)
def test_the_derivative_by_the_camera_is_that_of_differences(camera, number):
    volume, step = smooth_phantom(), 5e-4
    pose = pose_in_front(volume)
    centre = se3.transform_points(pose, volume.centre[None])[0]
    exact = {'step_mm': 0.2, 'scan_depth_mm': camera.scan_depth_mm}
    _, jacobian = render_with_jacobian(volume, pose, camera.K, camera.size, **exact)
    images = []
    for sign in (1, -1):
        # What comes before K does the same to an image that is flipped or turned.
        change = torch.eye(3, dtype=torch.float64)
        if number == 0:
            change[:2, :2] *= math.exp(sign * step)
        elif number < 3:
            change[number - 1, 2] = sign * step
        elif number == 3:
            change[0, 0], change[1, 1] = math.exp(sign * step / 2), math.exp(-sign * step / 2)
        else:
            change[0, 1] = change[1, 0] = sign * step / 2
        images.append(render(volume, pose, camera.K @ change, camera.size, **exact))
    difference = (images[0] - images[1]) / (2 * step)
    column = by_imager(jacobian, camera, centre)[..., number]
    if number == 2 and camera.scan_depth_mm:
        # A shift along the table is the pose's.
        assert not bool(column.any()) and bool(difference.any())
        return
    assert float((column - difference).norm() / difference.norm()) < 0.01


@pytest.mark.parametrize('spiral', [False, True])
def test_the_derivative_by_distortion_is_that_of_displaced_pixels(spiral):
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    centre = se3.transform_points(pose, volume.centre[None])[0]
    image, jacobian = render_with_jacobian(volume, pose, CAMERA.K, CAMERA.size, step_mm=0.2)
    slope_v, slope_u = torch.gradient(image)
    v, u = torch.meshgrid(*(torch.arange(side).double() for side in CAMERA.size), indexing='ij')
    x, y = u - CAMERA.K[0, 2], v - CAMERA.K[1, 2]
    square = (x * x + y * y) / (CAMERA.height / 2) ** 2
    wanted = square * ((y * slope_u - x * slope_v) if spiral else -(x * slope_u + y * slope_v))
    column = by_imager(jacobian, CAMERA, centre)[..., 6 if spiral else 5]
    inner = (slice(2, -2), slice(2, -2))
    assert float((column - wanted)[inner].norm() / wanted[inner].norm()) < 0.03


def test_nan_passes_no_limit():
    assert not Check.at_most('x', math.nan, 1.0, DOUBT).passed
    assert not Check.at_least('x', math.nan, 1.0, DOUBT).passed


def test_a_figure_on_its_limit_passes_and_beyond_it_does_not():
    assert Check.at_most('x', 1.0, 1.0, DOUBT).reason == ErrorCode.NONE
    assert Check.at_least('x', 1.0, 1.0, DOUBT).passed
    beyond = Check.at_most('x', 1.001, 1.0, AGAINST)
    assert (beyond.verdict, beyond.reason) == AGAINST
    assert not Check.at_least('x', 0.999, 1.0, AGAINST).passed


def test_evidence_against_a_pose_outweighs_doubt_and_doubt_outweighs_the_rest():
    good = Check.at_most('x', 0.0, 1.0, DOUBT)
    doubt, against = (Check.at_most('x', 2.0, 1.0, kind) for kind in (DOUBT, AGAINST))
    assert verdict_of([good, good]) == Verdict.VERIFIED
    assert verdict_of([good, doubt]) == Verdict.UNVERIFIED
    assert verdict_of([doubt, against, good]) == Verdict.REJECTED
    assert verdict_of([]) == Verdict.UNVERIFIED


def test_reasons_name_the_evidence_against_a_pose_first_and_each_once():
    checks = tuple(Check.at_most('x', 2.0, 1.0, kind) for kind in (DOUBT, AGAINST, DOUBT))
    reasons = Verification(Verdict.REJECTED, checks).reasons
    assert reasons == (ErrorCode.RIVAL_POSE, ErrorCode.POSE_UNCERTAIN)
