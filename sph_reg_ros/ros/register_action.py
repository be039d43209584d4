"""The action ~/register: one registration, of the next X-ray or of given ones.

A goal that comes while another runs is rejected. The goal succeeds only with a VERIFIED pose; it is
aborted otherwise, and `error` says why.
"""

import math
import threading
import time
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header

from sph_reg_ros.action import Register
from sph_reg_ros.errors import (
    CancelledError,
    ConfigError,
    ErrorCode,
    ImageError,
    PoseError,
    RegistrationError,
    RuntimeUnavailableError,
)
from sph_reg_ros.messages.image_age import require_present
from sph_reg_ros.messages.received_image import ReceivedImage
from sph_reg_ros.messages.view_messages import initial_pose_from_message, view_from_messages
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.msg import RegistrationResult
from sph_reg_ros.ros.registrar import Registrar
from sph_reg_ros.service.frames import Frames
from sph_reg_ros.service.mailbox import Mailbox
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.pending_registration import PendingRegistration
from sph_reg_ros.service.protocol import ProgressReport
from sph_reg_ros.service.result_messages import refusal_message, view_header

POLL_S = 0.02
RESULT_TIMEOUT_S = 10


class RegisterAction:
    """Server of ~/register.

    Attributes:
        initial_pose: of the goal that runs.
    """

    def __init__(
        self,
        node: Node,
        registrar: Registrar,
        parameters: Callable[[], NodeParameters],
        initial_pose: Callable[[], InitialPose | None],
        frames: Callable[[], Frames | None],
    ) -> None:
        """Serve.

        Args:
            node: the node.
            registrar: does the work.
            parameters: gives the present parameters.
            initial_pose: gives the node's own guess for goals that bring none.
            frames: gives what tf2 says; None while the node is not active.
        """
        self._node, self._registrar, self._parameters = node, registrar, parameters
        self._own_initial_pose, self._frames = initial_pose, frames
        self.initial_pose: InitialPose | None = None
        self._busy = threading.Lock()
        self._next_view: Mailbox[XRayView] | None = None
        self._server = ActionServer(
            node,
            Register,
            '~/register',
            execute_callback=self._execute,
            goal_callback=self._accept,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
            result_timeout=RESULT_TIMEOUT_S,
        )

    @property
    def waits(self) -> bool:
        """Return whether a goal waits for the next view."""
        return self._next_view is not None

    def take(self, view: XRayView) -> bool:
        """Take a view if a goal waits for one."""
        mailbox = self._next_view
        if mailbox is None:
            return False
        mailbox.put(view)
        return True

    def _accept(self, goal: Register.Goal) -> GoalResponse:
        if self._busy.acquire(blocking=False):
            return GoalResponse.ACCEPT
        self._node.get_logger().warning('goal rejected: another one is running')
        return GoalResponse.REJECT

    def _execute(self, goal_handle: ServerGoalHandle) -> Register.Result:
        try:
            outcome = self._outcome(goal_handle)
        except RegistrationError as error:
            outcome = self._failed(error)
        finally:
            self._next_view = self.initial_pose = None
            self._busy.release()
        if outcome.error.code == ErrorCode.NONE:
            goal_handle.succeed()
        elif goal_handle.is_cancel_requested:
            goal_handle.canceled()
        else:
            goal_handle.abort()
        return outcome

    def _outcome(self, goal_handle: ServerGoalHandle) -> Register.Result:
        goal: Register.Goal = goal_handle.request
        frames = self._require_active()
        deadline = time.monotonic() + self._timeout_s(goal)
        self.initial_pose = self._own_initial_pose()
        if goal.use_initial_pose:
            self.initial_pose = initial_pose_from_message(goal.initial_pose)
        views = self._given_views(goal) or (self._await_view(goal_handle, deadline),)
        try:
            views = self._with_imagers(goal_handle, views, frames)
            initial = frames.seen_from(views[0], self.initial_pose)
        except PoseError as error:
            self._registrar.refuse(view_header(views[0]), error)
            raise
        job = PendingRegistration(
            views,
            initial,
            timeout_s=max(deadline - time.monotonic(), POLL_S),
            cancelled=lambda: goal_handle.is_cancel_requested,
            observer=lambda progress: goal_handle.publish_feedback(_feedback(progress)),
            single_shot=True,
        )
        return _answer(self._registrar.register(job))

    def _timeout_s(self, goal: Register.Goal) -> float:
        if not math.isfinite(goal.timeout) or goal.timeout < 0:
            raise ConfigError(ErrorCode.CONFIG_INVALID, 'timeout must be finite and not negative')
        return goal.timeout or self._parameters().registration.timeout

    def _given_views(self, goal: Register.Goal) -> tuple[XRayView, ...]:
        tree, images, infos = self._parameters(), goal.images, goal.camera_infos
        poses = goal.imager_poses
        if len(images) != len(infos):
            raise ImageError(
                ErrorCode.IMAGE_LAYOUT, f'{len(images)} images need as many camera_infos'
            )
        by_tf = tree.imager_from_tf and not poses
        if len(poses) != len(images) and (poses or len(images) > 1) and not by_tf:
            raise ImageError(
                ErrorCode.IMAGER_POSE_MISSING, f'{len(images)} images need as many imager_poses'
            )
        views = tuple(
            view_from_messages(ReceivedImage.of(image), info, pose, rectified=tree.image.rectified)
            for image, info, pose in zip(images, infos, poses or [None] * len(images), strict=True)
        )
        now_ns = self._node.get_clock().now().nanoseconds
        for view in views:
            # They may be old. A transform of the future, though, makes tf2 refuse all later ones.
            require_present(view.stamp_ns, now_ns, math.inf)
        return views

    def _with_imagers(
        self, goal_handle: ServerGoalHandle, views: tuple[XRayView, ...], frames: Frames
    ) -> tuple[XRayView, ...]:
        """Wait for what tf2 has to say of the views, and return them with their imager poses."""
        deadline = time.monotonic() + self._parameters().matching.timeout
        initials = [self.initial_pose] + [None] * (len(views) - 1)
        for view, initial in zip(views, initials, strict=True):
            while time.monotonic() < deadline:
                if frames.known(view.frame_id, view.stamp_ns, view.imager, initial):
                    break
                self._go_on(goal_handle)
                time.sleep(POLL_S)
        return tuple(map(frames.with_imager, views))

    def _await_view(self, goal_handle: ServerGoalHandle, deadline: float) -> XRayView:
        self._next_view = Mailbox()
        while time.monotonic() < deadline:
            view = self._next_view.take(POLL_S)
            if view is not None:
                self._next_view = None
                return view
            self._go_on(goal_handle)
        raise RuntimeUnavailableError(
            ErrorCode.TIMEOUT, 'no usable image arrived in time: is the image topic published?'
        )

    def _go_on(self, goal_handle: ServerGoalHandle) -> None:
        if goal_handle.is_cancel_requested:
            raise CancelledError
        self._require_active()

    def _require_active(self) -> Frames:
        frames = self._frames()
        if frames is None:
            raise RuntimeUnavailableError(
                ErrorCode.NOT_ACTIVE, 'the node is not active: configure and activate it first'
            )
        return frames

    def _failed(self, error: RegistrationError) -> Register.Result:
        frame = self._parameters().frames.patient
        return _answer(refusal_message(error, Header(), frame, self._registrar.ct_hash))


def _answer(result: RegistrationResult) -> Register.Result:
    return Register.Result(result=result, error=result.error, error_message=result.error_message)


def _feedback(progress: ProgressReport) -> Register.Feedback:
    return Register.Feedback(
        stage=progress.stage,
        iteration=progress.iteration,
        loss=progress.loss,
        best_loss=progress.best_loss,
        elapsed=progress.elapsed_s,
    )
