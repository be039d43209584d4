"""Where registrations of a benchmark start, and where their true poses lie."""

import math

import numpy as np
import pytest
import torch

from sph_reg_ros.errors import PoseError
from sph_reg_ros.evaluation.metrics import rotation_error_deg
from sph_reg_ros.evaluation.protocols import (
    FAR,
    NEAR,
    Protocol,
    any_in_view,
    draw_start,
    perturbed,
)
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY, Viewpoints
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct

CENTRE_MM = torch.tensor([10.0, -20.0, 300.0], dtype=torch.float64)
TRUTH = Viewpoints().camera_from_ct(0, CENTRE_MM)


def twists(protocol: Protocol, count: int = 4000) -> np.ndarray:
    generator = np.random.default_rng(0)
    drawn = np.stack([protocol.twist(generator).numpy() for _ in range(count)])
    drawn[:, :3] = np.degrees(drawn[:, :3])
    return drawn


def test_near_starts_fill_their_box():
    drawn, widths = twists(NEAR), [10, 10, 10, 10, 10, 20]
    assert (np.abs(drawn) <= widths).all()
    assert drawn.max(axis=0) == pytest.approx(widths, rel=0.01)
    assert drawn.std(axis=0) == pytest.approx(np.divide(widths, math.sqrt(3)), rel=0.05)


def test_far_starts_are_normal_with_their_standard_deviations():
    drawn, widths = twists(FAR), np.array([20, 20, 20, 30, 30, 60])
    assert drawn.std(axis=0) == pytest.approx(widths, rel=0.05)
    assert (np.abs(drawn) < widths).mean() == pytest.approx(0.683, abs=0.02)


def test_the_search_is_told_the_standard_deviations():
    for protocol in (NEAR, FAR):
        drawn = twists(protocol)
        drawn[:, :3] = np.radians(drawn[:, :3])
        assert drawn.std(axis=0) == pytest.approx(protocol.standard_deviations, rel=0.05)


def test_the_centre_moves_by_the_shift_and_the_rest_turns_about_it():
    twist = torch.tensor([0.3, -0.2, 0.1, 4.0, -5.0, 60.0], dtype=torch.float64)
    moved = perturbed(TRUTH, twist, CENTRE_MM)
    before, after = (se3.transform_points(pose, CENTRE_MM[None])[0] for pose in (TRUTH, moved))
    torch.testing.assert_close(after - before, twist[3:])
    angle_deg = math.degrees(float(twist[:3].norm()))
    assert rotation_error_deg(moved, TRUTH) == pytest.approx(angle_deg)


def test_starts_without_anything_in_view_are_thrown_away_and_counted():
    answers = iter([False, False, True])
    start = draw_start(NEAR, TRUTH, CENTRE_MM, lambda _: next(answers), np.random.default_rng(1))
    generator = np.random.default_rng(1)
    third = [NEAR.twist(generator) for _ in range(3)][2]
    assert start.redrawn == 2
    torch.testing.assert_close(start.camera_from_ct, perturbed(TRUTH, third, CENTRE_MM))


def test_a_ct_that_never_comes_into_view_is_refused():
    with pytest.raises(PoseError, match='not in view'):
        draw_start(NEAR, TRUTH, CENTRE_MM, lambda _: False, np.random.default_rng(0))


@pytest.mark.parametrize(
    ('point', 'seen'),
    [
        ((0.0, 0.0, 700.0), True),
        ((0.0, 0.0, -700.0), False),
        ((200.0, 0.0, 700.0), False),
        ((90.0, -90.0, 700.0), True),
    ],
)
def test_a_point_is_in_view_if_it_lies_before_the_camera_and_in_its_image(point, seen):
    camera = Camera.from_geometry(1020.0, (1.0, 1.0), (300, 300))
    points = torch.tensor([point, (0.0, 0.0, -5.0)], dtype=torch.float64)
    assert any_in_view(points, torch.eye(4, dtype=torch.float64), camera) is seen


def test_true_poses_look_from_the_front_and_from_both_sides_in_turn():
    poses = [Viewpoints().camera_from_ct(i, CENTRE_MM) for i in range(200)]
    angles = np.degrees([angles_from_camera_from_ct(pose) for pose in poses])
    frontal, lateral = angles[::2], angles[1::2]
    assert (np.abs(frontal) <= (30, 25)).all() and np.abs(frontal).max() > 29
    assert (np.abs(np.abs(lateral[:, 0]) - 90) <= 15).all()
    assert np.abs(lateral[:, 1]).max() <= 15
    assert 0.3 < (lateral[:, 0] > 0).mean() < 0.7


def test_the_isocentre_lies_near_the_centre_at_its_distance():
    for index in range(20):
        pose = Viewpoints(jitter_mm=20.0).camera_from_ct(index, CENTRE_MM)
        centre = se3.transform_points(pose, CENTRE_MM[None])[0]
        offset = centre - torch.tensor([0.0, 0.0, 700.0], dtype=torch.float64)
        assert 0.1 < float(offset.norm()) <= 20 * math.sqrt(3)


def test_a_pose_does_not_depend_on_the_others_but_on_the_seed():
    again, other = Viewpoints(), Viewpoints(seed=1)
    torch.testing.assert_close(again.camera_from_ct(0, CENTRE_MM), TRUTH)
    assert (other.camera_from_ct(0, CENTRE_MM) - TRUTH).abs().max() > 0.01


def test_the_detector_is_300_mm_wide():
    assert BENCH_GEOMETRY.pixel_pitch_mm * BENCH_GEOMETRY.width == pytest.approx(300.0)
    assert BENCH_GEOMETRY.camera.focal_length == pytest.approx(1020.0 * 256 / 300)
