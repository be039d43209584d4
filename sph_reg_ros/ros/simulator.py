"""carm_simulator: a simulated C-arm with known true poses, for demos and tests.

Publishes, all with the stamp of the exposure: image, camera_info, imager_pose (encoders, wrong on
purpose), ground_truth (patient in the imager), ground_truth/<name> (bodies that move for
themselves, in the imager), /tf fixed -> imager (encoders); and initial_pose, latched: the patient
in the fixed frame. Service ~/expose takes one image.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import rclpy
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.carm import CArm, Exposure
from sph_reg_ros.evaluation.exposure_queue import ExposureQueue
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, format_angles
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.load_bodies import load_bodies
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.messages.exposure_messages import exposure_messages, planned_pose_message
from sph_reg_ros.ros.parameter_server import ParameterServer
from sph_reg_ros.ros.transforms import TransformPublisher
from sph_reg_ros.service.simulator_parameters import SimulatorParameters
from sph_reg_ros.service.stop_signals import stop_on_signals

_TICK_S = 0.02
# Who listens to the images has its other topics matched a moment later: a first image that came
# sooner would miss its companions there.
_SETTLING_S = 0.5
# Deep enough that a burst of exposures waits for a listener that is busy.
_KEPT = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class CArmSimulator(Node):
    """Takes images at a rate or on demand; a plain node, it works as soon as it runs."""

    def __init__(self) -> None:
        """Declare, start to load the CT, publish from a timer."""
        super().__init__('carm_simulator')
        self._settings = ParameterServer(self, lambda _: True, SimulatorParameters).tree
        self._exposures = ExposureQueue(partial(build_carm, self._settings), self._settings.images)
        self._taken = 0
        self._asked_for = 0
        self._next_s = 0.0
        self._heard_since_s = math.inf
        self._announced = False
        self._create_interfaces()

    def _create_interfaces(self) -> None:
        self._image = self.create_publisher(Image, 'image', _KEPT)
        self._camera_info = self.create_publisher(CameraInfo, 'camera_info', _KEPT)
        self._imager_pose = self.create_publisher(PoseStamped, 'imager_pose', _KEPT)
        self._ground_truth = self.create_publisher(PoseStamped, 'ground_truth', _KEPT)
        self._body_truths: dict[str, Publisher] = {}
        self._initial_pose = self.create_publisher(
            PoseWithCovarianceStamped, 'initial_pose', _LATCHED
        )
        self._transforms = TransformPublisher(self)
        self.create_service(Trigger, '~/expose', self._on_expose)
        # Rates are promises to people: they hold when simulated time stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_TICK_S, self._tick, clock=self._steady)

    def close(self) -> None:
        """Stop taking images."""
        self._exposures.close()

    def _on_expose(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        images = self._settings.images
        requested = max(self._asked_for, self._taken)
        response.success = images == 0 or requested < images
        if response.success:
            self._asked_for = requested + 1
            response.message = f'image {self._asked_for} will be taken'
        else:
            response.message = f'all {images} images have been taken: restart the simulator'
        return response

    def _tick(self) -> None:
        self._exposures.raise_if_failed()
        self._announce_once()
        if not self._due():
            return
        exposure = self._exposures.take()
        if exposure is not None:
            self._publish(exposure)

    def _announce_once(self) -> None:
        carm = self._exposures.carm
        if carm is None or self._announced:
            return
        fixed = self._settings.frames.fixed
        message = planned_pose_message(carm, fixed, self._now_ns())
        for body in carm.motion.bodies if carm.motion else ():
            topic = f'ground_truth/{body.name}'
            self._body_truths[body.name] = self.create_publisher(PoseStamped, topic, _KEPT)
        self._initial_pose.publish(message)
        self._announced = True
        self.get_logger().info('CT loaded')

    def _due(self) -> bool:
        now_s = self._steady.now().nanoseconds * 1e-9
        if not self._is_heard(now_s):
            return False
        at_rate = self._settings.rate_hz > 0 and now_s >= self._next_s
        return at_rate or self._taken < self._asked_for

    def _is_heard(self, now_s: float) -> bool:
        if self._image.get_subscription_count() < self._settings.wait_for_subscribers:
            self._heard_since_s = math.inf
            return False
        self._heard_since_s = min(self._heard_since_s, now_s)
        return now_s >= self._heard_since_s + _SETTLING_S

    def _publish(self, exposure: Exposure) -> None:
        rate_hz = self._settings.rate_hz
        self._next_s = self._steady.now().nanoseconds * 1e-9 + (1 / rate_hz if rate_hz else 0.0)
        self._taken += 1
        frames = self._settings.frames
        messages = exposure_messages(
            exposure, self._settings.geometry.camera, (frames.fixed, frames.imager), self._now_ns()
        )
        # What explains the image goes first, so that a listener need not wait for it.
        self._transforms.send([messages.transform])
        self._imager_pose.publish(messages.imager_pose)
        self._camera_info.publish(messages.camera_info)
        self._ground_truth.publish(messages.ground_truth)
        for name, truth in messages.body_truths.items():
            self._body_truths[name].publish(truth)
        self._image.publish(messages.image)
        angles = format_angles(*angles_from_camera_from_ct(exposure.camera_from_ct))
        self.get_logger().info(f'image {exposure.index + 1}: {angles}')

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds


def build_carm(settings: SimulatorParameters) -> CArm:
    """Load the patient and set up the C-arm around the middle of the CT."""
    path = Path(settings.ct.path).expanduser() if settings.ct.path else sample_ct_path()
    ct = load_ct(path, series_uid=settings.ct.series_uid or None, assume_lps=settings.ct.assume_lps)
    bodies = None
    if settings.bodies.path:
        listed = Path(settings.bodies.path).expanduser()
        bodies = load_bodies(listed, attenuation_from_hounsfield(ct))
    carm = CArm.around(
        ct,
        settings.geometry,
        settings.orbit,
        settings.encoder_error,
        settings.xray,
        settings.seed,
        bodies,
    )
    return replace(carm, images_per_motion=settings.bodies.images_per_motion)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit code."""
    stop = stop_on_signals()
    # rclpy's own handlers end its context before the node could finish what it does.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        node = CArmSimulator()
        while not stop.is_set():
            rclpy.spin_once(node, timeout_sec=_TICK_S)
    except RegistrationError as error:
        get_logger('carm_simulator').fatal(str(error))
        return 1
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.shutdown()
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
