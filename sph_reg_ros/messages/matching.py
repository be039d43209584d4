"""Find the camera and the imager pose that belong to an image, by frame and time; no ROS here.

An image waits until both are known:
- camera: the one in the image's frame that is closest in time, within `max_time_difference`. One
  with stamp 0 is timeless and fits every image of its frame. After `timeout` the newest camera of
  the same frame and size serves, with a warning: many drivers publish it only once.
- imager pose: the closest in time within `max_time_difference`; as long as a closer one may still
  come, the image waits for it.
- what tf2 has to say of it: `is_ready` is asked.
Images leave in the order of their stamps: one that waited so long that a newer one has left is
dropped, as a pose of the past must not follow, let alone replace, a newer one.
Stamps that jump back by more than `timeout` (a bag that starts again) empty the buffers.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sph_reg_ros.errors import CameraError, ErrorCode, PoseError, RegistrationError

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Sample:
    """A message with what matching needs to know of it.

    Attributes:
        stamp_ns: header stamp.
        frame_id: header frame.
        value: the message itself.
        size: (height, width) of an image or camera.
    """

    stamp_ns: int
    frame_id: str
    value: Any
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Match:
    """An image and its companions, or the reason why they were not found in time."""

    image: Sample
    camera: Sample | None = None
    imager_pose: Sample | None = None
    warnings: tuple[str, ...] = ()
    error: RegistrationError | None = None


@dataclass(frozen=True)
class _Waiting:
    image: Sample
    since_s: float


class Matcher:
    """Buffers of bounded length for images, cameras and imager poses; not thread-safe."""

    MAX_IMAGES = 4
    MAX_CAMERAS = 64
    MAX_POSES = 512

    def __init__(
        self,
        max_time_difference_s: float,
        timeout_s: float,
        *,
        needs_imager_pose: bool,
        is_ready: Callable[[Sample, Sample | None], bool] = lambda image, imager_pose: True,
    ) -> None:
        """Start with empty buffers.

        Args:
            max_time_difference_s: of stamps of what belongs together, seconds.
            timeout_s: how long an image waits, seconds.
            needs_imager_pose: whether an image needs one that is added here.
            is_ready: asked with an image and its imager pose; an image waits while it is not.
        """
        self._is_ready = is_ready
        self._tolerance_ns = round(max_time_difference_s * NANOSECONDS)
        self._tolerance_s = max_time_difference_s
        self._timeout_s = timeout_s
        self._needs_imager_pose = needs_imager_pose
        self._waiting: list[_Waiting] = []
        self._cameras: deque[Sample] = deque(maxlen=self.MAX_CAMERAS)
        self._poses: deque[Sample] = deque(maxlen=self.MAX_POSES)
        self._newest_image_ns = 0
        self._newest_match_ns = 0
        self.dropped = 0

    @property
    def waiting(self) -> bool:
        """Return whether an image waits."""
        return bool(self._waiting)

    def add_image(self, image: Sample, now_s: float) -> None:
        """Let an image wait; when too many do, it takes the place of the last that came.

        Those before it keep theirs: were the oldest to give way, images that come faster than
        their companions, or than the timeout without one, would all be gone before their turn.
        """
        if image.stamp_ns < self._newest_image_ns - self._timeout_s * NANOSECONDS:
            self._forget_after(image.stamp_ns + self._timeout_s * NANOSECONDS)
        self._newest_image_ns = image.stamp_ns
        if len(self._waiting) == self.MAX_IMAGES:
            self._waiting.pop()
            self.dropped += 1
        self._waiting.append(_Waiting(image, now_s))

    def add_camera(self, camera: Sample) -> None:
        """Keep a camera."""
        self._keep(self._cameras, camera)

    def add_imager_pose(self, pose: Sample) -> None:
        """Keep an imager pose."""
        self._keep(self._poses, pose)

    def poll(self, now_s: float) -> list[Match]:
        """Return the images that are complete or have waited too long, oldest first."""
        matches = [(waiting, self._match(waiting, now_s)) for waiting in self._waiting]
        self._waiting = [waiting for waiting, match in matches if match is None]
        return [match for _, match in matches if match is not None and self._has_its_turn(match)]

    def _has_its_turn(self, match: Match) -> bool:
        if match.image.stamp_ns < self._newest_match_ns:
            self.dropped += 1
            return False
        if match.error is None:
            self._newest_match_ns = match.image.stamp_ns
        return True

    def _keep(self, samples: deque[Sample], sample: Sample) -> None:
        jump_ns = self._timeout_s * NANOSECONDS
        if samples and 0 < sample.stamp_ns < samples[-1].stamp_ns - jump_ns:
            samples.clear()
        samples.append(sample)

    def _forget_after(self, stamp_ns: float) -> None:
        self._waiting.clear()
        self._newest_match_ns = 0
        for samples in (self._cameras, self._poses):
            kept = [sample for sample in samples if sample.stamp_ns <= stamp_ns]
            samples.clear()
            samples.extend(kept)

    def _match(self, waiting: _Waiting, now_s: float) -> Match | None:
        image, waited_s = waiting.image, now_s - waiting.since_s
        late = waited_s >= self._timeout_s
        camera = self._closest(self._cameras_of(image), image)
        warnings: tuple[str, ...] = ()
        if camera is None and late:
            camera, warnings = self._last_camera(image)
        pose = self._imager_pose(image, waited_s) if self._needs_imager_pose else None
        complete = camera is not None and (pose is not None or not self._needs_imager_pose)
        if not late and not (complete and self._is_ready(image, pose)):
            return None
        error = None if complete else self._missing(image, camera)
        return Match(image, camera, pose, warnings, error)

    def _cameras_of(self, image: Sample) -> list[Sample]:
        return [camera for camera in self._cameras if camera.frame_id == image.frame_id]

    def _closest(self, samples: list[Sample], image: Sample) -> Sample | None:
        timed = [s for s in samples if abs(s.stamp_ns - image.stamp_ns) <= self._tolerance_ns] or [
            s for s in samples if s.stamp_ns == 0
        ][-1:]
        return min(timed, key=lambda s: abs(s.stamp_ns - image.stamp_ns), default=None)

    def _last_camera(self, image: Sample) -> tuple[Sample | None, tuple[str, ...]]:
        for camera in reversed(self._cameras_of(image)):
            if camera.size == image.size:
                seconds = (image.stamp_ns - camera.stamp_ns) / NANOSECONDS
                return camera, (
                    f'camera_info is {seconds:.3f} s older than the image, which waited in vain '
                    'for its own; publish one with each image, or one with stamp 0 for all',
                )
        return None, ()

    def _imager_pose(self, image: Sample, waited_s: float) -> Sample | None:
        timed = [s for s in self._poses if s.stamp_ns > 0]
        pose = self._closest(timed, image)
        closer_may_come = waited_s < self._tolerance_s and all(
            s.stamp_ns < image.stamp_ns for s in timed
        )
        return None if closer_may_come else pose

    def _missing(self, image: Sample, camera: Sample | None) -> RegistrationError:
        if camera is None:
            seen = _seen(self._cameras, image)
            return CameraError(
                ErrorCode.CAMERA_MISSING,
                f'no camera_info for the image in frame {image.frame_id!r}: {seen}',
            )
        return PoseError(
            ErrorCode.IMAGER_POSE_MISSING,
            f'no imager_pose within {self._tolerance_s:g} s of the image: '
            f'{_seen(self._poses, image)}; publish it or set use_imager_pose to false',
        )


def _seen(samples: deque[Sample], image: Sample) -> str:
    if not samples:
        return 'none was received'
    last = samples[-1]
    height, width = last.size
    size = f', {width} x {height}' if height else ''
    seconds = (last.stamp_ns - image.stamp_ns) / NANOSECONDS
    return f'the last one is in frame {last.frame_id!r}{size}, {seconds:+.3f} s from the image'
