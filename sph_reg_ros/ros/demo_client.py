"""The demo's downstream node: takes exposures, receives results, looks up transforms."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from jaxtyping import Float64, Shaped
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from sph_reg_ros.action import Register
from sph_reg_ros.messages.conversions import matrix_from_pose, nanoseconds
from sph_reg_ros.messages.image_conversions import array_from_image
from sph_reg_ros.messages.tf_buffer import LookupFailedError
from sph_reg_ros.msg import BodyResult, RegistrationResult, RegistrationStatus
from sph_reg_ros.ros.lookup import TransformLookup

T = TypeVar('T')
FIXED, PATIENT = 'carm_base', 'patient'
_KEPT = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_MANY = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class DemoError(Exception):
    """The demo timed out; the text says what was missing."""


@dataclass(frozen=True)
class FoundBody:
    """One body in one exposure; matrices in mm.

    Attributes:
        name: of the body.
        truth: camera_from_body.
        looked_up: camera_from_body on tf2 at the image's stamp; None if it was not there.
        found: camera_from_body of the result, whatever its verdict.
        verified: whether that is VERIFIED.
    """

    name: str
    truth: Float64[np.ndarray, '4 4']
    looked_up: Float64[np.ndarray, '4 4'] | None
    found: Float64[np.ndarray, '4 4']
    verified: bool


@dataclass(frozen=True)
class ExposureResult:
    """Poses and result of one exposure; matrices in mm.

    Attributes:
        counts: the X-ray [H, W].
        truth: camera_from_ct.
        start: camera_from_ct as encoders and planned pose have it.
        looked_up: camera_from_ct on tf2 at the image's stamp; None if it was not there.
        result: message of the registration.
        time_s: from the arrival of the image to that of result and transform.
        bodies: what moves for itself.
    """

    counts: Shaped[np.ndarray, 'H W']
    truth: Float64[np.ndarray, '4 4']
    start: Float64[np.ndarray, '4 4']
    looked_up: Float64[np.ndarray, '4 4'] | None
    result: RegistrationResult
    time_s: float
    bodies: tuple[FoundBody, ...] = ()


class DemoClient:
    """A node that spins only while it waits."""

    def __init__(
        self,
        still_running: Callable[[], None],
        deadline_s: float,
        bodies: tuple[str, ...] = (),
    ) -> None:
        """Subscribe.

        Args:
            still_running: raises DemoError when a process has ended; called while waiting.
            deadline_s: time.monotonic() at which the demo gives up.
            bodies: names of what moves for itself.
        """
        self._still_running, self._deadline_s = still_running, deadline_s
        rclpy.init()
        self._node = rclpy.create_node('demo')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._by_stamp: dict[str, dict[int, Any]] = {}
        self._latest: dict[str, Any] = {}
        for topic, kind in (
            ('image', Image),
            ('ground_truth', PoseStamped),
            ('imager_pose', PoseStamped),
            ('camera_info', CameraInfo),
            ('registration/result', RegistrationResult),
            *((f'ground_truth/{name}', PoseStamped) for name in bodies),
        ):
            self._collect(topic, kind)
        self._hold('initial_pose', PoseWithCovarianceStamped)
        self._hold('registration/status', RegistrationStatus)
        self.transforms = TransformLookup(self._node)
        self._sent: set[tuple[str, int]] = set()
        self._known: dict[tuple[str, int], Float64[np.ndarray, '4 4']] = {}
        self._node.create_subscription(TFMessage, '/tf', self._note_sent, _MANY)
        self._expose = self._node.create_client(Trigger, 'carm_simulator/expose')
        self._register = ActionClient(self._node, Register, 'registration/register')

    def close(self) -> None:
        """Leave the graph."""
        self._register.destroy()
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown()

    def wait_until_ready(self) -> None:
        """Wait for the simulator's patient and for the node to ask for images."""
        self._wait('the simulator to load its CT', lambda: self._latest.get('initial_pose'))
        self._wait('the service carm_simulator/expose', self._expose.service_is_ready)
        self._wait('the action registration/register', self._register.server_is_ready)
        self._wait('the registration node to become ready', self._is_ready)

    def expose(self) -> ExposureResult:
        """Take one image and wait for its result and transform."""
        return self._outcome(self._exposed())

    def expose_pair(self) -> ExposureResult:
        """Take two images, have them registered together, and wait for result and transforms."""
        stamps = [self._exposed(), self._exposed()]
        goal = Register.Goal(
            images=[self._at('image', stamp) for stamp in stamps],
            camera_infos=[self._at('camera_info', stamp) for stamp in stamps],
            imager_poses=[self._at('imager_pose', stamp) for stamp in stamps],
            timeout=120.0,
        )
        accepted = self._register.send_goal_async(goal)
        self._wait('an answer of registration/register', accepted.done)
        finished = accepted.result().get_result_async()
        self._wait('the end of the registration', finished.done)
        return self._outcome(stamps[0])

    def _exposed(self) -> int:
        """Take one image and return its stamp."""
        count = len(self._by_stamp['image'])
        future = self._expose.call_async(Trigger.Request())
        self._wait('an answer of carm_simulator/expose', future.done)
        if not future.result().success:
            raise DemoError(f'no exposure: {future.result().message}')
        self._wait('the image', lambda: len(self._by_stamp['image']) > count)
        return max(self._by_stamp['image'])

    def _outcome(self, stamp: int) -> ExposureResult:
        image, truth, imager_pose = (
            self._at(topic, stamp) for topic in ('image', 'ground_truth', 'imager_pose')
        )
        exposed_s = time.monotonic()
        result = self._at('registration/result', stamp)
        patient = self._look_up(PATIENT, stamp, _is_verified(result))
        initial = matrix_from_pose(self._latest['initial_pose'].pose.pose)
        return ExposureResult(
            counts=array_from_image(image),
            truth=matrix_from_pose(truth.pose),
            start=np.linalg.inv(matrix_from_pose(imager_pose.pose)) @ initial,
            looked_up=patient,
            result=result,
            time_s=time.monotonic() - exposed_s,
            bodies=tuple(self._found(body, stamp) for body in result.bodies),
        )

    def _found(self, body: BodyResult, stamp: int) -> FoundBody:
        truth = self._at(f'ground_truth/{body.name}', stamp)
        return FoundBody(
            name=body.name,
            truth=matrix_from_pose(truth.pose),
            looked_up=self._look_up(body.child_frame_id, stamp, _is_verified(body)),
            found=matrix_from_pose(body.pose.pose),
            verified=_is_verified(body),
        )

    def _look_up(self, frame: str, stamp: int, verified: bool) -> Float64[np.ndarray, '4 4'] | None:
        give_up_s = time.monotonic() + (10.0 if verified else 0.2)
        while (frame, stamp) not in self._known and time.monotonic() < give_up_s:
            self._spin_once()
        fixed_from_frame = self._known.get((frame, stamp))
        if fixed_from_frame is None:
            return None
        imager_pose = self._at('imager_pose', stamp)
        return np.linalg.inv(matrix_from_pose(imager_pose.pose)) @ fixed_from_frame

    def _spin_once(self) -> None:
        self._executor.spin_once(timeout_sec=0.02)
        # At once: tf2 forgets what is 10 s older than the newest transform.
        for frame, stamp in list(self._sent):
            try:
                self._known[frame, stamp] = self.transforms.at(FIXED, frame, stamp)
            except LookupFailedError:  # the listener of tf2 has not been told yet
                continue
            self._sent.remove((frame, stamp))

    def _note_sent(self, message: TFMessage) -> None:
        # Before the transform of an X-ray has come, tf2 would answer with the patient of the one
        # before, which is sent again and again.
        for transform in message.transforms:
            key = transform.child_frame_id, nanoseconds(transform.header.stamp)
            if key[1] in self._by_stamp['image'] and key not in self._known:
                self._sent.add(key)

    def _is_ready(self) -> bool:
        status = self._latest.get('registration/status')
        if status is not None and status.state == RegistrationStatus.ERROR:
            raise DemoError(f'the registration node cannot work: {status.error_message}')
        return status is not None and status.state == RegistrationStatus.READY

    def _at(self, topic: str, stamp: int) -> Any:
        return self._wait(f'{topic} of the image', lambda: self._by_stamp[topic].get(stamp))

    def _collect(self, topic: str, kind: type) -> None:
        store = self._by_stamp[topic] = {}

        def keep(message: Any) -> None:
            store[nanoseconds(message.header.stamp)] = message

        self._node.create_subscription(kind, topic, keep, _KEPT)

    def _hold(self, topic: str, kind: type) -> None:
        def keep(message: Any) -> None:
            self._latest[topic] = message

        self._node.create_subscription(kind, topic, keep, _LATCHED)

    def _wait(self, what: str, ready: Callable[[], T]) -> T:
        while True:
            value = ready()
            if value:
                return value
            self._still_running()
            if time.monotonic() > self._deadline_s:
                raise DemoError(f'gave up waiting for {what}')
            self._spin_once()


def _is_verified(result: RegistrationResult | BodyResult) -> bool:
    return bool(result.verdict == RegistrationResult.VERIFIED)
