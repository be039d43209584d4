"""The record of a bag that the live node registered."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sph_reg_ros.errors import BagError, ErrorCode, RegistrationError
from sph_reg_ros.evaluation.versions import versions
from sph_reg_ros.files import write_together
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.messages.conversions import nanoseconds
from sph_reg_ros.messages.image_conversions import array_from_image
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.replay.bag_reader import BagInputs, Event
from sph_reg_ros.replay.bag_stream import BagStream
from sph_reg_ros.replay.limits import Limit
from sph_reg_ros.replay.outputs import record_files, require_unused, write_summary
from sph_reg_ros.replay.per_image import (
    Judge,
    Matrix,
    image_row,
    landmarks_of,
    numbered,
    tolerance_ns,
    truths_of,
)
from sph_reg_ros.replay.pictures import write_pictures
from sph_reg_ros.replay.record import BagRecord, ImageRow
from sph_reg_ros.service.parameters import NodeParameters


class LiveRecord:
    """Matches results of the live node with the views and the truth of the bag."""

    def __init__(
        self, inputs: BagInputs, bag: Path, parameters: NodeParameters, truth: str, folder: Path
    ) -> None:
        """Read CT and truth.

        Args:
            inputs: of the bag.
            bag: its folder.
            parameters: of the node; ct.path is the CT.
            truth: topic of true poses, or TUM file; '' if there is none.
            folder: for all files; made if it is not there, and it must not hold an earlier replay.

        Raises:
            RegistrationError: one of them cannot be used.
        """
        require_unused(folder)
        if inputs.runs > 1:
            # /clock cannot go back, and the node refuses what is older than its time.
            raise BagError(
                ErrorCode.BAG_UNREADABLE,
                f'the stamps of {bag.name} start again: the live node takes one run only; '
                'sph-reg replay takes all',
            )
        self._name, self._parameters, self._folder = bag.resolve().name, parameters, folder
        chosen = parameters.ct
        ct = load_ct(
            Path(chosen.path), series_uid=chosen.series_uid or None, assume_lps=chosen.assume_lps
        )
        volume = attenuation_from_hounsfield(ct, parameters.ct.energy_kev)
        self._doubts = volume.doubts
        tolerance = tolerance_ns(parameters.matching.max_time_difference)
        (known,) = truths_of(inputs, truth, tolerance)
        self._judge = Judge(landmarks_of(volume), known, tolerance)
        self._rows: list[ImageRow] = []
        self._ct_hash = ''
        # A view may be complete only after the node's result, as the bag's own time goes on.
        self._views: dict[int, tuple[XRayView, Matrix | None]] = {}
        self._results: dict[int, tuple[Message, Message | None]] = {}
        self._stream = BagStream(parameters, self._on_view, lambda image, error: None)

    def take(self, event: Event) -> None:
        """Take in a message that the node got, too."""
        self._stream.take(event)

    def note(self, result: Message, rendering: Message | None) -> None:
        """Take in what the node made of an image.

        Args:
            result: RegistrationResult.
            rendering: Image of the CT at the pose that was found; None if there is none.
        """
        stamp_ns = nanoseconds(result.header.stamp)
        self._ct_hash = self._ct_hash or result.ct_series_uid_hash
        self._results[stamp_ns] = result, rendering
        self._add_row(stamp_ns)

    def finish(self) -> BagRecord:
        """Return the record once the bag is over."""
        self._stream.finish()
        for result, _ in self._results.values():
            self._rows.append(image_row(0, result, None, None, self._judge))
        return BagRecord(
            self._name, self._ct_hash, numbered(self._rows), versions(), doubts=self._doubts
        )

    def write(self, record: BagRecord, limits: Sequence[Limit]) -> tuple[Path, ...]:
        """Write what a replay without ROS writes, but for the new bag; return the summaries."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_together(record_files(record, self._parameters, self._folder))
        return write_summary([(record, self._folder)], limits, self._parameters, self._folder)

    def _on_view(self, view: XRayView, initial: InitialPose | None) -> None:
        try:
            seen = self._stream.frames.seen_from(view, initial)
        except RegistrationError:
            # The node refused it for the same reason, and its result says so.
            seen = None
        self._views[view.stamp_ns] = view, None if seen is None else seen.matrix
        self._add_row(view.stamp_ns)

    def _add_row(self, stamp_ns: int) -> None:
        if stamp_ns not in self._views or stamp_ns not in self._results:
            return
        (view, start), (result, rendering) = (
            self._views.pop(stamp_ns),
            self._results.pop(stamp_ns),
        )
        row = image_row(0, result, view, start, self._judge)
        if row.camera_from_ct and rendering is not None:
            drr, image = array_from_image(rendering), self._parameters.image
            row = replace(row, pictures=write_pictures(view, drr, image, self._folder))
        self._rows.append(row)
