"""The demo's table and verdict; no ROS here."""

from dataclasses import dataclass
from statistics import median

from sph_reg_ros.evaluation.metrics import PoseError

MAX_MEDIAN_MM = 1.0
MAX_MEDIAN_DEG = 0.5
LANDMARK_HALF_SIZE_MM = (60.0, 60.0, 60.0)
"""Of the box about the middle of the CT whose points' errors are shown."""
_HEADER = (
    f'{"image":>5}  {"angle":19}  {"start mm":>8}  {"deg":>4}  {"in-plane mm":>11}  '
    f'{"depth mm":>8}  {"mTRE mm":>7}  {"rotation deg":>12}  {"similarity":>10}  '
    f'{"time s":>6}  verdict'
)


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        index: number of the image, from 0.
        angle: C-arm angles, as they are said.
        start: error of the pose that the encoders gave.
        final: error of the pose that was looked up on tf2; None if there was none.
        similarity: normalised cross-correlation after registration.
        time_s: from exposure to result.
        verdict: 'verified', or why not.
    """

    index: int
    angle: str
    start: PoseError
    final: PoseError | None
    similarity: float
    time_s: float
    verdict: str

    @property
    def registered(self) -> bool:
        """Return whether a downstream node could use this image."""
        return self.final is not None and self.verdict == 'verified'

    def __str__(self) -> str:
        """Return the table's line."""
        error = self.final
        figures = (
            f'{error.in_plane_mm:11.2f}  {error.depth_mm:8.2f}  {error.mtre_mm:7.2f}  '
            f'{error.rotation_deg:12.3f}'
            if error
            else f'{"-":>11}  {"-":>8}  {"-":>7}  {"-":>12}'
        )
        return (
            f'{self.index + 1:5d}  {self.angle:19s}  {self.start.mtre_mm:8.2f}  '
            f'{self.start.rotation_deg:4.2f}  {figures}  {self.similarity:10.4f}  '
            f'{self.time_s:6.1f}  {self.verdict}'
        )


@dataclass(frozen=True)
class BodyRow:
    """One body in one image.

    Attributes:
        name: of the body.
        moved_mm: how far its middle truly moved since the CT.
        moved_deg: how far it truly turned.
        error: of the pose that was looked up on tf2, else of that of the result.
        verdict: 'verified', or why not.
        has_frame: whether its frame was on tf2.
    """

    name: str
    moved_mm: float
    moved_deg: float
    error: PoseError
    verdict: str
    has_frame: bool

    @property
    def registered(self) -> bool:
        """Return whether a downstream node could use the body's frame."""
        return self.has_frame and self.verdict == 'verified'

    def __str__(self) -> str:
        """Return the table's line."""
        error = self.error
        return (
            f'{"":5}  {self.name:6} moved {self.moved_mm:4.1f} mm {self.moved_deg:4.1f} deg'
            f'{"":6}  {error.in_plane_mm:11.2f}  {error.depth_mm:8.2f}  {error.mtre_mm:7.2f}  '
            f'{error.rotation_deg:12.3f}  {"":10}  {"":6}  {self.verdict}'
        )


def body_summary(rows: list[BodyRow]) -> str:
    """Return medians over the bodies whose frames were on tf2."""
    errors = [row.error for row in rows if row.registered]
    if not errors:
        return f'bodies: 0 of {len(rows)} have a frame'
    millimetres = median(error.mtre_mm for error in errors)
    degrees = median(error.rotation_deg for error in errors)
    return (
        f'bodies: {len(errors)} of {len(rows)} have a frame, median error {millimetres:.2f} mm, '
        f'{degrees:.2f} deg'
    )


def caption(error: PoseError) -> str:
    """Return what is written under a picture."""
    return f'{error.in_plane_mm:.2f} mm in plane   {error.rotation_deg:.2f}°'


def header() -> str:
    """Return the line above the rows, and what the lengths mean."""
    note = 'mm: means over 14 points of a box of 120 mm around the anatomy centre; start mm is mTRE'
    return f'{note}\n{_HEADER}'


def summary(rows: list[Row]) -> str:
    """Return the last line of the demo: medians over the images that were registered."""
    errors = [row.final for row in rows if row.registered and row.final is not None]
    if not errors:
        return 'demo: 0 registered'
    millimetres = median(error.in_plane_mm for error in errors)
    degrees = median(error.rotation_deg for error in errors)
    return f'demo: {len(errors)} registered, median error {millimetres:.2f} mm, {degrees:.2f} deg'


def passed(rows: list[Row], images: int) -> bool:
    """Return whether every image was registered and the medians are small enough."""
    errors = [row.final for row in rows if row.registered and row.final is not None]
    if len(rows) != images or len(errors) != images:
        return False
    return (
        median(error.in_plane_mm for error in errors) < MAX_MEDIAN_MM
        and median(error.rotation_deg for error in errors) < MAX_MEDIAN_DEG
    )
