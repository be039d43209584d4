"""The lifecycle node `registration`: X-rays in, the pose of the patient out on tf2."""

import faulthandler
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from sph_reg_ros.errors import CancelledError, ConfigError, PoseError, RegistrationError
from sph_reg_ros.messages.xray_view import XRayView
from sph_reg_ros.msg import RegistrationStatus
from sph_reg_ros.networks.shipped import weights_folders
from sph_reg_ros.ros.ct_loader import CTLoader
from sph_reg_ros.ros.diagnostics import Diagnostics
from sph_reg_ros.ros.initial_pose import InitialPoseInput
from sph_reg_ros.ros.inputs import XRayInput
from sph_reg_ros.ros.lifecycle import ResponsiveLifecycleNode, transition
from sph_reg_ros.ros.parameter_server import ParameterServer
from sph_reg_ros.ros.register_action import RegisterAction
from sph_reg_ros.ros.registrar import Registrar
from sph_reg_ros.ros.status import StatusBoard
from sph_reg_ros.service.allowed_paths import AllowedPaths
from sph_reg_ros.service.frames import Frames
from sph_reg_ros.service.image_counts import ImageCounts
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.requests import no_ct
from sph_reg_ros.service.result_messages import view_header
from sph_reg_ros.service.stop_signals import stop_on_signals
from sph_reg_ros.service.worker_client import WorkerClient

EXECUTOR_THREADS = 6
SPIN_PERIOD_S = 0.1
EXIT_CONFIG = 2
SIGNAL_CHECK_S = 0.1
STOP_LIMIT_S = 8.0


