"""Turns replies of the worker into messages: result, status, transforms.

`new` makes the messages: the installed ROS unless another is given.
"""

from sph_reg_ros import __version__
from sph_reg_ros.errors import ErrorCode, RegistrationError, SolverError
from sph_reg_ros.messages.conversions import (
    MM_PER_M,
    PATIENT_FROM_RAS,
    header_message,
    pose_with_covariance,
    transform_message,
    unknown_pose,
)
from sph_reg_ros.messages.message_types import Message, NewMessage, ros_message
from sph_reg_ros.messages.xray_view import XRayView
from sph_reg_ros.registration.reasons import InputDoubt, failures, finding_of
from sph_reg_ros.service.parameters import FrameParameters
from sph_reg_ros.service.protocol import CheckReport, Registered

FIGURES = ' Figures: '
"""What stands in an error message between the sentences and the figures of the failed checks."""


def result_message(
    registered: Registered,
    views: tuple[XRayView, ...],
    patient_frame: str,
    new: NewMessage = ros_message,
) -> Message:
    """Return the RegistrationResult of a registration that was carried out, good or bad."""
    header = view_header(views[0], new)
    message = _new_result(header, patient_frame, registered.ct_series_uid_hash, new)
    message.pose = pose_with_covariance(
        registered.camera_from_ct[0], registered.covariance, registered.centre_lps_mm, new
    )
    message.verdict = registered.verdict
    message.checks = [
        new('sph_reg_ros/Check', name=c.name, value=c.value, limit=c.limit, passed=c.passed)
        for c in registered.checks
    ]
    message.error.code, message.error_message = rejection(registered.checks, registered.doubts)
    message.similarity_before = registered.similarity_before
    message.similarity_after = registered.similarity_after
    message.termination = registered.termination
    message.iterations = registered.iterations
    message.compute_time = registered.compute_s
    since = registered.frames_since_full_checks
    message.frames_since_full_checks = -1 if since is None else since
    message.views = len(views)
    message.method = registered.method
    message.backend = registered.backend
    message.device = registered.device
    message.tre_rms = registered.tre_rms_mm / MM_PER_M
    message.tre_p95 = registered.tre_p95_mm / MM_PER_M
    message.runner_up_distance = registered.runner_up_mm / MM_PER_M
    message.warnings = [*views[0].warnings, *registered.warnings]
    return message


def refusal_message(
    error: RegistrationError,
    header: Message,
    patient_frame: str,
    ct_hash: str,
    new: NewMessage = ros_message,
) -> Message:
    """Return the RegistrationResult of an image without a pose, which is NaN."""
    message = _new_result(header, patient_frame, ct_hash, new)
    nan = float('nan')
    message.pose = unknown_pose(new)
    message.similarity_before = message.similarity_after = nan
    message.verdict = message.REJECTED
    message.error.code, message.error_message = int(error.code), str(error)
    if isinstance(error, SolverError):
        message.termination = message.FAILED
    return message


def rejection(
    checks: tuple[CheckReport, ...], doubts: tuple[InputDoubt, ...] = ()
) -> tuple[int, str]:
    """Return why a pose may not be used: code, and reason, advice and figures; NONE if it may.

    Args:
        checks: of the pose.
        doubts: about the inputs.
    """
    finding = finding_of(checks, doubts)
    if finding is None:
        return int(ErrorCode.NONE), ''
    figures = (f'{c.name} is {c.value:.4g}, its limit {c.limit:.4g}' for c in failures(checks))
    return int(finding.code), f'{finding.explanation}{FIGURES}{"; ".join(figures)}'


def view_header(view: XRayView, new: NewMessage = ros_message) -> Message:
    """Return the Header of an X-ray."""
    return header_message(view.stamp_ns, view.frame_id, new)


def note_result(status: Message, result: Message) -> None:
    """Take verdict, checks and error of a result over into a RegistrationStatus, and count it."""
    count_result(status, result)
    status.state = {
        result.UNVERIFIED: status.UNVERIFIED,
        result.VERIFIED: status.VERIFIED,
        result.REJECTED: status.REJECTED,
    }[result.verdict]
    status.header.frame_id = result.header.frame_id
    status.result_stamp = result.header.stamp
    status.error, status.error_message = result.error, result.error_message
    status.checks = result.checks


def count_result(status: Message, result: Message) -> None:
    """Count a result in a RegistrationStatus, and leave the rest of it as it is."""
    refused = result.termination == result.NOT_RUN
    status.images_refused += refused
    status.images_registered += not refused


def patient_transforms(
    registered: Registered,
    view: XRayView,
    frames: FrameParameters,
    new: NewMessage = ros_message,
) -> list[Message]:
    """Return parent -> patient and patient -> RAS, both at the time of the X-ray.

    The parent is the fixed frame where an imager pose is known: with the imager's pose at the time
    of exposure in it, moving the C-arm afterwards does not move the patient. Otherwise the parent
    is the imager.
    """
    parent, parent_from_patient = view.frame_id, registered.camera_from_ct[0]
    if view.imager is not None:
        parent = view.imager.frame_id
        parent_from_patient = view.imager.matrix @ parent_from_patient
    patient, ras = frames.patient, frames.patient + frames.ras_suffix
    return [
        transform_message(parent_from_patient, parent, patient, view.stamp_ns, new),
        transform_message(PATIENT_FROM_RAS, patient, ras, view.stamp_ns, new),
    ]


def _new_result(header: Message, patient_frame: str, ct_hash: str, new: NewMessage) -> Message:
    nan = float('nan')
    return new(
        'sph_reg_ros/RegistrationResult',
        header=header,
        child_frame_id=patient_frame,
        tre_rms=nan,
        tre_p95=nan,
        runner_up_distance=nan,
        ct_series_uid_hash=ct_hash,
        software_version=__version__,
    )
