"""Publishes and receives transforms, by tf2_ros where it is installed.

Where it is not, tf2_msgs/TFMessage goes over the same topics with the same QoS, and `TFBuffer`
answers lookups. Which of the two is decided once, when this module is imported.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from tf2_msgs.msg import TFMessage

from sph_reg_ros.messages.tf_buffer import TFBuffer

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

TF_QOS = QoSProfile(
    depth=100,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""QoS of /tf in tf2_ros (qos.hpp, DynamicBroadcasterQoS and DynamicListenerQoS)."""
TF_STATIC_QOS = QoSProfile(
    depth=100,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class Broadcaster(Protocol):
    """Sends transforms."""

    def sendTransform(self, transform: list[TransformStamped]) -> None:  # noqa: N802
        """Send transforms in one message; the name is tf2_ros's."""


class MessageBroadcaster:
    """tf2_ros.TransformBroadcaster without tf2_ros."""

    def __init__(self, node: Node) -> None:
        """Publish for a node on /tf."""
        self._publisher = node.create_publisher(TFMessage, '/tf', TF_QOS)

    def sendTransform(self, transform: list[TransformStamped]) -> None:  # noqa: N802
        """Send transforms in one message."""
        self._publisher.publish(TFMessage(transforms=list(transform)))


class TransformPublisher:
    """Sends transforms on /tf, by tf2_ros or without it."""

    def __init__(self, node: Node, *, use_tf2_ros: bool = tf2_ros is not None) -> None:
        """Publish for a node; `use_tf2_ros` is for tests."""
        self._broadcaster: Broadcaster = (
            tf2_ros.TransformBroadcaster(node) if use_tf2_ros else MessageBroadcaster(node)
        )

    def send(self, transforms: Sequence[TransformStamped]) -> None:
        """Send transforms in one message, so that a listener never sees half of them."""
        self._broadcaster.sendTransform(list(transforms))


class TransformListener:
    """Fills a TFBuffer from /tf and /tf_static; needs no tf2_ros."""

    def __init__(
        self,
        node: Node,
        buffer: TFBuffer,
        group: CallbackGroup | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Listen with a node.

        Args:
            node: the node.
            buffer: gets what comes.
            group: of the callbacks; the node's default one if None.
            on_change: called after each message.
        """
        self._node, self._buffer, self._on_change = node, buffer, on_change
        self._subscriptions = [
            node.create_subscription(TFMessage, topic, take, qos, callback_group=group)
            for topic, take, qos in (
                ('/tf', self._take, TF_QOS),
                ('/tf_static', self._take_static, TF_STATIC_QOS),
            )
        ]

    def destroy(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _take(self, message: TFMessage) -> None:
        self._buffer.add(message)
        self._on_change()

    def _take_static(self, message: TFMessage) -> None:
        self._buffer.add(message, static=True)
        self._on_change()
