"""Feeds a bag to the input handlers of the node; emits matched views."""

from collections.abc import Callable

from sph_reg_ros.errors import PoseError, RegistrationError
from sph_reg_ros.messages.conversions import NANOSECONDS
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.messages.view_messages import initial_pose_from_message
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.replay.bag_reader import Event
from sph_reg_ros.service.frames import Frames
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.xray_stream import XRayStream


class BagStream:
    """Hands each message to the node's handler of its topic; time goes on with the stamps.

    Attributes:
        frames: what tf2 says at the time of the last message.
    """

    def __init__(
        self,
        parameters: NodeParameters,
        on_view: Callable[[XRayView, InitialPose | None], None],
        on_refused: Callable[[Message, RegistrationError], None],
    ) -> None:
        """Start without initial pose.

        Args:
            parameters: of the node.
            on_view: gets each view and the initial pose, if there is one, in its own frame.
            on_refused: gets the Header of each image that cannot be used, and the reason.
        """
        self._parameters = parameters
        self._initial: InitialPose | None = None
        self.frames = Frames(lambda: parameters)
        self._stream = XRayStream(
            lambda: parameters,
            self.frames,
            lambda view: on_view(view, self._initial),
            on_refused,
            lambda: self._initial,
        )
        self._cameras: dict[str, Message] = {}
        self._now_ns = self._last_stamp_ns = 0

    @property
    def _now_s(self) -> float:
        return self._now_ns / NANOSECONDS

    def take(self, event: Event) -> None:
        """Take in the next message."""
        # Stamps may start again, but time must not: images that wait would wait for ever.
        self._now_ns += max(event.stamp_ns - self._last_stamp_ns, 0)
        self._last_stamp_ns = event.stamp_ns
        match event.name:
            case 'image':
                self._stream.add_image(event.message, self._now_s)
            case 'camera_info':
                self._cameras[event.message.header.frame_id] = event.message
                self._stream.add_camera_info(event.message)
            case 'imager_pose':
                if self._parameters.imager_from_topic:
                    self._stream.add_imager_pose(event.message)
            case 'initial_pose':
                self._take_initial_pose(event.message)
            case 'tf' | 'tf_static':
                self.frames.buffer.add(event.message, static=event.name == 'tf_static')
        self._stream.hand_on(self._stream.matches(self._now_s))

    def finish(self) -> None:
        """Let the time pass that images at the end of a run may wait for their companions.

        Another run may follow. A pose of this one, even of the same stamp, says nothing about it;
        a camera that is published only once does.
        """
        matching = self._parameters.matching
        wait_s = matching.timeout + matching.max_time_difference
        self._now_ns += round(wait_s * NANOSECONDS)
        self._stream.hand_on(self._stream.matches(self._now_s))
        self._stream.forget()
        for camera in self._cameras.values():
            self._stream.add_camera_info(camera)

    def _take_initial_pose(self, message: Message) -> None:
        try:
            self._initial = initial_pose_from_message(message)
        except PoseError:
            # As in the live node: the one before is kept, and images say so if there is none.
            return
