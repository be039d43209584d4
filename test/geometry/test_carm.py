"""C-arm angles as DICOM defines them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from xray_files import beam_and_axes

from sph_reg_ros.errors import CameraError, ErrorCode
from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.carm import (
    angles_from_camera_from_ct,
    camera_from_ct_for_angles,
    format_angles,
)

ORIGIN = torch.zeros(3, dtype=torch.float64)
primary = st.floats(-math.pi, math.pi)
secondary = st.floats(-math.pi / 2, math.pi / 2)
distance = st.floats(100.0, 2000.0)
coordinate = st.floats(-500.0, 500.0)


@settings(deadline=None, max_examples=60)
@given(primary, secondary, distance)
def test_the_pose_is_rigid_and_looks_along_the_direction_that_the_standard_names(a, b, sod):
    pose = camera_from_ct_for_angles(a, b, sod, ORIGIN)
    rotation = pose[:3, :3]
    direction = [math.sin(a) * math.cos(b), -math.cos(a) * math.cos(b), math.sin(b)]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    assert torch.det(rotation) == pytest.approx(1.0)
    torch.testing.assert_close(rotation[2], torch.tensor(direction, dtype=torch.float64))
    assert rotation[0, 2] == 0.0, 'the columns must stay in the transaxial plane'


@settings(deadline=None, max_examples=30)
@given(primary, secondary)
def test_the_axes_are_those_of_a_gantry_turned_step_by_step(a, b):
    turned = torch.from_numpy(beam_and_axes(math.degrees(a), math.degrees(b)))
    pose = camera_from_ct_for_angles(a, b, 700.0, ORIGIN)
    torch.testing.assert_close(pose[:3, :3], turned)


@settings(deadline=None, max_examples=30)
@given(primary, secondary, distance, coordinate, coordinate, coordinate)
def test_the_isocentre_lands_on_the_principal_point_at_its_distance(a, b, sod, x, y, z):
    isocentre = torch.tensor([x, y, z], dtype=torch.float64)
    pose = camera_from_ct_for_angles(a, b, sod, isocentre)
    in_camera = pose[:3, :3] @ isocentre + pose[:3, 3]
    expected = torch.tensor([0.0, 0.0, sod], dtype=torch.float64)
    torch.testing.assert_close(in_camera, expected, atol=1e-8, rtol=0)
    camera = Camera.from_geometry(1020.0, (0.3, 0.4), (200, 301), (10.0, 20.0))
    pixel = camera.project(in_camera)
    torch.testing.assert_close(pixel, torch.tensor([10.0, 20.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ('a', 'b', 'towards'),
    [
        (0, 0, [0, -1, 0]),  # receptor over the chest
        (90, 0, [1, 0, 0]),  # LAO 90: at the patient's left
        (-90, 0, [-1, 0, 0]),
        (180, 0, [0, 1, 0]),
        (0, 90, [0, 0, 1]),  # cranial: at the head
        (0, -90, [0, 0, -1]),
    ],
)
def test_the_angles_place_the_receptor_as_the_standard_draws_it(a, b, towards):
    pose = camera_from_ct_for_angles(math.radians(a), math.radians(b), 700.0, ORIGIN)
    expected = torch.tensor(towards, dtype=torch.float64)
    torch.testing.assert_close(pose[2, :3], expected, atol=1e-12, rtol=0)


def test_at_zero_angles_the_image_has_the_feet_down_and_the_patients_right_on_the_right():
    pose = camera_from_ct_for_angles(0.0, 0.0, 700.0, ORIGIN)
    assert pose[0, :3].tolist() == [-1.0, 0.0, 0.0]
    assert pose[1, :3].tolist() == [0.0, 0.0, -1.0]


@settings(deadline=None, max_examples=80)
@given(primary, secondary, st.floats(-3.0, 3.0))
def test_the_angles_come_back_whatever_the_roll_of_the_camera(a, b, roll):
    pose = camera_from_ct_for_angles(a, b, 700.0, ORIGIN)
    if abs(b) < math.pi / 2 - 1e-3:
        c, s = math.cos(roll), math.sin(roll)
        turn = torch.tensor([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        pose = turn.to(torch.float64) @ pose
    found_a, found_b = angles_from_camera_from_ct(pose)
    assert found_b == pytest.approx(b, abs=1e-7)
    assert math.remainder(found_a - a, 2 * math.pi) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize('b', [math.pi / 2, -math.pi / 2])
@pytest.mark.parametrize('a', [-2.5, 0.0, 0.7])
def test_the_primary_angle_survives_at_the_poles(a, b):
    found = angles_from_camera_from_ct(camera_from_ct_for_angles(a, b, 700.0, ORIGIN))
    assert found == pytest.approx((a, b))


@pytest.mark.parametrize(
    ('a', 'b', 'text'),
    [
        (30, 20, 'LAO 30 / CRAN 20'),
        (-12.34, -7.5, 'RAO 12.3 / CAUD 7.5'),
        (0, 0, 'LAO 0 / CRAN 0'),
        (-0.01, -0.04, 'LAO 0 / CRAN 0'),
    ],
)
def test_angles_are_printed_as_they_are_said(a, b, text):
    assert format_angles(math.radians(a), math.radians(b)) == text


@pytest.mark.parametrize(
    ('a', 'b', 'sod'),
    [(math.nan, 0, 700), (0, math.inf, 700), (0, 0, math.nan), (0, 0, 0), (0, 0, -1), (0, 1.6, 1)],
)
def test_impossible_angles_and_distances_are_refused(a, b, sod):
    with pytest.raises(CameraError) as caught:
        camera_from_ct_for_angles(a, b, sod, ORIGIN)
    assert caught.value.code == ErrorCode.CAMERA_INVALID
