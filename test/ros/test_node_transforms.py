"""A C-arm, a table and an initial pose that the live node finds on /tf and /tf_static."""

import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros.actions import OFFSET, finish, goal_for, send
from ros.harness import FIXED, IMAGER, Client, error_mm, moved, sound_node, xray_messages
from sph_reg_ros.msg import RegistrationResult
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.messages.conversions import pose_from_matrix, transform_message
from sph_reg_ros.ros.transforms import TF_QOS, TF_STATIC_QOS

pytestmark = pytest.mark.ros
MS = 1_000_000
SPACE = '/frames'
PATIENT = 'patient_of_frames'
MOUNT = moved(np.eye(4), 0.3, -0.7, 1.9, 20.0, -300.0, 450.0)
FIXED_FROM_TABLE = moved(np.eye(4), 1.0, 0.2, -0.4, 100.0, 200.0, -300.0)


@pytest.fixture(scope='module')
def node(ct_path, tmp_path_factory):
    log = tmp_path_factory.mktemp('log') / 'node.log'
    settings = {
        'imager_pose__source': 'tf',
        'imager_pose__fixed_frame': FIXED,
        'frames__patient': PATIENT,
        'namespace': SPACE,
    }
    with sound_node(log, ct__path=ct_path, autostart=True, **settings) as process:
        yield process


@pytest.fixture(scope='module')
def client(node, scene):
    with Client(namespace=SPACE) as client:
        client.publishers.tf = client.node.create_publisher(TFMessage, '/tf', TF_QOS)
        client.publishers.tf_static = client.node.create_publisher(
            TFMessage, '/tf_static', TF_STATIC_QOS
        )
        static = [
            transform_message(MOUNT, 'arm', IMAGER, 1),
            transform_message(FIXED_FROM_TABLE, FIXED, 'table', 1),
        ]
        client.publishers.tf_static.publish(TFMessage(transforms=static))
        client.wait_until_heard()
        client.spin_until(lambda: client.publishers.tf.get_subscription_count() > 1)
        client.spin_until(lambda: client.publishers.tf_static.get_subscription_count() > 1)
        tell(client, moved(scene.fixed_from_patient, *OFFSET), FIXED)
        yield client


def tell(client, matrix, frame: str, covariance=None) -> None:
    """Publish an initial pose."""
    message = PoseWithCovarianceStamped(header=Header(frame_id=frame))
    message.pose.pose = pose_from_matrix(matrix)
    if covariance is not None:
        message.pose.covariance = np.diag(covariance).reshape(36)
    client.publishers.initial_pose.publish(message)
    client.spin(0.2)


def move_arm(client, scene, stamp_ns: int) -> None:
    arm = scene.fixed_from_imager @ np.linalg.inv(MOUNT)
    client.publishers.tf.publish(
        TFMessage(transforms=[transform_message(arm, FIXED, 'arm', stamp_ns)])
    )


def expose(client, scene) -> int:
    """Publish an X-ray between two transforms of the arm, the second one late."""
    messages = xray_messages(scene, 1)
    stamp = client.new_stamp()
    move_arm(client, scene, stamp - 30 * MS)
    publish(client, messages, stamp)
    client.spin(0.3)
    move_arm(client, scene, stamp + 20 * MS)
    return stamp


def publish(client, messages, stamp: int) -> None:
    for name in ('camera_info', 'image'):
        message = getattr(messages, name)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        getattr(client.publishers, name).publish(message)


def registered(client, scene) -> RegistrationResult:
    stamp = expose(client, scene)
    result = client.result_of(stamp)
    assert result.verdict == RegistrationResult.VERIFIED, result.error_message
    patient = client.lookup(FIXED, PATIENT, stamp)
    assert error_mm(patient, scene.fixed_from_patient, scene) < 1.0
    return result


def set_parameters(client, **values) -> None:
    kinds = {bool: ('BOOL', 'bool_value'), str: ('STRING', 'string_value')}
    parameters = []
    for name, value in values.items():
        kind, field = kinds[type(value)]
        value = ParameterValue(type=getattr(ParameterType, f'PARAMETER_{kind}'), **{field: value})
        parameters.append(Parameter(name=name.replace('__', '.'), value=value))
    request = SetParameters.Request(parameters=parameters)
    results = client.call(SetParameters, 'set_parameters', request).results
    assert all(result.successful for result in results), results


def test_the_imagers_pose_is_looked_up_at_the_stamp_and_waited_for(client, scene):
    registered(client, scene)
    registered(client, scene.turned(0.5))


