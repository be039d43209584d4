"""The node that publishes a bag message by message and waits for each result.

Simulated time stands still while an image is registered, so that none is skipped or too old.
"""

import time
from collections.abc import Callable

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from sph_reg_ros.errors import CancelledError, ErrorCode, RuntimeUnavailableError
from sph_reg_ros.messages.conversions import nanoseconds, time_message
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.messages.missing_input import compressed_topic
from sph_reg_ros.messages.tf_buffer import plain
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from sph_reg_ros.replay.bag_messages import bag_types
from sph_reg_ros.replay.bag_reader import Event
from sph_reg_ros.replay.bag_topics import TRANSFORMS
from sph_reg_ros.ros.transforms import TF_QOS, TF_STATIC_QOS
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.stop_signals import stop_on_signals

READY_S, HEARD_S, RENDERING_S, ACKNOWLEDGED_S, LISTENER_S = 300.0, 60.0, 2.0, 2.0, 2.0
# What explains an image has to be there first; topics do not keep the order of each other.
SETTLING_S = 0.1
_KEPT = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_NOT_READY = (RegistrationStatus.UNCONFIGURED, RegistrationStatus.INACTIVE)


class BagPlayer(Node):
    """Publishes one event after the other and waits for the result of each image."""

    def __init__(self, parameters: NodeParameters) -> None:
        """Advertise and listen; the parameters are those of the registration node."""
        super().__init__('bag_player')
        self._timeout_s = parameters.registration.timeout + HEARD_S
        self._stop = stop_on_signals()
        # To this the node does not listen, or perhaps.
        self._unheard = {'tf', 'tf_static'}
        if parameters.imager_from_tf:
            self._unheard = set()
        if not parameters.imager_from_topic:
            self._unheard.add('imager_pose')
        # What the node says itself, and said when the bag was recorded.
        self._own_frame = plain(parameters.frames.patient)
        kinds = {
            'camera_info': (CameraInfo, 'camera_info', _KEPT),
            'imager_pose': (PoseStamped, 'imager_pose', _KEPT),
            'initial_pose': (PoseWithCovarianceStamped, 'initial_pose', _LATCHED),
            'tf': (TFMessage, '/tf', TF_QOS),
            'tf_static': (TFMessage, '/tf_static', TF_STATIC_QOS),
        }
        self._outputs = {name: self.create_publisher(*kind) for name, kind in kinds.items()}
        self._outputs['image'] = self._image_publisher(parameters.image.transport)
        self._waited_for_listener = False
        self._clock_publisher = self.create_publisher(Clock, '/clock', 10)
        self._now_ns = 0
        self._status: RegistrationStatus | None = None
        self._result: RegistrationResult | None = None
        self._rendering: Image | None = None
        self.create_subscription(RegistrationResult, 'registration/result', self._on_result, _KEPT)
        self.create_subscription(Image, 'registration/drr', self._on_rendering, _KEPT)
        self.create_subscription(
            RegistrationStatus, 'registration/status', self._on_status, _LATCHED
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def _image_publisher(self, transport: str) -> Publisher:
        if transport == 'raw':
            return self.create_publisher(Image, 'image', _KEPT)
        topic = compressed_topic(self.resolve_topic_name('image'))
        return self.create_publisher(CompressedImage, topic, _KEPT)

    def wait_for_node(self, begin_ns: int) -> None:
        """Wait until the node is ready, keeps simulated time, and hears and is heard.

        Raises:
            RuntimeUnavailableError: it is not there, does not get so far, or says why it cannot.
            CancelledError: this process was asked to stop.
        """
        self._now_ns = begin_ns
        self._wait('the registration node to become ready', self._is_ready, READY_S)
        self._wait(
            'the registration node to keep the time of the bag: is use_sim_time set?',
            self._keeps_time,
            HEARD_S,
        )
        listened = [self._outputs[name] for name in self._outputs.keys() - self._unheard]
        self._wait(
            'the registration node to listen',
            lambda: all(one.get_subscription_count() for one in listened),
            HEARD_S,
        )
        self._wait(
            'the registration node to offer renderings',
            lambda: self.count_publishers('registration/drr'),
            HEARD_S,
        )

    def publish(self, event: Event) -> None:
        """Publish the next message, at its time."""
        self._now_ns = max(self._now_ns, event.stamp_ns)
        if event.name == 'image':
            self._settle()
            self._result = self._rendering = None
        if event.name in TRANSFORMS:
            self._prepare(event.message)
        self._tick()
        data = bag_types().serialize_cdr(event.message, event.message.__msgtype__)
        self._outputs[event.name].publish(bytes(data))
        self._spin_once(0.002)

    def _prepare(self, transforms: Message) -> None:
        """Leave out the patient of the recording, and let the node, once, find out to listen."""
        transforms.transforms = [
            transform
            for transform in transforms.transforms
            if plain(transform.child_frame_id) != self._own_frame
        ]
        end_s = time.monotonic() + LISTENER_S
        while not self._waited_for_listener and time.monotonic() < end_s:
            if self._outputs['tf'].get_subscription_count():
                break
            self._spin_once(0.05)
        self._waited_for_listener = True

    def answer(self, event: Event) -> tuple[RegistrationResult, Image | None]:
        """Wait for what the node makes of an image; the rendering may be missing.

        Raises:
            RuntimeUnavailableError: nothing comes.
            CancelledError: this process was asked to stop.
        """
        stamp = time_message(nanoseconds(event.message.header.stamp))
        self._wait(
            'a result',
            lambda: self._result is not None and self._result.header.stamp == stamp,
            self._timeout_s,
        )
        assert self._result is not None
        # It follows the result, unless there is no pose or the node has not heard of us yet.
        end_s = time.monotonic() + RENDERING_S
        while self._result.iterations and time.monotonic() < end_s:
            if self._rendering is not None and self._rendering.header.stamp == stamp:
                return self._result, self._rendering
            self._spin_once(0.02)
        return self._result, None

    def _settle(self) -> None:
        """Wait until the node has what was published so far, and the time."""
        for publisher in self._outputs.values():
            publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))
        end_s = time.monotonic() + SETTLING_S
        while time.monotonic() < end_s:
            self._tick()
            self._spin_once(0.01)

    def _tick(self) -> None:
        self._clock_publisher.publish(Clock(clock=time_message(self._now_ns)))

    def _is_ready(self) -> bool:
        status = self._status
        if status is not None and status.state == RegistrationStatus.ERROR:
            raise RuntimeUnavailableError(
                ErrorCode.NOT_ACTIVE, f'the registration node cannot work: {status.error_message}'
            )
        return status is not None and status.state not in _NOT_READY

    def _keeps_time(self) -> bool:
        assert self._status is not None
        # The node may have missed what was published before it listened.
        self._tick()
        return nanoseconds(self._status.header.stamp) == self._now_ns

    def _on_result(self, result: RegistrationResult) -> None:
        self._result = result

    def _on_rendering(self, rendering: Image) -> None:
        self._rendering = rendering

    def _on_status(self, status: RegistrationStatus) -> None:
        self._status = status

    def _wait(self, what: str, ready: Callable[[], object], timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while not ready():
            if self._status is not None and not self.count_publishers('registration/status'):
                raise RuntimeUnavailableError(
                    ErrorCode.NOT_ACTIVE, 'the registration node has ended'
                )
            if time.monotonic() > end_s:
                raise RuntimeUnavailableError(ErrorCode.TIMEOUT, f'gave up waiting for {what}')
            self._spin_once(0.05)

    def _spin_once(self, seconds: float) -> None:
        if self._stop.is_set():
            raise CancelledError
        self._executor.spin_once(timeout_sec=seconds)
