"""The action ~/register, with a node that registers nothing on its own."""

import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from action_msgs.msg import GoalStatus
from ros.actions import OFFSET, finish, goal_for, send
from ros.harness import (
    FIXED,
    IMAGER,
    Client,
    NodeProcess,
    error_mm,
    moved,
)
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.messages.conversions import matrix_from_pose

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def client(ct_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp('node')
    with (
        NodeProcess(folder / 'log', ct__path=ct_path, autostart=True, continuous=False) as node,
        Client() as client,
    ):
        node.wait_for_log('activate: done', 90)
        client.wait_until_heard()
        yield client
        client.action.destroy()
        assert 'Traceback' not in node.log, node.log


def test_a_goal_needs_no_initial_pose(client, scene):
    status, result = finish(client, send(client, goal_for([scene])))
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_message
    pose = matrix_from_pose(result.result.pose.pose)
    assert error_mm(pose, scene.camera_from_ct, scene) < 1.0


def test_given_images_are_registered_with_feedback(client, scene):
    feedback = []
    start = moved(scene.fixed_from_patient, *OFFSET)
    handle = send(client, goal_for([scene], start), feedback.append)
    status, result = finish(client, handle)
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_message
    pose = matrix_from_pose(result.result.pose.pose)
    assert error_mm(pose, scene.camera_from_ct, scene) < 1.0
    assert len(feedback) >= 3
    assert feedback[0].feedback.stage and feedback[-1].feedback.elapsed > 0
    assert feedback[-1].feedback.stage.startswith('verify')


def test_an_initial_pose_in_the_imager_frame_needs_no_imager_pose(client, scene):
    goal = goal_for([scene], moved(scene.camera_from_ct, *OFFSET), IMAGER)
    goal.imager_poses = []
    status, result = finish(client, send(client, goal))
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_message
    stamp = result.result.header.stamp
    patient = client.lookup(IMAGER, 'patient', stamp.sec * 10**9 + stamp.nanosec)
    assert error_mm(patient, scene.camera_from_ct, scene) < 1.0


def test_two_views_make_one_result(client, scene):
    start = moved(scene.fixed_from_patient, *OFFSET)
    status, result = finish(client, send(client, goal_for([scene, scene.turned(1.2)], start)))
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_message
    assert result.result.views == 2
    pose = matrix_from_pose(result.result.pose.pose)
    assert error_mm(pose, scene.camera_from_ct, scene) < 0.6


def test_the_next_image_is_registered_and_no_other(client, scene):
    client.publish_initial_pose(moved(scene.fixed_from_patient, *OFFSET))
    known = len(client.received['result'])
    client.publish_xray(scene)
    client.spin(0.5)
    assert len(client.received['result']) == known  # continuous is false
    handle = send(client, goal_for())
    client.spin(0.2)
    stamp = client.publish_xray(scene)
    client.publish_xray(scene)
    status, result = finish(client, handle)
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_message
    assert result.result.header.stamp == client.result_of(stamp).header.stamp
    client.lookup(FIXED, 'patient', stamp)
    client.spin(0.5)
    assert len(client.received['result']) == known + 1


def test_a_second_goal_is_rejected_while_one_runs_and_the_first_can_be_cancelled(client):
    handle = send(client, goal_for())
    assert handle.accepted and not send(client, goal_for()).accepted
    start = time.monotonic()
    cancel = handle.cancel_goal_async()
    client.spin_until(cancel.done)
    status, result = finish(client, handle)
    assert (status, result.error.code) == (GoalStatus.STATUS_CANCELED, ErrorCode.CANCELLED)
    assert time.monotonic() - start < 1.0
    assert send_and_cancel(client) == GoalStatus.STATUS_CANCELED  # and the next is accepted


def send_and_cancel(client) -> int:
    handle = send(client, goal_for())
    client.spin_until(handle.cancel_goal_async().done)
    return finish(client, handle)[0]


def test_a_running_registration_can_be_cancelled(client, scene):
    feedback = []
    start = moved(scene.fixed_from_patient, *OFFSET)
    handle = send(client, goal_for([scene, scene.turned(0.8)], start), feedback.append)
    client.spin_until(lambda: feedback)
    handle.cancel_goal_async()
    status, result = finish(client, handle)
    assert (status, result.error.code) == (GoalStatus.STATUS_CANCELED, ErrorCode.CANCELLED)
    assert client.status(RegistrationStatus.READY)


def test_a_goal_that_no_image_comes_for_times_out(client):
    status, result = finish(client, send(client, goal_for(timeout=0.3)))
    assert (status, result.error.code) == (GoalStatus.STATUS_ABORTED, ErrorCode.TIMEOUT)


def set_later(header) -> None:
    header.stamp.sec += 3600


@pytest.mark.parametrize(
    ('spoil', 'code'),
    [
        (lambda goal: setattr(goal, 'timeout', -1.0), ErrorCode.CONFIG_INVALID),
        (lambda goal: setattr(goal, 'timeout', float('nan')), ErrorCode.CONFIG_INVALID),
        (lambda goal: goal.camera_infos.pop(), ErrorCode.IMAGE_LAYOUT),
        # A transform of the future would make tf2 refuse all later ones.
        (lambda goal: set_later(goal.images[1].header), ErrorCode.IMAGE_STAMP),
        (lambda goal: goal.imager_poses.pop(), ErrorCode.IMAGER_POSE_MISSING),
        (lambda goal: setattr(goal.images[0], 'encoding', 'x'), ErrorCode.IMAGE_ENCODING),
        (lambda goal: goal.initial_pose.pose.covariance.fill(-1.0), ErrorCode.POSE_INVALID),
        (
            lambda goal: setattr(goal.imager_poses[1].header, 'frame_id', 'table'),
            ErrorCode.POSE_INVALID,
        ),
    ],
)
def test_a_goal_that_does_not_add_up_is_aborted_with_the_reason(client, scene, spoil, code):
    goal = goal_for([scene, scene.turned(0.5)], scene.fixed_from_patient)
    spoil(goal)
    status, result = finish(client, send(client, goal))
    assert (status, result.error.code) == (GoalStatus.STATUS_ABORTED, code), result.error_message
    assert result.result.verdict != RegistrationResult.VERIFIED


def test_an_inactive_node_aborts_goals(client, scene):
    assert client.change_state('deactivate')
    status, result = finish(client, send(client, goal_for()))
    assert (status, result.error.code) == (GoalStatus.STATUS_ABORTED, ErrorCode.NOT_ACTIVE)
    assert np.isnan([result.result.pose.pose.position.x, result.result.tre_p95]).all()
