"""Subscribes to initial_pose, the rough pose of the patient."""

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from sph_reg_ros.errors import PoseError
from sph_reg_ros.messages.view_messages import initial_pose_from_message
from sph_reg_ros.messages.xray_view import InitialPose
from sph_reg_ros.ros.auto_subscription import SubscriptionEventCallbacks

_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_ANY = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class InitialPoseInput:
    """The rough pose of the patient; kept from start to end of the node, latched or not."""

    def __init__(self, node: Node) -> None:
        """Subscribe twice: a latched message only reaches a subscription that asks for it."""
        self._node = node
        self.pose: InitialPose | None = None
        silent = SubscriptionEventCallbacks(incompatible_qos=lambda event: None)
        for qos in (_LATCHED, _ANY):
            node.create_subscription(
                PoseWithCovarianceStamped,
                'initial_pose',
                self._receive,
                qos,
                event_callbacks=silent,
            )

    def _receive(self, message: PoseWithCovarianceStamped) -> None:
        try:
            self.pose = initial_pose_from_message(message)
        except PoseError as error:
            self._node.get_logger().error(f'{error}; the previous one is kept')
