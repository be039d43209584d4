"""A subscription that is reliable if its publishers are.

A single X-ray shot is not repeated, so it must not get lost on the way: large best-effort messages
do. A reliable subscription, on the other hand, hears nothing from a best-effort publisher.
`auto` therefore asks for reliable delivery as long as every publisher offers it, and subscribes
again as best effort once one does not.
"""

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)

from sph_reg_ros.messages.sequence_gaps import SequenceGaps

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_FIXED = {'reliable': ReliabilityPolicy.RELIABLE, 'best_effort': ReliabilityPolicy.BEST_EFFORT}


class AutoSubscription:
    """Subscription whose reliability follows its publishers; call `follow_publishers` regularly.

    Attributes:
        heard: a message has come.
        incompatible: a publisher does not offer the reliability that was asked for.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        *,
        reliability: str,
        depth: int,
        group: CallbackGroup,
    ) -> None:
        """Subscribe.

        Args:
            node: the node.
            message_type: message class.
            topic: relative name.
            callback: gets each message.
            reliability: 'auto', 'reliable' or 'best_effort'.
            depth: messages kept for a slow callback.
            group: callback group.
        """
        self._node, self._type, self._topic = node, message_type, topic
        self._callback, self._depth, self._group = callback, depth, group
        self._setting = reliability
        self._gaps = SequenceGaps()
        self._publishers: list[Any] = []
        self.heard = self.incompatible = False
        self._policy = self._look_around()
        self._subscription = self._subscribe()

    @property
    def name(self) -> str:
        """Return the full name of the topic."""
        return self._node.resolve_topic_name(self._topic)

    @property
    def type_name(self) -> str:
        """Return the message type, such as 'sensor_msgs/msg/Image'."""
        package, folder, *_ = self._type.__module__.split('.')
        return f'{package}/{folder}/{self._type.__name__}'

    @property
    def reliable(self) -> bool:
        """Return whether delivery is reliable now."""
        return self._policy == ReliabilityPolicy.RELIABLE

    @property
    def missing(self) -> int:
        """Return how many messages never came; not counted while several publish at once."""
        return self._gaps.missing

    def follow_publishers(self) -> None:
        """Subscribe again if the publishers that are there now ask for another reliability."""
        policy = self._look_around()
        if policy == self._policy:
            return
        self._policy = policy
        self._node.get_logger().info(
            f'{self.name}: publishers offer {policy.name.lower()} delivery, subscribed so'
        )
        self.destroy()
        self._gaps.restart()
        self._subscription = self._subscribe()

    def destroy(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _look_around(self) -> ReliabilityPolicy:
        """Take in which publishers there are; return the reliability that suits them."""
        infos = self._node.get_publishers_info_by_topic(self.name)
        publishers = sorted(info.endpoint_gid for info in infos)
        if publishers != self._publishers:
            self._publishers = publishers
            self._gaps.restart()
        if self._setting != 'auto':
            return _FIXED[self._setting]
        offered = [info.qos_profile.reliability for info in infos]
        best_effort = ReliabilityPolicy.BEST_EFFORT in offered
        return ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE

    def _subscribe(self) -> Any:
        qos = QoSProfile(
            depth=self._depth,
            history=HistoryPolicy.KEEP_LAST,
            reliability=self._policy,
            durability=DurabilityPolicy.VOLATILE,
        )
        return self._node.create_subscription(
            self._type,
            self._topic,
            self._receive,
            qos,
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
        )

    def _receive(self, message: Any, info: dict[str, Any]) -> None:
        self.heard = True
        if len(self._publishers) == 1:
            self._gaps.note(info)
        self._callback(message)

    def _on_incompatible(self, event: Any) -> None:
        if self._setting == 'auto':
            return  # follow_publishers repairs it
        self.incompatible = True
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        # Not throttled: that is done per line of code, so that the first topic would hide the rest.
        self._node.get_logger().warning(
            f'{self.name}: a publisher does not offer the {policy} that image.reliability = '
            f'{self._setting!r} asks for, so nothing of it arrives; set image.reliability to auto'
        )
