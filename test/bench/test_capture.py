from types import SimpleNamespace

import numpy as np
import pytest
import torch
from _capture import FARTHEST_MM, share_of, shares, start_at

from sph_reg_ros.evaluation.metrics import pose_error
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.geometry.box import landmark_grid
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles

CENTRE = torch.tensor([5.0, -10.0, 20.0]).double()
LANDMARKS = landmark_grid(CENTRE, (120.0, 60.0, 90.0))
CT = SimpleNamespace(
    volume=SimpleNamespace(centre=CENTRE), landmarks_mm=LANDMARKS, body_mm=LANDMARKS
)
CASE = SimpleNamespace(
    camera=BENCH_GEOMETRY.camera, truth=camera_from_ct_for_angles(0.3, 0.1, 700.0, CENTRE)
)


@pytest.mark.parametrize('goal_mm', [0.5, 20.0, 150.0])
def test_a_start_is_as_far_off_as_was_asked_for(goal_mm):
    start = start_at(CASE, CT, goal_mm, number=3).camera_from_ct
    error = pose_error(start, CASE.truth, LANDMARKS, CASE.camera, BENCH_GEOMETRY.pixel_pitch_mm)
    assert error.mtre_mm == pytest.approx(goal_mm, rel=1e-6)


def test_starts_of_other_numbers_go_elsewhere():
    first, second = (start_at(CASE, CT, 50.0, number).camera_from_ct for number in (0, 1))
    assert not torch.allclose(first, second, atol=1.0)


@pytest.mark.parametrize('count', [30, 100, 300])
def test_distances_fill_the_range_evenly(count):
    values = [FARTHEST_MM * share_of(number) for number in range(count)]
    counts, _ = np.histogram(values, bins=10, range=(0.0, FARTHEST_MM))
    assert counts.min() >= count // 10 - 2
    assert counts.max() <= count // 10 + 2


def test_success_is_counted_by_the_distance_of_the_start():
    found = shares([1.0, 4.9, 5.0, 149.0], [True, False, True, False])
    assert found[0] == (0.0, 2, 0.5)
    assert found[1] == (5.0, 1, 1.0)
    assert found[2] == (10.0, 0, None)
    assert found[-1] == (145.0, 1, 0.0)
