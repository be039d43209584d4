"""Writes the results of a replay into a bag, as the live node sends them."""

from collections.abc import Sequence

from sph_reg_ros.messages.conversions import NANOSECONDS, nanoseconds, time_message
from sph_reg_ros.replay.bag_messages import bag_message
from sph_reg_ros.replay.bag_writer import BagWriter
from sph_reg_ros.replay.offline_node import ImageResult
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.result_messages import note_result, verified_transforms

RESULT, STATUS = '/registration/result', '/registration/status'


class ResultBag:
    """Writes /tf, ~/result and ~/status; each message as received at the stamp of its X-ray."""

    def __init__(
        self, bag: BagWriter, parameters: NodeParameters, ct_hash: str, doubts: Sequence[str] = ()
    ) -> None:
        """Start with no image, and with the doubts about the CT."""
        self._bag, self._parameters = bag, parameters
        self._status = bag_message(
            'sph_reg_ros/RegistrationStatus', ct_series_uid_hash=ct_hash, warnings=list(doubts)
        )

    def write(self, outcome: ImageResult) -> None:
        """Write what became of an image; transforms only if it is VERIFIED."""
        result, view, registered = outcome.result, outcome.view, outcome.registered
        # An image may bear any stamp, and is refused for it; a bag knows no time before 1970.
        stamp_ns = max(nanoseconds(result.header.stamp), 0)
        transforms = []
        if view is not None and registered is not None:
            frames = self._parameters.frames
            transforms = verified_transforms(registered, view, frames, bag_message)
        if transforms:
            tf = bag_message('tf2_msgs/TFMessage', transforms=transforms)
            self._bag.write('/tf', tf, stamp_ns)
        self._bag.write(RESULT, result, stamp_ns)
        status = self._status
        status.images_received += 1
        status.header.stamp = result.header.stamp
        end_ns = (
            stamp_ns + round(self._parameters.validity.duration * NANOSECONDS) if transforms else 0
        )
        status.valid_until = time_message(end_ns, bag_message)
        note_result(status, result)
        self._bag.write(STATUS, status, stamp_ns, latched=True)
