"""Subscribes to the inputs; emits matched, validated X-ray views."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.messages.conversions import NANOSECONDS
from sph_reg_ros.messages.image_age import require_present
from sph_reg_ros.messages.missing_input import SilentInput, compressed_topic, missing_error
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.ros.auto_subscription import AutoSubscription
from sph_reg_ros.ros.transforms import TransformListener
from sph_reg_ros.service.frames import Frames
from sph_reg_ros.service.image_counts import ImageCounts
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.xray_stream import XRayStream

POLL_PERIOD_S = 0.05
FOLLOW_EVERY = 10
PATIENCE_S = 2.5
"""Discovery takes a second; silence that lasts longer is told."""

_Topic = tuple[str, type, str, Callable[[Any], None], int]
"""Name of the input, message class, topic, callback, depth."""


class XRayInput:
    """Subscribes while the node is active and hands on what was matched, or why it was not.

    Attributes:
        frames: what tf2 says.
    """

    def __init__(
        self,
        node: Node,
        parameters: Callable[[], NodeParameters],
        initial: Callable[[], InitialPose | None],
        others: Callable[[], InitialPose | None],
        on_waiting: Callable[[int], None],
        on_view: Callable[[XRayView, Frames], None],
        on_refused: Callable[[Header, RegistrationError], None],
        on_missing: Callable[[RegistrationError | None], None],
    ) -> None:
        """Subscribe.

        Args:
            node: the node.
            parameters: gives the present parameters.
            initial: gives the initial pose that X-rays wait for until it can be related to them.
            others: gives one that somebody else relates to X-rays.
            on_waiting: gets the stamp (ns) of each image that may become a view.
            on_view: gets each matched view, and what tf2 says.
            on_refused: gets the header of each image that cannot be used, and the reason.
            on_missing: gets again and again which inputs are silent, None if none is.
        """
        self._node, self._parameters = node, parameters
        self._initials = initial, others
        self.frames = Frames(parameters)
        self._stream = XRayStream(
            parameters,
            self.frames,
            lambda view: on_view(view, self.frames),
            on_refused,
            initial,
            self._require_present,
            on_waiting,
        )
        self._lock, self._closed = threading.Lock(), False
        self._polls, self._on_missing = 0, on_missing
        # An image must not wait for ever when simulated time stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        tree = parameters()
        reliability = tree.image.reliability
        group = MutuallyExclusiveCallbackGroup()
        topics: list[_Topic] = [
            self._image_topic(tree.image.transport),
            ('camera_info', CameraInfo, 'camera_info', self._on_info, 10),
        ]
        if tree.imager_from_topic:
            topics.append(('imager_pose', PoseStamped, 'imager_pose', self._on_pose, 50))
        self._subscriptions = {
            name: AutoSubscription(
                node, kind, topic, take, depth=depth, reliability=reliability, group=group
            )
            for name, kind, topic, take, depth in topics
        }
        # What is said while images are worked on must not be missed.
        self._transform_group = MutuallyExclusiveCallbackGroup()
        self._listener: TransformListener | None = None
        self._follow_transforms()
        self._since_s = self._now_s()
        self._timer = node.create_timer(
            POLL_PERIOD_S, self._on_timer, callback_group=group, clock=self._steady
        )

    @property
    def counts(self) -> ImageCounts:
        """Return how many images came in since, and how many did not get further."""
        lost = self._subscriptions['image'].missing
        return ImageCounts(self._stream.received, self._stream.dropped, lost)

    def forget(self) -> None:
        """Drop every image, camera, imager pose and transform, but for static ones."""
        with self._lock:
            self._stream.forget()

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            subscription.destroy()
        with self._lock:
            self._closed = True
        self._follow_transforms()

    def _image_topic(self, transport: str) -> _Topic:
        if transport == 'raw':
            return 'image', Image, 'image', self._on_image, 1
        # As image_transport names it: what image is remapped to, and compressed below that.
        topic = compressed_topic(self._node.resolve_topic_name('image'))
        return 'image', CompressedImage, topic, self._on_image, 1

    def _on_image(self, image: Image | CompressedImage) -> None:
        self._take(lambda: self._stream.add_image(image, self._now_s()))

    def _on_info(self, info: CameraInfo) -> None:
        self._take(lambda: self._stream.add_camera_info(info))

    def _on_pose(self, pose: PoseStamped) -> None:
        self._take(lambda: self._stream.add_imager_pose(pose))

    def _on_timer(self) -> None:
        self._polls += 1
        if self._polls % FOLLOW_EVERY == 0:
            for subscription in self._subscriptions.values():
                subscription.follow_publishers()
            if self._now_s() - self._since_s > PATIENCE_S:
                self._tell_missing()
        self._follow_transforms()
        self._take(lambda: None)

    def _on_transforms(self) -> None:
        if self._stream.waiting:
            self._take(lambda: None)

    def _follow_transforms(self) -> None:
        """Listen to tf2 while it is of use: all that a robot says is much to hear."""
        initials = [initial() for initial in self._initials]
        needed = self.frames.needed(initials, self._stream.direct_frames)
        with self._lock:
            needed = needed and not self._closed
            if needed and self._listener is None:
                self._listener = TransformListener(
                    self._node, self.frames.buffer, self._transform_group, self._on_transforms
                )
            elif not needed and self._listener is not None:
                self._listener.destroy()
                self._listener = None
                # What moved unheard must not be interpolated from before to after.
                self.frames.buffer.clear()

    def _tell_missing(self) -> None:
        silent = [
            SilentInput(name, one.name, one.type_name, one.incompatible)
            for name, one in self._subscriptions.items()
            if not one.heard
        ]
        if self._parameters().imager_from_tf and self.frames.buffer.empty:
            silent.append(SilentInput('tf', '/tf', 'tf2_msgs/msg/TFMessage'))
        self._on_missing(missing_error(silent, self._published(silent) if silent else {}))

    def _published(self, silent: Sequence[SilentInput]) -> dict[str, list[str]]:
        """Return the types of topics of other nodes that may explain silent inputs.

        Each topic costs a query, a robot has hundreds, and an X-ray may be hours away.
        """
        found, own = {}, (self._node.get_namespace(), self._node.get_name())
        for topic, kinds in self._node.get_topic_names_and_types():
            if not any(one.may_be_explained_by(topic, kinds) for one in silent):
                continue
            infos = self._node.get_publishers_info_by_topic(topic)
            # Our own pictures are no X-rays.
            foreign = {i.topic_type for i in infos if (i.node_namespace, i.node_name) != own}
            if foreign:
                found[topic] = sorted(foreign)
        return found

    def _take(self, add: Callable[[], None]) -> None:
        with self._lock:
            add()
            matches = self._stream.matches(self._now_s())
        self._stream.hand_on(matches)

    def _require_present(self, stamp_ns: int) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        require_present(stamp_ns, now_ns, self._parameters().image.max_age)

    def _now_s(self) -> float:
        return self._steady.now().nanoseconds / NANOSECONDS
