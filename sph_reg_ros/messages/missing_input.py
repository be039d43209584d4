"""Explains why an input stays silent, by topic, and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError, PoseError, RegistrationError

COMPRESSED = '/compressed'
"""What image_transport appends to the name of an image topic."""
_IMAGE, _COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
_ERRORS = {
    'image': (ImageError, ErrorCode.IMAGE_MISSING),
    'camera_info': (CameraError, ErrorCode.CAMERA_MISSING),
    'imager_pose': (PoseError, ErrorCode.IMAGER_POSE_MISSING),
    'tf': (PoseError, ErrorCode.IMAGER_POSE_MISSING),
}
_OTHERWISE = {'imager_pose': ', or set use_imager_pose to false'}
_MOST_NAMED = 3


@dataclass(frozen=True)
class SilentInput:
    """An input from which nothing has come.

    Attributes:
        name: of the input: image, camera_info, imager_pose or tf.
        topic: full name.
        kind: message type that is expected, such as 'sensor_msgs/msg/Image'.
        incompatible: a publisher does not offer the reliability that was asked for.
    """

    name: str
    topic: str
    kind: str
    incompatible: bool = False

    def may_be_explained_by(self, topic: str, kinds: Sequence[str]) -> bool:
        """Return whether a topic with messages of these types may be meant, or stand in the way."""
        sibling = _sibling(self) or ()
        return self.kind in kinds or topic in (self.topic, *sibling[:1])


def compressed_topic(image_topic: str) -> str:
    """Return the topic of the compressed images, which may be named already."""
    return image_topic if image_topic.endswith(COMPRESSED) else image_topic + COMPRESSED


def missing_error(
    silent: Sequence[SilentInput], published: Mapping[str, Sequence[str]]
) -> RegistrationError | None:
    """Return what is missing; None if nothing is.

    Args:
        silent: inputs from which nothing has come.
        published: types of what is published in the graph, by topic.
    """
    if not silent:
        return None
    kind, code = _ERRORS[silent[0].name]
    return kind(code, '; '.join(_reason(one, published) for one in silent))


def _reason(silent: SilentInput, published: Mapping[str, Sequence[str]]) -> str:
    name, topic, kind = silent.name, silent.topic, silent.kind
    if name == 'tf':
        # This node is among those that publish there.
        return (
            'no transform arrives on /tf or /tf_static, where imager_pose.source tells to look: '
            'start what publishes the C-arm, or set imager_pose.source to topic'
        )
    there = published.get(topic, ())
    if kind in there and silent.incompatible:
        return (
            f'nothing arrives on {topic}, as its publisher does not offer the reliability asked '
            'for: set image.reliability to auto'
        )
    if kind in there:
        return f'nothing has arrived on {topic} yet, though it is published' + (
            ': take an X-ray' if name == 'image' else ''
        )
    if there:
        return f'{topic} is of type {", ".join(there)}, not {kind}' + _other_transport(
            silent, there
        )
    other = _sibling(silent)
    if other and other[1] in published.get(other[0], ()):
        return f'nobody publishes {topic}, but {other[0]}: set image.transport to {other[2]}'
    alike = sorted(t for t, kinds in published.items() if kind in kinds)[:_MOST_NAMED]
    hint = f'remap {name} to one of {", ".join(alike)}' if alike else f'start what publishes {name}'
    return f'nobody publishes {topic} ({kind}): {hint}{_OTHERWISE.get(name, "")}'


def _other_transport(silent: SilentInput, there: Sequence[str]) -> str:
    if silent.kind == _IMAGE and _COMPRESSED_IMAGE in there:
        return ': set image.transport to compressed'
    if silent.kind == _COMPRESSED_IMAGE and _IMAGE in there:
        return ': set image.transport to raw'
    return f': remap {silent.name}{_OTHERWISE.get(silent.name, "")}'


def _sibling(silent: SilentInput) -> tuple[str, str, str] | None:
    """Return topic, type and transport of the same images in another form."""
    if silent.kind == _IMAGE:
        return compressed_topic(silent.topic), _COMPRESSED_IMAGE, 'compressed'
    if silent.kind == _COMPRESSED_IMAGE:
        return silent.topic.removesuffix(COMPRESSED), _IMAGE, 'raw'
    return None
