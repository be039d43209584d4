"""bag_player: a bag through the live node, image by image, with the report of sph-reg replay.

Publishes /clock, image, camera_info, imager_pose and initial_pose; simulated time stands still
while an image is registered, so that none is skipped or too old.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from sph_reg_ros.errors import (
    CancelledError,
    ErrorCode,
    RegistrationError,
    RuntimeUnavailableError,
)
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from sph_reg_ros.replay.bag_messages import bag_types
from sph_reg_ros.replay.bag_reader import BagInputs, Event, opened
from sph_reg_ros.replay.limits import figures_of, parse_limit
from sph_reg_ros.replay.live_record import LiveRecord
from sph_reg_ros.replay.params_file import read_parameters
from sph_reg_ros.replay.table import limit_lines, table_lines
from sph_reg_ros.ros.conversions import nanoseconds, time_message
from sph_reg_ros.ros.stop import stop_on_signals

EXIT_NOT_USABLE, EXIT_ERROR, EXIT_STOPPED = 1, 2, 130
READY_S, HEARD_S, RENDERING_S = 300.0, 60.0, 2.0
# What explains an image has to be there first; topics do not keep the order of each other.
SETTLING_S = 0.1
_KEPT = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_READY = (RegistrationStatus.READY, RegistrationStatus.VERIFIED, RegistrationStatus.UNVERIFIED)


class BagPlayer(Node):
    """Publishes one event after the other and waits for the result of each image."""

    def __init__(self, timeout_s: float) -> None:
        """Advertise and listen; `timeout_s` is the longest wait for a result."""
        super().__init__('bag_player')
        self._timeout_s, self._stop = timeout_s, stop_on_signals()
        kinds = {
            'image': (Image, _KEPT),
            'camera_info': (CameraInfo, _KEPT),
            'imager_pose': (PoseStamped, _KEPT),
            'initial_pose': (PoseWithCovarianceStamped, _LATCHED),
        }
        self._outputs = {
            name: self.create_publisher(kind, name, qos) for name, (kind, qos) in kinds.items()
        }
        self._clock_publisher = self.create_publisher(Clock, '/clock', 10)
        self.results: dict[int, RegistrationResult] = {}
        self.renderings: dict[int, Image] = {}
        self._state = RegistrationStatus.UNCONFIGURED
        self._listen(RegistrationResult, 'registration/result', self.results)
        self._listen(Image, 'registration/drr', self.renderings)
        self.create_subscription(
            RegistrationStatus, 'registration/status', self._on_status, _LATCHED
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def play(self, inputs: BagInputs, report: Callable[[Event], None]) -> None:
        """Publish a bag; `report` gets each event once it is through.

        Raises:
            RuntimeUnavailableError: the node is not there, or does not answer in time.
        CancelledError: this process was asked to stop.
        """
        events = list(inputs.events())
        begin_ns = min(event.stamp_ns for event in events if event.stamp_ns)
        self._tick(begin_ns)
        self._wait('the registration node to become ready', self._is_ready, READY_S)
        listened = [self._outputs[name] for name in ('image', 'camera_info', 'initial_pose')]
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
        for event in events:
            self._publish(event, max(begin_ns, event.stamp_ns))
            report(event)

    def _publish(self, event: Event, now_ns: int) -> None:
        self._tick(now_ns)
        if event.name == 'image':
            self._spin(SETTLING_S)
        data = bag_types().serialize_cdr(event.message, event.message.__msgtype__)
        self._outputs[event.name].publish(bytes(data))
        if event.name == 'image':
            stamp_ns = nanoseconds(event.message.header.stamp)
            self._wait('a result', lambda: stamp_ns in self.results, self._timeout_s)
            self._await_rendering(stamp_ns)
        else:
            self._spin(0.0)

    def _await_rendering(self, stamp_ns: int) -> None:
        # It follows the result, unless there is no pose or the node has not heard of us yet.
        end_s = time.monotonic() + RENDERING_S
        while stamp_ns not in self.renderings and time.monotonic() < end_s:
            if not self.results[stamp_ns].iterations:
                return
            self._spin_once(0.02)

    def _tick(self, now_ns: int) -> None:
        self._clock_publisher.publish(Clock(clock=time_message(now_ns)))
        self._now_ns = now_ns

    def _is_ready(self) -> bool:
        # The node may have missed what was published before it listened.
        self._tick(self._now_ns)
        return self._state in _READY

    def _on_status(self, status: RegistrationStatus) -> None:
        self._state = status.state

    def _listen(self, kind: type, topic: str, kept: dict[int, Any]) -> None:
        def keep(message: Any) -> None:
            kept[nanoseconds(message.header.stamp)] = message

        self.create_subscription(kind, topic, keep, _KEPT)

    def _spin(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        self._spin_once(0.002)
        while time.monotonic() < end_s:
            self._spin_once(0.01)

    def _wait(self, what: str, ready: Callable[[], bool], timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > end_s:
                raise RuntimeUnavailableError(ErrorCode.TIMEOUT, f'gave up waiting for {what}')
            self._spin_once(0.05)

    def _spin_once(self, seconds: float) -> None:
        if self._stop.is_set():
            raise CancelledError
        self._executor.spin_once(timeout_sec=seconds)


def main(args: Sequence[str] | None = None) -> int:
    """Play a bag, write what `sph-reg replay` writes, and print its table."""
    words = list(sys.argv if args is None else ['bag_player', *args])
    options = _parser().parse_args(remove_ros_args(words)[1:])
    stop_on_signals()
    rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
    try:
        return _run(options)
    except CancelledError:
        return EXIT_STOPPED
    except (RegistrationError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_ERROR
    finally:
        rclpy.try_shutdown()


def _run(options: argparse.Namespace) -> int:
    limits = [parse_limit(text) for text in options.limit]
    parameters = read_parameters(options.params, [f'ct.path:={options.ct}'])
    with opened(options.bag, {}) as inputs:
        live = LiveRecord(inputs, options.bag, parameters, options.truth)
        player = BagPlayer(parameters.registration.timeout + HEARD_S)
        player.play(inputs, live.take)
        record = live.record(player.results, player.renderings, options.output)
        player.destroy_node()
    files = live.write(record, limits, options.output)
    lines = [*table_lines(record), *limit_lines(limits, [record])]
    print('\n'.join([*lines, *(f'wrote {path}' for path in files)]), flush=True)
    figures = figures_of([record])
    return 0 if all(limit.met(figures) for limit in limits) else EXIT_NOT_USABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Play a bag through the live registration node.')
    parser.add_argument('--bag', type=Path, required=True, help='rosbag2 folder')
    parser.add_argument('--ct', type=Path, required=True, help='the CT that the node has')
    parser.add_argument('--output', type=Path, required=True, help='folder for the report')
    parser.add_argument('--params', type=Path, help='parameter file of the node')
    parser.add_argument('--truth', default='', help='topic of true poses, or TUM file')
    parser.add_argument('--limit', action='append', default=[], help='as for sph-reg replay')
    return parser


if __name__ == '__main__':
    raise SystemExit(main())