def test_an_image_without_transform_is_refused_with_frames_stamp_and_newest(client, scene):
    registered(client, scene)
    stamp = client.new_stamp() + 500 * MS
    time.sleep(0.5)
    publish(client, xray_messages(scene, 1), stamp)
    result = client.result_of(stamp)
    assert result.error.code == ErrorCode.IMAGER_POSE_MISSING
    for word in (FIXED, IMAGER, 'arm', f'{stamp / 1e9:.3f}', 'newest'):
        assert word in result.error_message, result.error_message
    registered(client, scene)


def test_an_initial_pose_may_be_given_on_the_table(client, scene):
    on_table = np.linalg.inv(FIXED_FROM_TABLE) @ moved(scene.fixed_from_patient, *OFFSET)
    tell(client, on_table, 'table')
    registered(client, scene)
    tell(client, on_table, 'moon')
    result = client.result_of(expose(client, scene))
    assert result.error.code == ErrorCode.TRANSFORM_MISSING
    assert "'moon'" in result.error_message and FIXED in result.error_message
    tell(client, on_table, PATIENT)  # the node's own answer is no evidence for it
    assert client.result_of(expose(client, scene)).error.code == ErrorCode.TRANSFORM_MISSING
    tell(client, moved(scene.fixed_from_patient, *OFFSET), FIXED)


def test_the_covariance_of_the_initial_pose_says_how_far_the_result_may_lie(client, scene):
    start = moved(scene.fixed_from_patient, *OFFSET)
    tell(client, start, FIXED, [1e-6] * 3 + [1e-6] * 3)
    result = client.result_of(expose(client, scene))
    assert result.error.code == ErrorCode.FAR_FROM_PRIOR, result.error_message
    tell(client, start, FIXED, [1e-4] * 3 + [2.5e-3] * 3)
    registered(client, scene)
    tell(client, start, FIXED, [100.0] * 6)
    assert any('search_depth_mm' in warning for warning in registered(client, scene).warnings)
    tell(client, start, FIXED)


def test_a_goal_finds_arm_and_table_on_tf_too(client, scene):
    stamp = client.new_stamp()
    for offset in (-20 * MS, 20 * MS):
        move_arm(client, scene, stamp + offset)
    on_table = np.linalg.inv(FIXED_FROM_TABLE) @ moved(scene.fixed_from_patient, *OFFSET)
    goal = goal_for([scene], on_table, 'table', stamp)
    goal.imager_poses = []
    status, result = finish(client, send(client, goal))
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_message
    patient = client.lookup(FIXED, PATIENT, stamp)
    assert error_mm(patient, scene.fixed_from_patient, scene) < 1.0
    goal.initial_pose.header.frame_id = 'moon'
    status, result = finish(client, send(client, goal))
    assert (status, result.error.code) == (
        GoalStatus.STATUS_ABORTED,
        ErrorCode.TRANSFORM_MISSING,
    )


def test_without_imager_pose_tf_is_heard_only_for_a_frame_that_it_has_to_relate(client, scene):
    heard = client.publishers.tf.get_subscription_count
    assert client.change_state('deactivate')
    client.spin_until(lambda: heard() == 1)  # the client's own
    set_parameters(client, use_imager_pose=False)
    assert client.change_state('activate')
    tell(client, moved(scene.camera_from_ct, *OFFSET), IMAGER)
    client.wait_until_heard()
    stamp = client.new_stamp()
    publish(client, xray_messages(scene, stamp), stamp)
    assert client.result_of(stamp).verdict == RegistrationResult.VERIFIED
    client.spin_until(lambda: heard() == 1)
    tell(client, np.linalg.inv(FIXED_FROM_TABLE) @ scene.fixed_from_patient, 'table')
    client.spin_until(lambda: heard() == 2)
    stamp = expose(client, scene)
    result = client.result_of(stamp)
    assert result.verdict == RegistrationResult.VERIFIED, result.error_message
    patient = client.lookup(IMAGER, PATIENT, stamp)
    assert error_mm(patient, scene.camera_from_ct, scene) < 1.0
    # What moved while nobody listened is not interpolated.
    tell(client, moved(scene.camera_from_ct, *OFFSET), IMAGER)
    client.spin_until(lambda: heard() == 1)
    tell(client, np.linalg.inv(FIXED_FROM_TABLE) @ scene.fixed_from_patient, 'table')
    client.spin_until(lambda: heard() == 2)
    stamp = client.new_stamp()
    publish(client, xray_messages(scene, stamp), stamp)
    move_arm(client, scene, stamp + 20 * MS)
    assert client.result_of(stamp).error.code == ErrorCode.TRANSFORM_MISSING
