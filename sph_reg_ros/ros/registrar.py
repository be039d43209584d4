"""From matched views to published results: one registration at a time, the newest view first."""

import threading
from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import Header

from sph_reg_ros.errors import (
    CancelledError,
    ErrorCode,
    RegistrationError,
    RuntimeUnavailableError,
)
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from sph_reg_ros.ros.job import Job
from sph_reg_ros.ros.mailbox import Mailbox
from sph_reg_ros.ros.messages import refusal_message, result_message, view_header
from sph_reg_ros.ros.outputs import Outputs
from sph_reg_ros.ros.parameters import NodeParameters
from sph_reg_ros.ros.patient_frame import PatientFrame
from sph_reg_ros.ros.protocol import Registered
from sph_reg_ros.ros.requests import register_request
from sph_reg_ros.ros.status import StatusBoard
from sph_reg_ros.ros.views import FramedPose, XRayView
from sph_reg_ros.ros.worker_client import WorkerClient

IDLE_CHECK_S = 0.25


class Registrar:
    """Runs jobs in the worker and publishes what comes out; a thread of its own takes the views."""

    def __init__(
        self,
        node: Node,
        worker: WorkerClient,
        status: StatusBoard,
        parameters: Callable[[], NodeParameters],
        on_clock_set_back: Callable[[], None],
    ) -> None:
        """Advertise the outputs; nothing runs before `start`."""
        self._node, self._worker, self._status = node, worker, status
        self._parameters = parameters
        period_s = parameters().validity.period
        self._patient = PatientFrame(node, period_s, self._on_expired, on_clock_set_back)
        self._outputs = Outputs(node, self._patient)
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
            self._patient.withdraw()
        if self._thread is not None:
            self._views.wake()
            self._thread.join()
            self._thread = None

    def reset(self) -> None:
        """Stop what runs and forget what waits; later views are registered."""
        with self._publishing:
            self._obsolete.set()
            self._patient.withdraw()
        self._obsolete = threading.Event()
        self._views.clear()

    def submit(self, view: XRayView, initial: FramedPose | None) -> None:
        """Leave a view to be registered next, in place of one that still waits."""
        self._patient.expect(view.stamp_ns)
        self._views.put((view, initial))

    def refuse(self, header: Header, error: RegistrationError) -> RegistrationResult:
        """Publish that an image could not be registered, and why."""
        frame = self._parameters().frames.patient
        result = refusal_message(error, header, frame, self.ct_hash)
        self._node.get_logger().warning(
            f'image refused: {error} [{error.code.name}]', throttle_duration_sec=5.0
        )
        with self._publishing:
            self._patient.withdraw()
            self._status.set_result(result)
        self._outputs.publish_result(result)
        return result

    def register(self, job: Job) -> RegistrationResult:
        """Run one job and publish its outcome; errors are in the result, none is raised."""
        obsolete, header = self._obsolete, view_header(job.views[0])
        parameters = self._parameters()
        try:
            request = register_request(
                self.ct_hash,
                job.views,
                job.initial,
                parameters,
                drr=self._outputs.wants_drr,
                overlay=self._outputs.wants_overlay,
            )
            self._status.set_state(RegistrationStatus.REGISTERING)
            registered = self._worker.register(
                request,
                parameters.registration.timeout if job.timeout_s is None else job.timeout_s,
                lambda: obsolete.is_set() or job.cancelled(),
                job.observer,
                silence_s=parameters.worker.silence,
            )
        except CancelledError as error:
            self._patient.withdraw()
            if self._active:
                self._status.set_state(RegistrationStatus.READY)
            return refusal_message(error, header, parameters.frames.patient, self.ct_hash)
        except RegistrationError as error:
            return self.refuse(header, error)
        result = result_message(registered, job.views, parameters.frames.patient)
        with self._publishing:
            if not obsolete.is_set():
                self._publish(result, registered, job)
        return result

    def _publish(self, result: RegistrationResult, registered: Registered, job: Job) -> None:
        parameters, now_ns = self._parameters(), self._node.get_clock().now().nanoseconds
        until_ns = job.valid_until_ns(parameters.validity, now_ns)
        view, frames = job.views[0], parameters.frames
        valid = self._outputs.publish(result, registered, view, frames, until_ns)
        verified = result.verdict == RegistrationResult.VERIFIED
        self._status.set_result(result, until_ns if verified else 0)
        if verified and not valid:
            self._node.get_logger().warning(
                'the registration took longer than validity.tracking allows: the patient is not '
                'published',
                throttle_duration_sec=5.0,
            )
            self._status.set_state(RegistrationStatus.STALE)

    def _on_expired(self) -> None:
        with self._publishing:
            # Another result may have come meanwhile.
            if self._active and not self._patient.shown:
                self._status.set_state(RegistrationStatus.STALE)

    def _run(self) -> None:
        while self._active:
            item = self._views.take(IDLE_CHECK_S)
            if item is not None and self._active:
                view, initial = item
                self.register(Job((view,), initial))
                self._patient.settle(view.stamp_ns)
            else:
                self._look_after_worker()

    def _look_after_worker(self) -> None:
        try:
            silence_s = self._parameters().worker.silence
            if self._worker.lost(silence_s, lambda: self._views.full or not self._active):
                self._on_worker_lost()
                self._worker.revive(lambda: not self._active)
                self._node.get_logger().error('the worker process died and was started again')
                self._status.set_state(RegistrationStatus.READY)
        except CancelledError:
            return
        except RegistrationError as error:
            self._status.set_state(RegistrationStatus.ERROR, error)
            self._node.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _on_worker_lost(self) -> None:
        with self._publishing:
            self._patient.withdraw()
            if self._status.state != RegistrationStatus.ERROR:
                error = RuntimeUnavailableError(
                    ErrorCode.WORKER_DIED, 'the worker process died; it is being restarted'
                )
                self._status.set_state(RegistrationStatus.ERROR, error)
