"""The node's ears: topics in, matched and checked views out."""

import threading
from collections.abc import Callable
from dataclasses import replace

from geometry_msgs.msg import PoseStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from sph_reg_ros.errors import ImageError, RegistrationError
from sph_reg_ros.ros.auto_subscription import AutoSubscription
from sph_reg_ros.ros.conversions import NANOSECONDS, nanoseconds
from sph_reg_ros.ros.image_conversions import array_from_image
from sph_reg_ros.ros.matching import Match, Matcher, Sample
from sph_reg_ros.ros.parameters import NodeParameters
from sph_reg_ros.ros.view_messages import require_header, view_from_messages
from sph_reg_ros.ros.views import XRayView

POLL_PERIOD_S = 0.05
FOLLOW_EVERY = 10


class XRayInput:
    """Subscribes while the node is active and hands on what was matched, or why it was not."""

    def __init__(
        self,
        node: Node,
        parameters: Callable[[], NodeParameters],
        on_view: Callable[[XRayView], None],
        on_refused: Callable[[Image, RegistrationError], None],
    ) -> None:
        """Subscribe.

        Args:
            node: the node.
            parameters: gives the present parameters.
            on_view: gets each matched view.
            on_refused: gets each image that cannot be used, and the reason.
        """
        self._node, self._parameters = node, parameters
        self._on_view, self._on_refused = on_view, on_refused
        self._lock = threading.Lock()
        self._polls = 0
        # An image must not wait for ever when simulated time stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.received = 0
        tree = parameters()
        self._matcher = self._new_matcher()
        group = MutuallyExclusiveCallbackGroup()
        topics = [
            (Image, 'image', self._on_image, 1),
            (CameraInfo, 'camera_info', self._on_info, 10),
        ]
        if tree.use_imager_pose:
            topics.append((PoseStamped, 'imager_pose', self._on_pose, 50))
        self._subscriptions = [
            AutoSubscription(
                node, *topic[:3], depth=topic[3], reliability=tree.image.reliability, group=group
            )
            for topic in topics
        ]
        self._timer = node.create_timer(
            POLL_PERIOD_S, self._on_timer, callback_group=group, clock=self._steady
        )

    @property
    def dropped(self) -> int:
        """Return how many images gave way to newer ones while they waited for companions."""
        return self._matcher.dropped

    def forget(self) -> None:
        """Drop every image, camera and imager pose that waits."""
        with self._lock:
            self._matcher = self._new_matcher()

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            subscription.destroy()

    def _new_matcher(self) -> Matcher:
        tree = self._parameters()
        return Matcher(
            tree.matching.max_time_difference,
            tree.matching.timeout,
            needs_imager_pose=tree.use_imager_pose,
        )

    def _on_image(self, image: Image) -> None:
        self.received += 1
        try:
            stamp_ns = require_header(image)
            # A broken image is refused for what it is, not for lack of companions later.
            array_from_image(image)
        except ImageError as error:
            self._on_refused(image, error)
            return
        sample = Sample(stamp_ns, image.header.frame_id, image, (image.height, image.width))
        with self._lock:
            self._matcher.add_image(sample, self._now_s())
        self._hand_on()

    def _on_info(self, info: CameraInfo) -> None:
        stamp_ns, size = nanoseconds(info.header.stamp), (info.height, info.width)
        with self._lock:
            self._matcher.add_camera(Sample(stamp_ns, info.header.frame_id, info, size))
        self._hand_on()

    def _on_pose(self, pose: PoseStamped) -> None:
        stamp_ns = nanoseconds(pose.header.stamp)
        with self._lock:
            self._matcher.add_imager_pose(Sample(stamp_ns, pose.header.frame_id, pose))
        self._hand_on()

    def _on_timer(self) -> None:
        self._polls += 1
        if self._polls % FOLLOW_EVERY == 0:
            for subscription in self._subscriptions:
                subscription.follow_publishers()
        self._hand_on()

    def _hand_on(self) -> None:
        with self._lock:
            matches = self._matcher.poll(self._now_s())
        for match in matches:
            try:
                view = self._view(match)
            except RegistrationError as error:
                self._on_refused(match.image.value, error)
            else:
                self._on_view(view)

    def _view(self, match: Match) -> XRayView:
        if match.error is not None:
            raise match.error
        assert match.camera is not None
        pose = match.imager_pose.value if match.imager_pose else None
        rectified = self._parameters().image.rectified
        view = view_from_messages(match.image.value, match.camera.value, pose, rectified=rectified)
        return replace(view, warnings=match.warnings)

    def _now_s(self) -> float:
        return self._steady.now().nanoseconds / NANOSECONDS
