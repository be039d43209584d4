"""Messages without ROS are the same as those of ROS."""

import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.messages import conversions, image_conversions
from sph_reg_ros.messages.message_types import ros_message
from sph_reg_ros.replay.bag_messages import bag_message, bag_types
from sph_reg_ros.service.result_messages import refusal_message

KINDS = (
    *('geometry_msgs/PoseWithCovarianceStamped', 'geometry_msgs/TransformStamped'),
    *('sensor_msgs/Image', 'sensor_msgs/CameraInfo', 'tf2_msgs/TFMessage'),
    *('sph_reg_ros/RegistrationResult', 'sph_reg_ros/RegistrationStatus', 'sph_reg_ros/Check'),
)


def content(message):
    """Return a message of either kind as plain nested values."""
    if hasattr(message, 'get_fields_and_field_types'):
        return {
            name: content(getattr(message, name)) for name in message.get_fields_and_field_types()
        }
    if hasattr(message, '__msgtype__'):
        fields = bag_types().fielddefs[message.__msgtype__][1]
        return {name: content(getattr(message, name)) for name, _ in fields}
    if isinstance(message, list | tuple | np.ndarray | array.array):
        return [content(item) for item in message]
    return message.item() if isinstance(message, np.generic) else message


def test_what_is_not_given_is_zero():
    pose = bag_message('geometry_msgs/PoseWithCovarianceStamped')
    assert pose.header.frame_id == '' and pose.pose.covariance.tolist() == [0.0] * 36


def test_a_field_that_is_not_there_is_refused():
    with pytest.raises(TypeError, match='colour'):
        bag_message('geometry_msgs/Point', colour=1)


@pytest.mark.parametrize('kind', KINDS)
def test_messages_survive_a_trip_through_bytes(kind):
    message = bag_message(kind)
    name = message.__msgtype__
    data = bag_types().serialize_cdr(message, name)
    assert content(bag_types().deserialize_cdr(data, name)) == content(message)


@pytest.mark.ros
@pytest.mark.parametrize('kind', KINDS)
def test_a_new_message_has_the_fields_and_defaults_of_ros(kind):
    assert content(ros_message(kind)) == content(bag_message(kind))


@pytest.mark.ros
def test_poses_and_images_become_the_same_message_with_and_without_ros():
    rng = np.random.default_rng(0)
    matrix = np.eye(4)
    matrix[:3, 3] = rng.normal(size=3) * 100
    for build in (conversions.pose_from_matrix, conversions.transform_from_matrix):
        assert content(build(matrix, bag_message)) == content(build(matrix))
    pixels = rng.integers(0, 65535, (5, 7), dtype=np.uint16)
    K = np.array([[500.0, 0, 3], [0, 510.0, 2], [0, 0, 1]])
    made = []
    for new in (ros_message, bag_message):
        header = conversions.header_message(1_234_567_890_123, 'imager', new)
        image = image_conversions.image_from_array(pixels, header, new)
        info = image_conversions.camera_info_from_intrinsics(K, (5, 7), header, new)
        made.append((content(image), content(info)))
    assert made[0] == made[1]


@pytest.mark.ros
def test_a_refusal_is_the_same_message_with_and_without_ros():
    error = SolverError(ErrorCode.NO_OVERLAP, 'nothing in view')
    texts = []
    for new in (ros_message, bag_message):
        header = conversions.header_message(5, 'imager', new)
        message = refusal_message(error, header, 'patient', 'abc', new)
        texts.append(repr(content(message)))
    assert texts[0] == texts[1]


@given(st.integers(0, 2**31 * conversions.NANOSECONDS - 1))
def test_stamps_survive_messages(stamp_ns):
    assert conversions.nanoseconds(conversions.time_message(stamp_ns, bag_message)) == stamp_ns
