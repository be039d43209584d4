"""A stream of X-rays through the real node, by real DDS, and back on /tf."""

import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sph_reg_ros.demo.processes import Runner
from sph_reg_ros.evaluation.carm import Exposure
from sph_reg_ros.evaluation.metrics import pose_error
from sph_reg_ros.evaluation.sequences import SimulatedFrame, Stream
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.geometry import se3
from sph_reg_ros.messages.conversions import (
    header_message,
    matrix_from_transform,
    nanoseconds,
    pose_from_matrix,
)
from sph_reg_ros.messages.exposure_messages import exposure_messages

DOMAIN = 77
FRAMES = ('carm_base', 'carm_optical')
DISTINCT = 46
"""Frames that are made; the swing is back where it began after so many."""
WARM_UP_S, LIMIT_S, WRONG_MM = 5.0, 120.0, 3.0
PROFILE = Path(__file__).parents[1] / 'config' / 'fastdds_large_images.xml'
_REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class NodeRun:
    """What came back from the node, once it was warm.

    Attributes:
        rate_hz: of the images.
        sent: images.
        results: X-rays with a result.
        results_hz: of them in a second.
        transforms: X-rays whose transform came, with their stamp.
        followed: X-rays that were followed from the one before.
        wrong: those whose transform is off by more than 3 mm.
        in_plane_mm: median error across the beam.
        mtre_mm: median mean target registration error.
        p50_ms: median time from publishing an image to its transform.
        p99_ms: 99 % quantile of it.
        compute_ms: median time of the worker, from pixels to the verdict.
        not_verified: results that are not, by the checks that failed, or the error.
    """

    rate_hz: float
    sent: int
    results: int
    results_hz: float
    transforms: int
    followed: int
    wrong: int
    in_plane_mm: float
    mtre_mm: float
    p50_ms: float
    p99_ms: float
    compute_ms: float
    not_verified: dict[str, int]

    def __str__(self) -> str:
        """Return a line."""
        return (
            f'node: {self.sent} images at {self.rate_hz:g} Hz, {self.results} with a result '
            f'({self.results_hz:.1f} Hz), {self.transforms} on /tf, {self.followed} followed, '
            f'{self.wrong} wrong; median {self.in_plane_mm:.2f} mm in plane, {self.mtre_mm:.2f} mm '
            f'mTRE; image to /tf {self.p50_ms:.0f} ms (p50), {self.p99_ms:.0f} ms (p99), '
            f'{self.compute_ms:.0f} ms of it in the worker (p50); '
            f'not verified: {self.not_verified}'
        )


def run_node(stream: Stream, ct_path: Path, rate_hz: float, seconds: float) -> NodeRun:
    """Publish a stream for some seconds and return what came of it; needs ROS 2."""
    frames = list(stream.frames(DISTINCT))
    environment = {
        'ROS_DOMAIN_ID': str(DOMAIN),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'PYTHONPATH': os.pathsep.join([str(_REPOSITORY), os.environ.get('PYTHONPATH', '')]),
        'FASTRTPS_DEFAULT_PROFILES_FILE': str(PROFILE),
        'FASTDDS_DEFAULT_PROFILES_FILE': str(PROFILE),
    }
    os.environ |= environment
    parameters = {
        'autostart': 'true',
        'ct.path': str(ct_path),
        'paths.allowed': "['/']",
        'tracking.enabled': 'true',
        'registration.method': 'image',
        'image.reliability': 'reliable',
    }
    arguments = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    command = [sys.executable, '-m', 'sph_reg_ros.ros.node', '--ros-args', *arguments]
    with tempfile.TemporaryDirectory() as folder, Runner(Path(folder), environment) as runner:
        runner.start('registration', command)
        client = _Client(stream, frames, rate_hz)
        try:
            client.wait_until_ready(runner)
            client.run(seconds)
            return client.summary()
        finally:
            client.close()


def _why(result: Any) -> str:
    failed = [check.name for check in result.checks if not check.passed]
    return ', '.join(failed) or result.error_message[:60]


