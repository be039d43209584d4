"""From matched views to published results: one registration at a time, the newest view first."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from std_msgs.msg import Header

from sph_reg_ros.errors import CancelledError, CTError, ErrorCode, PoseError, RegistrationError
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from sph_reg_ros.ros.mailbox import Mailbox
from sph_reg_ros.ros.messages import refusal_message, result_message, view_header
from sph_reg_ros.ros.outputs import Outputs
from sph_reg_ros.ros.parameters import NodeParameters
from sph_reg_ros.ros.protocol import ProgressReport, Register, RegisterView
from sph_reg_ros.ros.status import StatusBoard
from sph_reg_ros.ros.views import FramedPose, XRayView, initial_camera_from_ct
from sph_reg_ros.ros.worker_client import WorkerClient

IDLE_CHECK_S = 0.5


@dataclass(frozen=True)
class Job:
    """One registration to be done.

    Attributes:
        views: X-rays; several need an imager pose each, all in one fixed frame.
        initial: rough pose of the patient, in the fixed frame or that of the first view.
        timeout_s: limit for the computation; the node's own if None.
        cancelled: asked all the time; True stops.
        observer: gets the progress.
    """

    views: tuple[XRayView, ...]
    initial: FramedPose | None
    timeout_s: float | None = None
    cancelled: Callable[[], bool] = lambda: False
    observer: Callable[[ProgressReport], None] = lambda progress: None


class Registrar:
    """Runs jobs in the worker and publishes what comes out; a thread of its own takes the views."""

    def __init__(
        self,
        node: Node,
        worker: WorkerClient,
        status: StatusBoard,
        parameters: Callable[[], NodeParameters],
    ) -> None:
        """Advertise the outputs; nothing runs before `start`."""
        self._node, self._worker, self._status = node, worker, status
        self._parameters = parameters
        self._outputs = Outputs(node)
        self._views: Mailbox[tuple[XRayView, FramedPose | None]] = Mailbox()
        self._thread: threading.Thread | None = None
        self._publishing = threading.Lock()
        # A new one with every start and reset; setting it makes what began before it stop.
        self._obsolete = threading.Event()
        self._active = False
        self.ct_hash = ''

    @property
    def dropped(self) -> int:
        """Return how many views were replaced by newer ones before their turn."""
        return self._views.dropped

    def start(self) -> None:
        """Register views as they come."""
        self._active = True
        self.reset()
        self._thread = threading.Thread(target=self._run, name='registrar', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop what runs; nothing is published once this has returned."""
        self._active = False
        with self._publishing:
            self._obsolete.set()
        if self._thread is not None:
            self._views.wake()
            self._thread.join()
            self._thread = None

    def reset(self) -> None:
        """Stop what runs and forget what waits; later views are registered."""
        with self._publishing:
            self._obsolete.set()
        self._obsolete = threading.Event()
        self._views.clear()

    def submit(self, view: XRayView, initial: FramedPose | None) -> None:
        """Leave a view to be registered next, in place of one that still waits."""
        self._views.put((view, initial))

    def refuse(self, header: Header, error: RegistrationError) -> RegistrationResult:
        """Publish that an image could not be registered, and why."""
        frame = self._parameters().frames.patient
        result = refusal_message(error, header, frame, self.ct_hash)
        self._node.get_logger().warning(
            f'image refused: {error} [{error.code.name}]', throttle_duration_sec=5.0
        )
        self._status.set_result(result)
        self._outputs.publish_result(result)
        return result

    def register(self, job: Job) -> RegistrationResult:
        """Run one job and publish its outcome; errors are in the result, none is raised."""
        obsolete, header = self._obsolete, view_header(job.views[0])
        parameters = self._parameters()
        try:
            request = self._request(job, parameters)
            self._status.set_state(RegistrationStatus.REGISTERING)
            registered = self._worker.register(
                request,
                parameters.registration.timeout if job.timeout_s is None else job.timeout_s,
                lambda: obsolete.is_set() or job.cancelled(),
                job.observer,
            )
        except CancelledError as error:
            if self._active:
                self._status.set_state(RegistrationStatus.READY)
            return refusal_message(error, header, parameters.frames.patient, self.ct_hash)
        except RegistrationError as error:
            return self.refuse(header, error)
        result = result_message(registered, job.views, parameters.frames.patient)
        with self._publishing:
            if not obsolete.is_set():
                self._outputs.publish(result, registered, job.views[0], parameters.frames)
                self._status.set_result(result)
        return result

    def _request(self, job: Job, parameters: NodeParameters) -> Register:
        views = job.views
        if not self.ct_hash:
            raise CTError(ErrorCode.CT_NOT_LOADED, 'no CT is loaded: call ~/load_ct')
        if len(views) > 1 and len({v.imager.frame_id for v in views if v.imager}) > 1:
            raise PoseError(
                ErrorCode.POSE_INVALID, 'the imager poses of several views must share one frame'
            )
        return Register(
            views=tuple(
                RegisterView(v.pixels, v.K, v.imager.matrix if v.imager else None) for v in views
            ),
            initial_camera_from_ct=initial_camera_from_ct(job.initial, views[0]),
            config=parameters.registration.config,
            image=parameters.image,
            drr=self._outputs.wants_drr,
            overlay=self._outputs.wants_overlay,
        )

    def _run(self) -> None:
        while self._active:
            item = self._views.take(IDLE_CHECK_S)
            if item is not None and self._active:
                view, initial = item
                self.register(Job((view,), initial))
            else:
                self._look_after_worker()

    def _look_after_worker(self) -> None:
        try:
            if self._worker.revive(lambda: not self._active):
                self._node.get_logger().error('the worker process died and was started again')
                self._status.set_state(RegistrationStatus.READY)
        except CancelledError:
            return
        except RegistrationError as error:
            self._status.set_state(RegistrationStatus.ERROR, error)
            self._node.get_logger().error(str(error), throttle_duration_sec=5.0)
