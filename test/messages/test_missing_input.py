"""What is said of an input from which nothing comes."""

import pytest

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.messages.missing_input import SilentInput, compressed_topic, missing_error

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
RAW = SilentInput('image', '/arm/image', IMAGE)
PACKED = SilentInput('image', '/arm/image/compressed', COMPRESSED)
INFO = SilentInput('camera_info', '/arm/camera_info', 'sensor_msgs/msg/CameraInfo')
TF = SilentInput('tf', '/tf', 'tf2_msgs/msg/TFMessage')
POSE = SilentInput('imager_pose', '/arm/imager_pose', 'geometry_msgs/msg/PoseStamped')


@pytest.mark.parametrize(
    ('silent', 'published', 'words'),
    [
        (RAW, {}, ('nobody publishes /arm/image (sensor_msgs/msg/Image)', 'start what')),
        (RAW, {'/c/image': [IMAGE]}, ('nobody publishes /arm/image', 'remap image to', '/c/image')),
        (
            RAW,
            {'/arm/image/compressed': [COMPRESSED]},
            ('but /arm/image/compressed', 'set image.transport to compressed'),
        ),
        (
            RAW,
            {'/arm/image': [COMPRESSED]},
            ('/arm/image is of type', 'CompressedImage', 'set image.transport to compressed'),
        ),
        (PACKED, {'/arm/image': [IMAGE]}, ('but /arm/image', 'set image.transport to raw')),
        (RAW, {'/arm/image': ['std_msgs/msg/String']}, ('std_msgs/msg/String, not', 'remap image')),
        (RAW, {'/arm/image': [IMAGE]}, ('nothing has arrived on /arm/image', 'take an X-ray')),
        (POSE, {}, ('nobody publishes /arm/imager_pose', 'set use_imager_pose to false')),
        (TF, {'/tf': [TF.kind]}, ('/tf_static', 'set imager_pose.source to topic')),
        (INFO, {'/arm/camera_info': [INFO.kind]}, ('nothing has arrived on /arm/camera_info',)),
        (
            SilentInput('image', '/arm/image', IMAGE, incompatible=True),
            {'/arm/image': [IMAGE]},
            ('/arm/image', 'image.reliability to auto'),
        ),
    ],
)
def test_the_topic_and_the_way_out_are_named(silent, published, words):
    error = missing_error([silent], published)
    assert error is not None and all(word in str(error) for word in words), str(error)


def test_all_silent_inputs_are_named_and_the_first_gives_the_code():
    error = missing_error([INFO, POSE], {})
    assert error.code == ErrorCode.CAMERA_MISSING
    assert '/arm/camera_info' in str(error) and '/arm/imager_pose' in str(error)
    assert missing_error([RAW, INFO], {}).code == ErrorCode.IMAGE_MISSING
    assert missing_error([], {'/arm/image': [IMAGE]}) is None


def test_a_topic_that_is_named_compressed_already_stays():
    assert compressed_topic('/arm/image') == '/arm/image/compressed'
    assert compressed_topic('/arm/image/compressed') == '/arm/image/compressed'
