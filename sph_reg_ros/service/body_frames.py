"""Frames of bodies beside those of the node."""

from collections.abc import Iterable

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.imaging.bodies.entries import BodyEntry
from sph_reg_ros.service.parameters import NodeParameters


def require_own_frames(entries: Iterable[BodyEntry], parameters: NodeParameters) -> None:
    """Raise BodyError BODIES_INVALID if a body asks for a frame that is another one's."""
    patient, imager_pose = parameters.frames.patient, parameters.imager_pose
    taken = {
        patient,
        patient + parameters.frames.ras_suffix,
        imager_pose.fixed_frame,
        imager_pose.imager_frame,
    }
    for entry in entries:
        if entry.frame and entry.frame in taken:
            raise BodyError(
                ErrorCode.BODIES_INVALID,
                f'body {entry.name!r}: the frame {entry.frame!r} is that of the patient or of the '
                'imager: give it one of its own',
            )
