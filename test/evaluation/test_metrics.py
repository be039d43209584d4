"""Errors of a pose against values worked out by hand and against a published geometry."""

import math

import pytest
import torch

from sph_reg_ros.evaluation.metrics import (
    mean_projection_distance_mm,
    mean_reprojection_distance_mm,
    pose_error,
    rotation_error_deg,
)
from sph_reg_ros.geometry import Camera, se3, so3
from sph_reg_ros.geometry.box import landmark_grid

# DeepFluoro's C-arm: source to detector 1020 mm, object at 700 mm, detector pixels of 0.194 mm.
SDD_MM, OBJECT_MM, PITCH_MM = 1020.0, 700.0, 0.194
CAMERA = Camera.from_geometry(SDD_MM, (PITCH_MM, PITCH_MM), (1436, 1436))
LANDMARKS = landmark_grid(torch.zeros(3, dtype=torch.float64), (120.0, 60.0, 90.0))
X, Y, Z = torch.eye(3, dtype=torch.float64)


def pose(rotation_deg: float = 0.0, axis: torch.Tensor = Z, shift_mm=(0.0, 0.0, 0.0)):
    """Return camera_from_ct 700 mm from the source, turned about the object and shifted."""
    R = so3.exp(math.radians(rotation_deg) * axis)
    t = torch.tensor(shift_mm, dtype=torch.float64) + OBJECT_MM * Z
    return se3.from_parts(R, t)


@pytest.mark.parametrize(
    ('estimate', 'tre_mm', 'mpd_mm', 'reprojection_mm'),
    [
        (pose(1.0, Z), 1.373, 2.063, 0.0),
        (pose(1.0, X), 0.892, 1.043, 6.175),
        (pose(shift_mm=(1.0, 0.0, 0.0)), 1.0, 1.504, 0.504),
        (pose(shift_mm=(0.0, 0.0, 1.0)), 1.0, 0.175, 1.017),
        (pose(shift_mm=(0.0, 0.0, 5.0)), 5.0, 0.880, 5.085),
    ],
)
def test_the_metrics_reproduce_a_sanity_table(estimate, tre_mm, mpd_mm, reprojection_mm):
    # The table is of 14 random points in a box of +-120 x 60 x 90 mm; many points come within 20 %.
    generator = torch.Generator().manual_seed(0)
    unit = torch.rand(2000, 3, generator=generator, dtype=torch.float64) * 2 - 1
    points = unit * torch.tensor([120.0, 60.0, 90.0], dtype=torch.float64)
    error = pose_error(estimate, pose(), points, CAMERA, PITCH_MM)
    assert error.mtre_mm == pytest.approx(tre_mm, rel=0.2)
    assert error.mpd_mm == pytest.approx(mpd_mm, rel=0.2)
    reprojection = mean_reprojection_distance_mm(estimate, pose(), points, SDD_MM)
    assert reprojection == pytest.approx(reprojection_mm, rel=0.2, abs=1e-9)


def test_one_landmark_by_hand():
    point = torch.tensor([[30.0, 0.0, 0.0]], dtype=torch.float64)
    moved = pose(shift_mm=(3.0, 4.0, 50.0))
    error = pose_error(moved, pose(), point, CAMERA, PITCH_MM)
    assert (error.in_plane_mm, error.depth_mm) == pytest.approx((5.0, 50.0))
    assert error.mtre_mm == pytest.approx(math.sqrt(5.0**2 + 50.0**2))
    # On the detector: (33, 4) at a depth of 750 mm against (30, 0) at 700 mm.
    on_detector = (SDD_MM * (33 / 750 - 30 / 700), SDD_MM * 4 / 750)
    assert error.mpd_mm == pytest.approx(math.hypot(*on_detector))


def test_an_in_plane_shift_loses_the_shift_itself_when_it_is_carried_back():
    shifted = pose(shift_mm=(1.0, 0.0, 0.0))
    on_detector = mean_projection_distance_mm(shifted, pose(), LANDMARKS, CAMERA, PITCH_MM)
    carried_back = mean_reprojection_distance_mm(shifted, pose(), LANDMARKS, SDD_MM)
    assert carried_back == pytest.approx(on_detector - 1.0)


def test_in_plane_and_depth_are_taken_along_the_true_optical_axis():
    truth = pose(30.0, Y)
    estimate = se3.from_parts(truth[:3, :3], truth[:3, 3] + torch.tensor([3.0, 4.0, 12.0]).double())
    error = pose_error(estimate, truth, LANDMARKS, CAMERA, PITCH_MM)
    assert error.in_plane_mm == pytest.approx(5.0)
    assert error.depth_mm == pytest.approx(12.0)
    assert error.mtre_mm == pytest.approx(13.0)
    assert error.rotation_deg == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize('angle_deg', [1e-6, 0.5, 90.0, 180.0])
def test_the_rotation_error_is_the_angle_between_the_poses(angle_deg):
    axis = torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64) / 3
    truth = pose(40.0, Y)
    turned = se3.from_parts(so3.exp(math.radians(angle_deg) * axis) @ truth[:3, :3], truth[:3, 3])
    assert rotation_error_deg(turned, truth) == pytest.approx(angle_deg, rel=1e-6)


def test_a_mirrored_image_has_the_same_projection_distance():
    estimate = pose(2.0, X, (1.0, -2.0, 3.0))
    plain, mirrored = (
        mean_projection_distance_mm(estimate, pose(), LANDMARKS, camera, PITCH_MM)
        for camera in (CAMERA, CAMERA.flip(horizontal=True))
    )
    assert plain == pytest.approx(mirrored)


def test_the_metrics_of_random_errors_reproduce_the_sanity_table():
    # 1 degree and 2 mm per axis (standard deviations): 3.82, 4.45 and 8.30 mm in the table.
    generator = torch.Generator().manual_seed(0)
    unit = torch.rand(200, 3, generator=generator, dtype=torch.float64) * 2 - 1
    points = unit * torch.tensor([120.0, 60.0, 90.0], dtype=torch.float64)
    sums = torch.zeros(3)
    for _ in range(400):
        noise = torch.randn(6, generator=generator, dtype=torch.float64)
        R = so3.exp(math.radians(1.0) * noise[:3])
        estimate = se3.from_parts(R, 2.0 * noise[3:] + OBJECT_MM * Z)
        error = pose_error(estimate, pose(), points, CAMERA, PITCH_MM)
        reprojection = mean_reprojection_distance_mm(estimate, pose(), points, SDD_MM)
        sums += torch.tensor([error.mtre_mm, error.mpd_mm, reprojection])
    assert (sums / 400).tolist() == pytest.approx([3.82, 4.45, 8.30], rel=0.2)


def test_reprojection_of_one_landmark_by_hand():
    point = torch.tensor([[30.0, 0.0, 0.0]], dtype=torch.float64)
    nearer = pose(shift_mm=(0.0, 0.0, -1.0))
    # On the detector plane, which moves with the camera: 1 mm along the axis, and sideways.
    expected = math.hypot(30 * SDD_MM * (1 / 699 - 1 / 700), 1.0)
    found = mean_reprojection_distance_mm(nearer, pose(), point, SDD_MM)
    assert found == pytest.approx(expected)
