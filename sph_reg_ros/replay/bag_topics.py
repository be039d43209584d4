"""Maps topics of a bag to inputs of the node."""

from collections.abc import Iterable

from rosbags.interfaces import Connection

from sph_reg_ros.errors import require_setting

POSE_TYPES = ('PoseStamped', 'PoseWithCovarianceStamped')
INPUTS = {
    'image': ('Image',),
    'camera_info': ('CameraInfo',),
    'imager_pose': ('PoseStamped',),
    'initial_pose': ('PoseWithCovarianceStamped',),
    'tf': ('TFMessage',),
    'tf_static': ('TFMessage',),
}
"""The node's inputs and the types that they must have."""
IMAGE_TYPES = {'raw': ('Image',), 'compressed': ('CompressedImage',)}
"""The same of images, by image.transport."""
TRANSFORMS = ('tf', 'tf_static')
"""Read only where they are needed: they may be many."""
KNOWN_BEFORE = ('initial_pose', 'camera_info', 'tf_static')
"""Said once, by many: the first message of each counts from the beginning of the bag."""


def named_topics(texts: Iterable[str]) -> dict[str, str]:
    """Return topics by input from texts `name:=topic`; raises ConfigError."""
    names = {}
    for text in texts:
        name, sign, topic = text.partition(':=')
        known = ', '.join(INPUTS)
        require_setting(bool(sign and topic), f'{text!r} is not NAME:=TOPIC')
        require_setting(name in INPUTS, f'{name!r} is no input: there are {known}')
        names[name] = topic
    return names


def is_a(connection: Connection, kinds: tuple[str, ...]) -> bool:
    """Return whether the messages of a topic are of one of these types, named without package."""
    return connection.msgtype.rsplit('/', 1)[-1] in kinds
