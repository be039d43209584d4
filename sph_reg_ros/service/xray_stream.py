"""Matches messages in any order to validated views; shared by the live node and replay."""

from collections.abc import Callable
from dataclasses import replace

from sph_reg_ros.errors import ImageError, PoseError, RegistrationError
from sph_reg_ros.messages.conversions import framed_pose, nanoseconds
from sph_reg_ros.messages.image_conversions import image_size
from sph_reg_ros.messages.matching import Match, Matcher, Sample
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.messages.received_image import ReceivedImage, require_header
from sph_reg_ros.messages.tf_buffer import plain
from sph_reg_ros.messages.view_messages import view_from_messages
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.service.frames import Frames
from sph_reg_ros.service.parameters import NodeParameters


class XRayStream:
    """Takes messages of the node's inputs, and hands on what belongs together; not thread-safe.

    Attributes:
        received: images that were added.
    """

    def __init__(
        self,
        parameters: Callable[[], NodeParameters],
        frames: Frames,
        on_view: Callable[[XRayView], None],
        on_refused: Callable[[Message, RegistrationError], None],
        initial: Callable[[], InitialPose | None] = lambda: None,
        require_stamp: Callable[[int], None] = lambda stamp_ns: None,
        on_waiting: Callable[[int], None] = lambda stamp_ns: None,
    ) -> None:
        """Start with nothing.

        Args:
            parameters: gives the present parameters.
            frames: what tf2 says.
            on_view: gets each matched view.
            on_refused: gets the Header of each image that cannot be used, and the reason.
            initial: gives the initial pose; an image waits until its frame can be related to it.
            require_stamp: raises ImageError if an image of that time (ns) is not wanted.
            on_waiting: gets the stamp (ns) of each image that waits for what belongs to it.
        """
        self._require_stamp, self._on_waiting = require_stamp, on_waiting
        self._parameters, self._on_view, self._on_refused = parameters, on_view, on_refused
        self._frames, self._initial = frames, initial
        self._seen = {'image': '', 'imager_pose': ''}
        self._matcher = self._new_matcher()
        self.received = 0

    @property
    def dropped(self) -> int:
        """Return how many images gave way to newer ones while they waited for companions."""
        return self._matcher.dropped

    @property
    def waiting(self) -> bool:
        """Return whether an image waits for what belongs to it."""
        return self._matcher.waiting

    @property
    def direct_frames(self) -> set[str]:
        """Return the frames that need no tf2: of the last image or camera, of its imager pose."""
        return set(filter(None, self._seen.values()))

    def forget(self) -> None:
        """Drop every image, camera, imager pose and transform, but for static ones."""
        self._matcher = self._new_matcher()
        self._frames.buffer.clear()

    def add_image(self, image: Message, now_s: float) -> None:
        """Take an Image or CompressedImage; `now_s` runs on steadily, from any beginning."""
        self.received += 1
        try:
            stamp_ns = require_header(image)
            self._require_stamp(stamp_ns)
            # A broken image is refused for what it is, not for lack of companions later.
            received = ReceivedImage.of(image)
        except ImageError as error:
            self._on_refused(image.header, error)
            return
        self._on_waiting(stamp_ns)
        self._seen['image'] = plain(image.header.frame_id)
        sample = Sample(stamp_ns, image.header.frame_id, received, received.size)
        self._matcher.add_image(sample, now_s)

    def add_camera_info(self, info: Message) -> None:
        """Take a CameraInfo."""
        stamp_ns = nanoseconds(info.header.stamp)
        self._seen['image'] = plain(info.header.frame_id)
        self._matcher.add_camera(Sample(stamp_ns, info.header.frame_id, info, image_size(info)))

    def add_imager_pose(self, pose: Message) -> None:
        """Take a PoseStamped."""
        stamp_ns = nanoseconds(pose.header.stamp)
        self._seen['imager_pose'] = plain(pose.header.frame_id)
        self._matcher.add_imager_pose(Sample(stamp_ns, pose.header.frame_id, pose))

    def matches(self, now_s: float) -> list[Match]:
        """Return what is complete or has waited too long, to be handed on."""
        return self._matcher.poll(now_s)

    def hand_on(self, matches: list[Match]) -> None:
        """Call back for each match."""
        for match in matches:
            try:
                view = self._view(match)
            except RegistrationError as error:
                self._on_refused(match.image.value.header, error)
            else:
                self._on_view(view)

    def _new_matcher(self) -> Matcher:
        tree = self._parameters()
        return Matcher(
            tree.matching.max_time_difference,
            tree.matching.timeout,
            needs_imager_pose=tree.imager_from_topic,
            is_ready=self._is_ready,
        )

    def _is_ready(self, image: Sample, imager_pose: Sample | None) -> bool:
        imager = None
        if imager_pose is not None:
            try:
                imager = framed_pose(imager_pose.frame_id, imager_pose.value.pose, 'imager_pose')
            except PoseError:
                return True
        return self._frames.known(image.frame_id, image.stamp_ns, imager, self._initial())

    def _view(self, match: Match) -> XRayView:
        if match.error is not None:
            raise match.error
        assert match.camera is not None
        pose = match.imager_pose.value if match.imager_pose else None
        rectified = self._parameters().image.rectified
        view = view_from_messages(match.image.value, match.camera.value, pose, rectified=rectified)
        view = replace(view, warnings=(*view.warnings, *match.warnings))
        return self._frames.with_imager(view)