class _Client:
    """Publishes the frames and notes when what comes back."""

    def __init__(self, stream: Stream, frames: list[SimulatedFrame], rate_hz: float) -> None:
        import rclpy
        from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from sensor_msgs.msg import CameraInfo, Image
        from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
        from tf2_msgs.msg import TFMessage

        rclpy.init()
        self._rclpy, self._frames, self._stream, self._rate_hz = rclpy, frames, stream, rate_hz
        self.node = rclpy.create_node('track_bench')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        publish = self.node.create_publisher
        self._image = publish(Image, 'image', 5)
        self._info = publish(CameraInfo, 'camera_info', 5)
        self._imager = publish(PoseStamped, 'imager_pose', 5)
        self._initial = publish(PoseWithCovarianceStamped, 'initial_pose', latched)
        subscribe = self.node.create_subscription
        self._state = 0
        self._sent: dict[int, tuple[float, SimulatedFrame]] = {}
        self._results: dict[int, Any] = {}
        self._transforms: dict[int, tuple[float, Any]] = {}
        subscribe(RegistrationResult, 'registration/result', self._on_result, 50)
        subscribe(RegistrationStatus, 'registration/status', self._on_status, latched)
        subscribe(TFMessage, '/tf', self._on_transforms, 200)
        self._ready = RegistrationStatus.READY

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._rclpy.shutdown()

    def wait_until_ready(self, runner: Runner) -> None:
        deadline = time.monotonic() + LIMIT_S
        while self._state != self._ready:
            if runner.ended() or time.monotonic() > deadline:
                raise RuntimeError(f'the node is not ready:\n{runner.log_tail()}')
            self._executor.spin_once(timeout_sec=0.1)

    def run(self, seconds: float) -> None:
        """Publish at the rate, and go on for a moment for what still comes."""
        self._publish_initial()
        begun = next_s = time.monotonic()
        number = 0
        while time.monotonic() < begun + WARM_UP_S + seconds:
            if time.monotonic() >= next_s:
                self._publish(self._frames[number % DISTINCT])
                number, next_s = number + 1, next_s + 1 / self._rate_hz
            self._executor.spin_once(timeout_sec=max(0.0, min(0.01, next_s - time.monotonic())))
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def summary(self) -> NodeRun:
        """Return the figures of what was sent after the warm-up."""
        first_s = min(sent_s for sent_s, _ in self._sent.values()) + WARM_UP_S
        warm = {stamp: one for stamp, one in self._sent.items() if one[0] >= first_s}
        found = [stamp for stamp in warm if stamp in self._results]
        shown = [stamp for stamp in warm if stamp in self._transforms]
        errors = [self._error(stamp) for stamp in shown]
        latencies = [1e3 * (self._transforms[s][0] - warm[s][0]) for s in shown] or [np.nan]
        span_s = len(warm) / self._rate_hz
        return NodeRun(
            self._rate_hz,
            len(warm),
            len(found),
            len(found) / span_s,
            len(shown),
            sum(self._results[s].method == 'tracking' for s in found),
            sum(error.mtre_mm > WRONG_MM for error in errors),
            float(np.median([error.in_plane_mm for error in errors] or [np.nan])),
            float(np.median([error.mtre_mm for error in errors] or [np.nan])),
            float(np.quantile(latencies, 0.5)),
            float(np.quantile(latencies, 0.99)),
            1e3 * float(np.median([self._results[s].compute_time for s in found] or [np.nan])),
            dict(Counter(_why(r) for r in map(self._results.get, found) if r.verdict != 1)),
        )

    def _error(self, stamp: int) -> Any:
        frame = self._sent[stamp][1]
        fixed_from_ct = torch.from_numpy(matrix_from_transform(self._transforms[stamp][1]))
        pose = se3.inverse(frame.fixed_from_camera) @ fixed_from_ct
        pitch_mm = BENCH_GEOMETRY.pixel_pitch_mm * BENCH_GEOMETRY.height / frame.camera.height
        landmarks = self._stream.bench_ct.landmarks_mm
        return pose_error(pose, frame.truth, landmarks, frame.camera, pitch_mm)

    def _publish_initial(self) -> None:
        from geometry_msgs.msg import PoseWithCovarianceStamped

        first = self._frames[0]
        centre = self._stream.bench_ct.volume.centre
        twist = torch.tensor([0.03, -0.03, 0.03, 4.0, -4.0, 6.0], dtype=torch.float64)
        camera_from_ct = se3.apply_twist(twist, first.truth, centre)
        message = PoseWithCovarianceStamped()
        message.header = header_message(self.node.get_clock().now().nanoseconds, FRAMES[0])
        message.pose.pose = pose_from_matrix((first.fixed_from_camera @ camera_from_ct).numpy())
        self._initial.publish(message)

    def _publish(self, frame: SimulatedFrame) -> None:
        stamp = self.node.get_clock().now().nanoseconds
        exposure = Exposure(frame.number, frame.counts, frame.truth, frame.fixed_from_camera)
        messages = exposure_messages(exposure, frame.camera, FRAMES, stamp)
        self._imager.publish(messages.imager_pose)
        self._info.publish(messages.camera_info)
        self._sent[stamp] = (time.monotonic(), frame)
        self._image.publish(messages.image)

    def _on_status(self, message: Any) -> None:
        self._state = message.state

    def _on_result(self, message: Any) -> None:
        # What comes again for the last X-ray of all is another result of the same.
        self._results.setdefault(nanoseconds(message.header.stamp), message)

    def _on_transforms(self, message: Any) -> None:
        now_s = time.monotonic()
        for transform in message.transforms:
            stamp = nanoseconds(transform.header.stamp)
            if transform.child_frame_id == 'patient' and stamp in self._sent:
                self._transforms.setdefault(stamp, (now_s, transform.transform))
