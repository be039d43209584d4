"""Millimetres and matrices to metres and messages, and back."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import torch
from geometry_msgs.msg import Pose
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import se3
from sph_reg_ros.messages import conversions as c

pytestmark = pytest.mark.ros
TWISTS = st.tuples(*[st.floats(-1.7, 1.7)] * 3, *[st.floats(-2000, 2000)] * 3)
# Other work on the machine must not fail a test.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rigid(*twist: float) -> np.ndarray:
    return se3.exp(torch.tensor(twist, dtype=torch.float64)).numpy()


@PATIENT
@given(TWISTS)
def test_poses_and_transforms_make_the_round_trip_and_are_in_metres(twist):
    matrix = rigid(*twist)
    pose, transform = c.pose_from_matrix(matrix), c.transform_from_matrix(matrix)
    assert pose.position.x == matrix[0, 3] / 1000
    assert np.allclose(c.matrix_from_pose(pose), matrix, rtol=1e-9, atol=1e-9)
    assert np.allclose(c.matrix_from_transform(transform), matrix, rtol=1e-9, atol=1e-9)


def test_a_known_pose_has_the_known_quaternion():
    quarter_turn_about_z = rigid(0, 0, np.pi / 2, 0, 0, 0)
    q = c.pose_from_matrix(quarter_turn_about_z).orientation
    assert np.allclose([q.x, q.y, q.z, q.w], [0, 0, np.sqrt(0.5), np.sqrt(0.5)])


def pose(x=0.0, w=1.0, z=0.0) -> Pose:
    message = Pose()
    message.position.x, message.orientation.w, message.orientation.z = x, w, z
    return message


@pytest.mark.parametrize(
    'message',
    [
        pose(x=float('nan')),
        pose(x=float('inf')),
        pose(w=float('nan')),
        pose(w=0.0),
        pose(w=1.002),
        pose(w=0.998),
        pose(x=5.1),
        pose(x=1e6),
    ],
)
def test_a_pose_that_is_no_rigid_transform_in_metres_is_refused(message):
    with pytest.raises(PoseError) as caught:
        c.matrix_from_pose(message)
    assert caught.value.code == ErrorCode.POSE_INVALID


def test_a_quaternion_that_is_off_by_rounding_is_normalised():
    R = c.matrix_from_pose(pose(w=0.7075, z=0.7070))[:3, :3]
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize('factor', [1000.0, 1e4])
def test_millimetres_by_mistake_are_refused(factor):
    rng = np.random.default_rng(0)
    for _ in range(100):
        message = pose(x=float(rng.uniform(0.3, 3.0)) * factor)
        with pytest.raises(PoseError, match='are the units metres'):
            c.matrix_from_pose(message)


def test_an_empty_frame_is_refused_by_the_name_of_the_topic():
    with pytest.raises(PoseError, match='initial_pose'):
        c.framed_pose('', pose(), 'initial_pose')


def unsymmetric() -> np.ndarray:
    matrix = np.eye(6)
    matrix[0, 1] = 0.5
    return matrix


@pytest.mark.parametrize(
    'matrix', [np.full((6, 6), np.nan), -np.eye(6), unsymmetric(), np.diag([1.0] * 5 + [-0.1])]
)
def test_a_matrix_that_is_no_covariance_is_refused(matrix):
    with pytest.raises(PoseError) as caught:
        c.require_covariance(matrix.reshape(36), 'x')
    assert caught.value.code == ErrorCode.POSE_INVALID


def test_covariances_with_negative_entries_and_unknown_ones_are_accepted():
    correlated = np.eye(6) - 0.5 * np.eye(6)[::-1]
    c.require_covariance(correlated.reshape(36), 'x')
    c.require_covariance(np.zeros(36), 'x')


def test_the_covariance_is_that_of_the_origin_in_metres_as_sampling_shows():
    rng = np.random.default_rng(1)
    camera_from_ct, centre = rigid(0.4, -0.8, 1.1, 50, -30, 800), np.array([20.0, -150.0, -400.0])
    root = rng.normal(0, 1, (6, 6)) * np.array([[2e-4]] * 3 + [[0.3]] * 3)
    twist_covariance = root @ root.T
    centre_in_camera = camera_from_ct[:3, :3] @ centre + camera_from_ct[:3, 3]
    xi = rng.multivariate_normal(np.zeros(6), twist_covariance, 20_000)
    turns = se3.exp(torch.from_numpy(np.c_[xi[:, :3], np.zeros_like(xi[:, 3:])])).numpy()
    # exp(xi) about the centre; omega is so small that its v part is v.
    from_centre = camera_from_ct[:3, 3] - centre_in_camera
    origins = centre_in_camera + turns[:, :3, :3] @ from_centre + xi[:, 3:]
    expected = np.cov(np.c_[origins / 1000, xi[:, :3]].T)
    covariance = c.covariance_of_origin(camera_from_ct, twist_covariance, centre)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((covariance - expected) / scale).max() < 0.03
    assert np.array_equal(covariance, covariance.T) and np.linalg.eigvalsh(covariance).min() > 0


def test_a_pure_shift_keeps_its_covariance_and_needs_no_centre():
    covariance = c.covariance_of_origin(
        rigid(0.1, 0.2, 0.3, 1, 2, 3), np.diag([0, 0, 0, 1.0, 4.0, 9.0]), np.array([7.0, 8.0, 9.0])
    )
    assert np.allclose(covariance, np.diag([1e-6, 4e-6, 9e-6, 0, 0, 0]))


def test_an_unknown_pose_cannot_be_mistaken_for_the_identity():
    message = c.unknown_pose()
    assert np.isnan([message.pose.orientation.w, message.pose.position.x]).all()
    assert np.isnan(message.covariance).all()


@PATIENT
@given(st.integers(0, 2**31 - 1), st.integers(0, 999_999_999))
def test_stamps_make_the_round_trip(sec, nanosec):
    stamp_ns = sec * 10**9 + nanosec
    assert c.nanoseconds(c.time_message(stamp_ns)) == stamp_ns


def test_lps_and_ras_differ_by_half_a_turn_about_z():
    left_of_patient = np.array([1.0, 2.0, 3.0, 1.0])
    assert np.array_equal(c.PATIENT_FROM_RAS @ left_of_patient, [-1, -2, 3, 1])
    assert np.linalg.det(c.PATIENT_FROM_RAS) == 1


def test_a_covariance_of_the_origin_leads_back_to_that_about_the_centre():
    rng = np.random.default_rng(5)
    root = rng.normal(0, 1, (6, 6))
    about_centre, pose = root @ root.T, rigid(*rng.normal(0, 1, 6))
    centre = np.array([-300.0, 20.0, -700.0])
    of_origin = c.covariance_of_origin(pose, about_centre, centre)
    assert np.allclose(c.covariance_of_centre(pose, of_origin, centre), about_centre, rtol=1e-6)


def test_shifts_of_which_nothing_is_known_are_not_made_up_from_rotations():
    covariance = np.diag([0, 0, 0, 0.01, 0.02, 0.03])
    carried = c.covariance_of_centre(np.eye(4), covariance, np.array([0, 0, 700.0]))
    assert np.allclose(carried, np.diag([0.01, 0.02, 0.03, 0, 0, 0]))
