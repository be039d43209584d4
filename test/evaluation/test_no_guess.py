"""X-rays from everywhere: what `bench/register.py --protocol no_guess` looks at."""

import math

import pytest
import torch

from sph_reg_ros.evaluation.protocols import FAR, NO_GUESS
from sph_reg_ros.evaluation.viewpoints import AllAround, bench_geometry
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct

CENTRE_MM = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
POSES = [AllAround().camera_from_ct(i, CENTRE_MM) for i in range(300)]


def test_true_poses_come_from_all_around_within_the_reach_of_a_c_arm():
    primary, secondary = torch.tensor([angles_from_camera_from_ct(p) for p in POSES]).T.rad2deg()
    for low in range(-180, 180, 60):
        assert ((primary > low) & (primary < low + 60)).sum() > 25
    frontal = (primary.deg2rad().cos() ** 2).sqrt() > 0.99
    lateral = primary.deg2rad().sin().abs() > 0.99
    assert 35 < float(secondary.abs().max()) <= 45
    assert frontal.any() and float(secondary[lateral].abs().max()) <= 26


def test_two_of_three_displays_are_turned_by_quarters_and_the_third_by_anything():
    turns = []
    for pose in POSES:
        across = pose[:3, :3] @ torch.linalg.cross(
            torch.tensor([0.0, 0.0, 1.0]).double(), pose[2, :3]
        )
        turns.append(math.degrees(math.atan2(float(across[1]), float(across[0]))) % 90)
    from_quarter = [min(turn, 90 - turn) for turn in turns]
    assert max(t for i, t in enumerate(from_quarter) if i % 3 < 2) < 1e-6
    assert max(t for i, t in enumerate(from_quarter) if i % 3 == 2) > 40


def test_distances_vary_and_a_pose_does_not_depend_on_others():
    depths = [float((p[:3, :3] @ CENTRE_MM + p[:3, 3])[2]) for p in POSES]
    assert min(depths) < 670 and max(depths) > 730
    assert torch.equal(AllAround().camera_from_ct(7, CENTRE_MM), POSES[7])


def test_a_method_is_told_no_start_and_a_field_is_as_large_as_asked():
    assert FAR.told and not NO_GUESS.told
    camera = bench_geometry(110.0).camera
    assert camera.focal_length * 110.0 / 256 == pytest.approx(1020.0)