class RegistrationNode(ResponsiveLifecycleNode):
    """Wires inputs, worker and outputs together, and starts and stops them.

    Callbacks only take messages in; a worker process computes, so that services answer during a
    registration. Phases: 'unconfigured', 'configured' (the worker runs), 'active' (subscribed).
    """

    def __init__(self, arguments: Sequence[str] | None = None, **options: Any) -> None:
        """Declare parameters and advertise; raises ConfigError if a parameter is wrong.

        Args:
            arguments: of rclpy.init; those of the process if None.
            options: of rclpy.node.Node.
        """
        super().__init__('registration', **options)
        self.get_logger().info('research use only, not a medical device')
        self._phase = 'unconfigured'
        self._closing = threading.Event()
        self._starts_with_ct = False
        self._server = ParameterServer(self, self._is_fixed, NodeParameters, arguments)
        self._worker = WorkerClient()
        self._status = StatusBoard(self)
        given = self._settings()
        self._paths = AllowedPaths(
            given.paths.allowed,
            (given.ct.path, given.ct.labels, given.weights.path, given.bodies.path),
        )
        self._registrar = Registrar(
            self, self._worker, self._status, self._settings, self._on_clock_set_back
        )
        self._loader = CTLoader(
            self, self._worker, self._registrar, self._status, self._settings, self._paths
        )
        self._initial_pose = InitialPoseInput(self)
        self._inputs: XRayInput | None = None
        self._counted = ImageCounts()
        self._status.image_counts = self._image_counts
        self._action = RegisterAction(
            self,
            self._registrar,
            self._settings,
            initial_pose=lambda: self._initial_pose.pose,
            frames=self._frames,
        )
        self._diagnostics = Diagnostics(self)
        group = ReentrantCallbackGroup()
        self._loader.serve(lambda: self._phase, self._on_ct_loaded, group)
        self.create_service(Trigger, '~/reset', self._on_reset, callback_group=group)
        period_s = given.diagnostics.period
        # Reports go on when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(period_s, self._on_diagnostics, callback_group=group, clock=steady)

    @transition
    def on_configure(self) -> None:
        """Start the worker, load the CT and its networks, compile."""
        self._require_open()
        parameters = self._settings()
        self._phase = 'configured'
        try:
            if parameters.weights.path:
                weights_folders(Path(self._paths.require(parameters.weights.path)))
            self._worker.start()
            self._worker.require_ready()
            if parameters.ct.path:
                self._loader.load(parameters.ct.path, parameters.ct.series_uid)
            else:
                self.get_logger().warning('ct.path is empty: load a CT by ~/load_ct')
        except BaseException:
            self._free()
            raise
        self._status.set_state(RegistrationStatus.INACTIVE)

    @transition
    def on_activate(self) -> None:
        """Subscribe; refused without a CT."""
        self._require_open()
        if not self._registrar.ct_hash:
            raise no_ct()
        self._phase = 'active'
        self._registrar.start()
        self._inputs = XRayInput(
            self,
            self._settings,
            # A goal relates its own initial pose to the X-ray.
            lambda: None if self._action.waits else self._initial_pose.pose,
            lambda: self._action.initial_pose,
            self._on_waiting,
            self._on_view,
            self._on_refused,
            self._on_missing,
        )
        self._status.set_state(RegistrationStatus.READY)

    @transition
    def on_deactivate(self) -> None:
        """Unsubscribe and stop what runs; nothing is published afterwards."""
        self._withdraw()
        self._status.set_state(RegistrationStatus.INACTIVE)

    @transition
    def on_cleanup(self) -> None:
        """End the worker, and with it the CT."""
        self._free()
        self._status.set_state(RegistrationStatus.UNCONFIGURED)

    @transition
    def on_shutdown(self) -> None:
        """Stop everything."""
        self._stop()

    @transition
    def on_error(self) -> None:
        """Clean up after a transition that broke, so that the node can be configured again."""
        self._stop()
        self._status.set_state(RegistrationStatus.ERROR)

    def on_transition_failed(self, error: RegistrationError) -> None:
        """Tell on ~/status why a transition was refused."""
        self._status.set_state(RegistrationStatus.ERROR, error)

    def autostart(self) -> None:
        """Configure and activate if the parameter asks for it; failures are logged."""
        if self._settings().autostart:
            self.trigger_configure()
            self._starts_with_ct = self._phase == 'configured'
            if self._registrar.ct_hash:
                self._on_ct_loaded()

    def close(self) -> None:
        """Stop for good, from whatever state; a transition that runs is interrupted first."""
        self._closing.set()
        self._worker.close()
        with self.transition_lock:
            self._stop()

    def _stop(self) -> None:
        self._withdraw()
        self._free()
        self._status.set_state(RegistrationStatus.UNCONFIGURED)

    def _require_open(self) -> None:
        if self._closing.is_set():
            raise CancelledError

    def _withdraw(self) -> None:
        if self._phase == 'active':
            self._phase = 'configured'
        inputs, self._inputs = self._inputs, None
        if inputs is not None:
            self._status.note_missing(None)
            self._counted += inputs.counts
            inputs.destroy()
        self._registrar.stop()

    def _free(self) -> None:
        self._worker.stop()
        self._loader.forget()
        self._phase = 'unconfigured'

    def _settings(self) -> NodeParameters:
        return self._server.tree

    def _is_fixed(self, fixed_while: str) -> bool:
        active = self._phase == 'active'
        return active or (fixed_while == 'configured' and self._phase == 'configured')

    def _frames(self) -> Frames | None:
        inputs = self._inputs
        return None if inputs is None else inputs.frames

    def _on_ct_loaded(self) -> None:
        if self._starts_with_ct and self._phase == 'configured':
            self._starts_with_ct = False
            self.trigger_activate()

    def _on_waiting(self, stamp_ns: int) -> None:
        if self._settings().continuous:
            self._registrar.expect(stamp_ns)

    def _on_view(self, view: XRayView, frames: Frames) -> None:
        if self._action.take(view) or not self._settings().continuous or self._phase != 'active':
            return
        try:
            initial = frames.seen_from(view, self._initial_pose.pose)
        except PoseError as error:
            self._registrar.refuse(view_header(view), error)
        else:
            self._registrar.submit(view, initial)

    def _on_refused(self, header: Header, error: RegistrationError) -> None:
        self._registrar.refuse(header, error)

    def _on_missing(self, error: RegistrationError | None) -> None:
        if self._inputs is None:  # deactivated meanwhile
            return
        if error is not None and str(error) != str(self._status.missing):
            self.get_logger().warning(str(error))
        self._status.note_missing(error)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Stop what runs, forget what waits and the last result; CT and initial pose stay."""
        self._start_over()
        response.success, response.message = True, f'reset; the node is {self._phase}'
        return response

    def _start_over(self) -> None:
        if self._inputs is None:
            return
        self._inputs.forget()
        self._registrar.reset()
        self._registrar.say_ready()

    def _on_clock_set_back(self) -> None:
        self.get_logger().warning('the clock went back: what was known before is forgotten')
        self._start_over()

    def _on_diagnostics(self) -> None:
        self._status.publish()
        self._diagnostics.publish(
            self._status.message,
            self._worker.alive,
            self._worker.restarts,
            has_networks=self._loader.has_networks,
            method=self._status.method,
            missing=self._status.missing,
        )

    def _image_counts(self) -> ImageCounts:
        counts = self._counted + ImageCounts(dropped=self._registrar.dropped)
        inputs = self._inputs
        return counts if inputs is None else counts + inputs.counts


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit code."""
    stop = stop_on_signals()
    # rclpy's own handlers end its context before the node could say good-bye.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = RegistrationNode(args)
    except ConfigError as error:
        get_logger('registration').fatal(str(error))
        rclpy.shutdown()
        return EXIT_CONFIG
    executor = MultiThreadedExecutor(EXECUTOR_THREADS)
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor, node, stop), name='executor')
    spinner.start()
    starter = threading.Thread(target=node.autostart, name='autostart')
    starter.start()
    # Python runs a handler once this thread wakes, and the kernel may wake another one.
    while not stop.wait(SIGNAL_CHECK_S):
        pass
    # Whoever asks the node to stop gets a stopped node; a stack trace says what held it up.
    faulthandler.dump_traceback_later(STOP_LIMIT_S, exit=True)
    node.close()
    starter.join()
    spinner.join()
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.shutdown()
    faulthandler.cancel_dump_traceback_later()
    return 0


def _spin(executor: MultiThreadedExecutor, node: RegistrationNode, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            # Executor.spin can overlook its shutdown until the next timer fires.
            executor.spin_once(timeout_sec=SPIN_PERIOD_S)
        # A subscription went while the executor looked at its events, where rclpy lets this pass.
        except InvalidHandle:
            continue
        # A bug in one callback must not silence the node for ever.
        except Exception:
            node.get_logger().error(f'a callback failed:\n{traceback.format_exc()}')


if __name__ == '__main__':
    raise SystemExit(main())
