"""The record of a bag that the live node registered; no ROS here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.versions import versions
from sph_reg_ros.files import write_together
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.ct import load_ct
from sph_reg_ros.replay.bag_reader import BagInputs, Event
from sph_reg_ros.replay.bag_stream import BagStream
from sph_reg_ros.replay.limits import Limit
from sph_reg_ros.replay.pictures import write_pictures
from sph_reg_ros.replay.record import BagRecord, ImageRow
from sph_reg_ros.replay.rows import Judge, image_row, landmarks_of, tolerance_ns, truth_of
from sph_reg_ros.replay.written import record_files, write_summary
from sph_reg_ros.ros.conversions import nanoseconds
from sph_reg_ros.ros.image_conversions import array_from_image
from sph_reg_ros.ros.message_types import Message
from sph_reg_ros.ros.parameters import NodeParameters
from sph_reg_ros.ros.views import FramedPose, XRayView, initial_camera_from_ct


class LiveRecord:
    """Knows from the bag which view a result of the live node speaks of, and the truth."""

    def __init__(
        self, inputs: BagInputs, bag: Path, parameters: NodeParameters, truth: str
    ) -> None:
        """Read CT and truth; raises RegistrationError."""
        self._name, self._parameters = bag.resolve().name, parameters
        ct = load_ct(Path(parameters.ct.path), series_uid=parameters.ct.series_uid or None)
        volume = attenuation_from_hounsfield(ct, parameters.ct.energy_kev)
        tolerance = tolerance_ns(parameters.matching.max_time_difference)
        self._judge = Judge(landmarks_of(volume), truth_of(inputs, truth), tolerance)
        self._views: dict[int, tuple[XRayView, FramedPose | None]] = {}
        self._stream = BagStream(parameters, self._on_view, lambda image, error: None)

    def take(self, event: Event) -> None:
        """Take in a message that the node got, too."""
        self._stream.take(event)

    def record(
        self, results: Mapping[int, Message], renderings: Mapping[int, Message], folder: Path
    ) -> BagRecord:
        """Return the record, and write the pictures into a folder.

        Args:
            results: RegistrationResult by stamp (ns).
            renderings: Image of the CT at the pose that was found, by stamp; some may be missing.
            folder: made if it is not there.
        """
        self._stream.finish()
        rows = []
        for number, stamp_ns in enumerate(sorted(results), 1):
            row = self._row(number, results[stamp_ns])
            view = self._views.get(stamp_ns)
            if view is not None and row.camera_from_ct and stamp_ns in renderings:
                drr = array_from_image(renderings[stamp_ns])
                names = write_pictures(view[0], drr, self._parameters.image, folder)
                row = replace(row, pictures=names)
            rows.append(row)
        ct_hash = next((result.ct_series_uid_hash for result in results.values()), '')
        return BagRecord(self._name, ct_hash, tuple(rows), versions())

    def write(self, record: BagRecord, limits: Sequence[Limit], folder: Path) -> tuple[Path, ...]:
        """Write what a replay without ROS writes, but for the new bag; return the summaries."""
        folder.mkdir(parents=True, exist_ok=True)
        write_together(record_files(record, self._parameters, folder))
        return write_summary([(record, folder)], limits, self._parameters, folder)

    def _row(self, number: int, result: Message) -> ImageRow:
        view, initial = self._views.get(nanoseconds(result.header.stamp), (None, None))
        start = None
        if view is not None:
            try:
                start = initial_camera_from_ct(initial, view)
            except RegistrationError:
                # The node refused it for the same reason, and its result says so.
                start = None
        return image_row(number, result, view, start, self._judge)

    def _on_view(self, view: XRayView, initial: FramedPose | None) -> None:
        self._views[view.stamp_ns] = view, initial
