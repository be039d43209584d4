"""Poses from pairs of CT points and pixels."""

import math

import numpy as np
import pytest
import torch

from sph_reg_ros.errors import PoseError
from sph_reg_ros.geometry import Camera, se3, so3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.registration.landmarks import Landmarks, pose_from_landmarks

CENTRE = torch.tensor([14.0, 8.0, -175.0], dtype=torch.float64)
CAMERA = Camera.from_geometry(1020.0, (1.4, 1.4), (256, 256))
SPREAD = np.array(
    [[-60, 30, 50], [70, 20, -40], [0, -80, 10], [40, 60, 70], [-50, -20, -60], [20, 5, 15]], float
)


def truth(primary=25.0, secondary=-15.0) -> torch.Tensor:
    return camera_from_ct_for_angles(math.radians(primary), math.radians(secondary), 700.0, CENTRE)


def landmarks(offsets=SPREAD, camera=CAMERA, noise_px=0.0, seed=0, pose=None) -> Landmarks:
    points = CENTRE + torch.from_numpy(np.asarray(offsets, float))
    pixels = camera.project(se3.transform_points(truth() if pose is None else pose, points)).numpy()
    pixels = pixels + np.random.default_rng(seed).normal(0, noise_px or 1e-9, pixels.shape)
    return Landmarks(points.numpy(), pixels, tuple(f'L{n}' for n in range(1, len(points) + 1)))


def errors_of(found, pose=None) -> tuple[float, float]:
    """Rotation error in degrees, and the distance of the middle in mm."""
    pose = truth() if pose is None else pose
    ends = [se3.transform_points(T, CENTRE[None])[0] for T in (found, pose)]
    turn = so3.log(found[:3, :3] @ pose[:3, :3].T).norm()
    return math.degrees(float(turn)), float((ends[0] - ends[1]).norm())


@pytest.mark.parametrize('count', [4, 5, 6])
@pytest.mark.parametrize('turns, mirrored', [(0, False), (0, True), (1, False), (3, True)])
def test_exact_pairs_give_the_pose_also_in_mirrored_and_turned_images(count, turns, mirrored):
    camera = CAMERA.flip(horizontal=mirrored).rotate90(turns)
    found = pose_from_landmarks(landmarks(SPREAD[:count], camera), camera)
    degrees, mm = errors_of(found.camera_from_ct)
    assert degrees < 1e-3 and mm < 1e-2 and found.errors_px.max() < 1e-3


def test_clicks_that_are_2_px_off_give_a_start_and_its_stated_uncertainty_is_right():
    turns, depths, stated = [], [], []
    for seed in range(40):
        pose = truth(9.0 * seed - 170, 2.0 * seed - 40)
        found = pose_from_landmarks(landmarks(noise_px=2.0, seed=seed, pose=pose), CAMERA)
        degrees, _ = errors_of(found.camera_from_ct, pose)
        middle = [se3.transform_points(T, CENTRE[None])[0] for T in (found.camera_from_ct, pose)]
        turns.append(degrees)
        depths.append(float(middle[0][2] - middle[1][2]))
        stated.append((math.degrees(found.rotation_rad), found.depth_mm))
    assert max(turns) < 8 and np.abs(depths).max() < 45
    degrees, mm = np.mean(stated, 0)
    assert 0.4 < np.sqrt(np.mean(np.square(turns))) / degrees < 2.5
    assert 0.4 < np.std(depths) / mm < 2.5


def test_too_few_pairs_and_points_on_a_line_are_refused():
    with pytest.raises(PoseError, match='3 landmarks: at least 4'):
        pose_from_landmarks(landmarks(SPREAD[:3]), CAMERA)
    line = [[0, 0, z] for z in (-60, -20, 15, 50, 70)]
    with pytest.raises(PoseError, match='on one line'):
        pose_from_landmarks(landmarks(line), CAMERA)
    twice = landmarks(SPREAD[[0, 1, 2, 2]])
    with pytest.raises(PoseError, match='L3 and L4 have the same CT point'):
        pose_from_landmarks(twice, CAMERA)


def test_points_in_a_plane_that_two_poses_explain_are_refused():
    plane = [[-40, 0, 30], [40, 0, 30], [40, 0, -30], [-40, 0, -30]]
    with pytest.raises(PoseError, match='two poses fit .* one plane'):
        pose_from_landmarks(landmarks(plane, noise_px=1.0), CAMERA)


def test_one_wrong_pair_among_six_is_named():
    pairs = landmarks(noise_px=1.0)
    pairs.pixels[3] += (60, -45)
    with pytest.raises(PoseError, match='landmark L4 does not fit the others: it is .* px off'):
        pose_from_landmarks(pairs, CAMERA)


@pytest.mark.parametrize('case', ['swapped pair', 'row, column', 'mirrored'])
def test_pairs_that_contradict_each_other_are_refused_with_what_to_check(case):
    pairs = landmarks(SPREAD[:5])
    if case == 'swapped pair':
        pairs.pixels[[0, 1]] = pairs.pixels[[1, 0]]
    elif case == 'row, column':
        pairs.pixels[:] = pairs.pixels[:, ::-1].copy()
    else:
        pairs.pixels[:, 0] = 255 - pairs.pixels[:, 0]
    with pytest.raises(PoseError, match='contradict each other.*column, row'):
        pose_from_landmarks(pairs, CAMERA)


def test_points_too_close_together_to_tell_the_pose_are_refused():
    with pytest.raises(PoseError, match='degrees and .* mm along the beam only|two poses fit'):
        pose_from_landmarks(landmarks(SPREAD / 10, noise_px=3.0), CAMERA)
