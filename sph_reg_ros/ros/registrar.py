"""Registers matched views one at a time, the newest first, and publishes the results."""

import threading
import traceback
from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import Header

from sph_reg_ros.errors import (
    CancelledError,
    CTError,
    ErrorCode,
    RegistrationError,
    RuntimeUnavailableError,
    registration_error,
)
from sph_reg_ros.messages.conversions import NANOSECONDS, nanoseconds
from sph_reg_ros.messages.image_age import MAX_FUTURE_S
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from sph_reg_ros.ros.outputs import Outputs
from sph_reg_ros.ros.patient_frame import PatientFrame
from sph_reg_ros.ros.status import StatusBoard
from sph_reg_ros.service.mailbox import Mailbox
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.pending_registration import PendingRegistration
from sph_reg_ros.service.protocol import Registered
from sph_reg_ros.service.requests import no_ct, register_request
from sph_reg_ros.service.result_messages import refusal_message, result_message, view_header
from sph_reg_ros.service.worker_client import WorkerClient

IDLE_CHECK_S = 0.25
MAX_FUTURE_NS = round(MAX_FUTURE_S * NANOSECONDS)


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
        self._views: Mailbox[tuple[XRayView, InitialPose | None]] = Mailbox()
        self._thread: threading.Thread | None = None
        self._publishing = threading.Lock()
        # A new one with every start and reset; setting it makes what began before it stop.
        self._obsolete = threading.Event()
        self._active = False
        # Stamp of the newest X-ray that was registered or refused; see `_is_superseded`.
        self._latest_decided_ns = 0
        self._superseded = 0
        # Number of the stream of X-rays that are followed one from the other; see `reset`.
        self._stream = 0
        # The last X-ray that was followed, and its pose: still to be registered by itself.
        self._followed: tuple[XRayView, InitialPose] | None = None
        self.ct_hash = ''

    @property
    def dropped(self) -> int:
        """Return how many views gave way to newer ones before their turn."""
        return self._views.dropped + self._superseded

    def start(self) -> None:
        """Register views as they come."""
        self._active = True
        self.reset()
        self._patient.start()
        self._thread = threading.Thread(target=self._run, name='registrar', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop what runs; nothing is published once this has returned."""
        self._active = False
        self._forget()
        self._patient.stop()
        if self._thread is not None:
            self._views.wake()
            self._thread.join()
            self._thread = None

    def reset(self) -> None:
        """Stop what runs and forget what waits; later views are registered."""
        self._forget()
        self._obsolete = threading.Event()
        self._stream += 1
        self._views.clear()

    def say_ready(self) -> None:
        """Tell that X-rays are welcome, or that there is no CT for them."""
        if self.ct_hash:
            self._status.set_state(RegistrationStatus.READY)
        else:
            self._status.set_state(RegistrationStatus.ERROR, no_ct())

    def expect(self, stamp_ns: int) -> None:
        """Hold the patient of earlier X-rays back until the one with this stamp has its result."""
        self._patient.expect(stamp_ns)

    def submit(self, view: XRayView, initial: InitialPose | None) -> None:
        """Leave a view to be registered next, in place of one that still waits."""
        timeout_ns = self._parameters().matching.timeout * NANOSECONDS
        if view.stamp_ns < self._latest_decided_ns - timeout_ns:
            # Not late, but of a bag that starts again.
            self.reset()
        self._patient.expect(view.stamp_ns)
        self._views.put((view, initial))

    def refuse(self, header: Header, error: RegistrationError) -> None:
        """Publish that an image cannot be registered, and why; withdraws the patient."""
        result = self._refusal(header, error)
        stamp_ns, now_ns = nanoseconds(header.stamp), self._node.get_clock().now().nanoseconds
        with self._publishing:
            if not self._active:
                return
            # A stamp that cannot be true counts as now: it must not rule out what comes next.
            effective_ns = stamp_ns if 0 < stamp_ns <= now_ns + MAX_FUTURE_NS else now_ns
            self._publish_failure(result, max(effective_ns, self._latest_decided_ns))
        self._patient.settle(effective_ns)

    def register(self, job: PendingRegistration) -> RegistrationResult:
        """Run one job and publish its outcome; errors are in the result, none is raised."""
        stamp_ns = job.views[0].stamp_ns
        self._patient.expect(stamp_ns)
        try:
            return self._carry_out(job)
        finally:
            self._patient.settle(stamp_ns)

    def _carry_out(self, job: PendingRegistration) -> RegistrationResult:
        obsolete, parameters = self._obsolete, self._parameters()
        header, effective_ns = view_header(job.views[0]), self._effective_ns(job)
        try:
            registered = self._registered(job, obsolete, parameters)
        except CancelledError as error:
            self._give_up(effective_ns)
            return refusal_message(error, header, parameters.frames.patient, self.ct_hash)
        except RegistrationError as error:
            result = self._refusal(header, error)
            with self._publishing:
                if not self._is_obsolete(obsolete):
                    self._publish_failure(result, effective_ns)
            return result
        result = result_message(registered, job.views, parameters.frames.patient)
        with self._publishing:
            if not self._is_obsolete(obsolete):
                self._publish(result, registered, job, effective_ns)
        return result

    def _is_obsolete(self, obsolete: threading.Event) -> bool:
        # A reset may come between a stop and what begins at that moment.
        return obsolete.is_set() or not self._active

    def _registered(
        self, job: PendingRegistration, obsolete: threading.Event, parameters: NodeParameters
    ) -> Registered:
        request = register_request(
            self.ct_hash,
            job.views,
            job.initial,
            parameters,
            drr=self._outputs.wants_drr,
            overlay=self._outputs.wants_overlay,
            stream=None if job.single_shot else self._stream,
        )
        self._status.set_state(RegistrationStatus.REGISTERING)
        registered = self._worker.register(
            request,
            parameters.registration.timeout if job.timeout_s is None else job.timeout_s,
            lambda: self._is_obsolete(obsolete) or job.cancelled(),
            job.observer,
            silence_s=parameters.worker.silence,
        )
        if registered.ct_series_uid_hash != self.ct_hash and not obsolete.is_set():
            raise CTError(
                ErrorCode.CT_NOT_LOADED, 'the worker has registered another CT: load the CT again'
            )
        return registered

    def _effective_ns(self, job: PendingRegistration) -> int:
        """Return the stamp that orders a registration; the X-rays of a goal count as new."""
        stamp_ns = job.views[0].stamp_ns
        return max(stamp_ns, self._latest_decided_ns) if job.single_shot else stamp_ns

    def _is_superseded(self, effective_ns: int) -> bool:
        """Return whether a newer X-ray was registered, or refused, before this one was done.

        What is published then must not be replaced, or withdrawn, by what was true before it.
        """
        return effective_ns < self._latest_decided_ns

    def _decides(self, result: RegistrationResult, effective_ns: int) -> bool:
        """Note a result; return whether it decides the state, or was superseded by a newer one."""
        if self._is_superseded(effective_ns):
            self._status.count(result)
            self._outputs.publish_result(result)
            return False
        self._latest_decided_ns = effective_ns
        return True

    def _forget(self) -> None:
        with self._publishing:
            self._obsolete.set()
            self._latest_decided_ns, self._followed = 0, None
            self._patient.forget()

    def _give_up(self, effective_ns: int) -> None:
        with self._publishing:
            if self._is_superseded(effective_ns):
                return
            self._patient.withdraw()
            if self._active:
                self.say_ready()

    def _refusal(self, header: Header, error: RegistrationError) -> RegistrationResult:
        self._node.get_logger().warning(
            f'image refused: {error} [{error.code.name}]', throttle_duration_sec=5.0
        )
        return refusal_message(error, header, self._parameters().frames.patient, self.ct_hash)

    def _publish_failure(self, result: RegistrationResult, effective_ns: int) -> None:
        if self._decides(result, effective_ns):
            self._patient.withdraw()
            self._status.set_result(result)
            self._outputs.publish_result(result)

    def _publish(
        self,
        result: RegistrationResult,
        registered: Registered,
        job: PendingRegistration,
        effective_ns: int,
    ) -> None:
        if not self._decides(result, effective_ns):
            return
        parameters, now_ns = self._parameters(), self._node.get_clock().now().nanoseconds
        checked = registered.frames_since_full_checks == 0
        valid_s = parameters.validity.duration if checked else parameters.tracking.validity
        until_ns = now_ns + round(valid_s * NANOSECONDS)
        view = job.views[0]
        pose = InitialPose(view.frame_id, registered.camera_from_ct[0])
        self._followed = None if checked else (view, pose)
        shown = self._outputs.publish(result, registered, view, parameters.frames, until_ns)
        self._status.set_result(result, until_ns if shown else 0)

    def _on_expired(self) -> None:
        with self._publishing:
            # Another result may have come meanwhile.
            if self._active and not self._patient.shown:
                self._status.set_state(RegistrationStatus.STALE)

    def _run(self) -> None:
        while self._active:
            item = self._views.take(IDLE_CHECK_S)
            followed, self._followed = self._followed, None
            if item is not None and self._active:
                self._register_next(*item)
            elif followed is not None and self._active:
                self._check(*followed)
            else:
                self._look_after_worker()

    def _register_next(self, view: XRayView, initial: InitialPose | None) -> None:
        if self._is_superseded(view.stamp_ns):
            self._superseded += 1
            return
        self._register_safely(PendingRegistration((view,), initial))

    def _check(self, view: XRayView, pose: InitialPose) -> None:
        """Register an X-ray by itself that was only followed, unless a newer one comes."""
        self._register_safely(
            PendingRegistration((view,), pose, cancelled=lambda: self._views.full, single_shot=True)
        )

    def _register_safely(self, job: PendingRegistration) -> None:
        try:
            self.register(job)
        # A bug that one image meets must not end the registration of all others.
        except Exception as error:
            self._node.get_logger().error(f'a registration failed:\n{traceback.format_exc()}')
            self.refuse(view_header(job.views[0]), registration_error(error))

    def _look_after_worker(self) -> None:
        try:
            silence_s = self._parameters().worker.silence
            if self._worker.lost(silence_s, lambda: self._views.full or not self._active):
                self._on_worker_lost()
                # A goal may have done so meanwhile.
                if self._worker.revive(lambda: not self._active):
                    self._node.get_logger().error('the worker process died and was started again')
                    self.say_ready()
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
