"""Turns replies of the worker into messages: result, status, transforms.

`new` makes the messages: the installed ROS unless another is given.
"""

from typing import Any

import numpy as np

from sph_reg_ros import __version__
from sph_reg_ros.errors import ErrorCode, RegistrationError, SolverError
from sph_reg_ros.messages.conversions import (
    MM_PER_M,
    PATIENT_FROM_RAS,
    header_message,
    pose_with_covariance,
    transform_from_matrix,
    transform_message,
    unknown_pose,
)
from sph_reg_ros.messages.message_types import Message, NewMessage, ros_message
from sph_reg_ros.messages.xray_view import XRayView
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.reasons import InputDoubt, failures, finding_of
from sph_reg_ros.registration.suggested_view import SuggestedView
from sph_reg_ros.service.parameters import FrameParameters
from sph_reg_ros.service.protocol import BodyReport, CheckReport, Registered

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
    message.checks = _check_messages(registered.checks, new)
    message.bodies = [_body_message(body, patient_frame, new) for body in registered.bodies]
    message.target = registered.target
    message.next_view = _next_view_messages(registered.next_view, new)
    message.moved = [_moved_message(part, new) for part in registered.moved]
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
    for name, value in _error_fields(registered, new).items():
        setattr(message, name, value)
    message.runner_up_distance = registered.runner_up_mm / MM_PER_M
    message.warnings = [*views[0].warnings, *registered.warnings]
    return message


def _check_messages(checks: tuple[CheckReport, ...], new: NewMessage) -> list[Message]:
    return [
        new('sph_reg_ros/Check', name=c.name, value=c.value, limit=c.limit, passed=c.passed)
        for c in checks
    ]


def _body_message(body: BodyReport, patient_frame: str, new: NewMessage) -> Message:
    code, text = rejection(body.checks)
    return new(
        'sph_reg_ros/BodyResult',
        name=body.name,
        child_frame_id=body_frame(body, patient_frame),
        pose=pose_with_covariance(body.camera_from_body[0], body.covariance, body.centre_mm, new),
        verdict=body.verdict,
        checks=_check_messages(body.checks, new),
        error=new('sph_reg_ros/ErrorCode', code=code),
        error_message=text,
        moved_from_rest=transform_from_matrix(body.moved_from_rest, new),
        translation=body.translation_mm / MM_PER_M,
        rotation=body.rotation_rad,
        **_error_fields(body, new),
    )


def _error_fields(report: Registered | BodyReport, new: NewMessage) -> dict[str, Any]:
    """Return what a message says of the error, by the names of its fields."""
    return {
        'tre_rms': report.tre_rms_mm / MM_PER_M,
        'tre_p95': report.tre_p95_mm / MM_PER_M,
        'tre_p95_across': report.tre_p95_across_mm / MM_PER_M,
        'tre_p95_along': report.tre_p95_along_mm / MM_PER_M,
        'along': new('geometry_msgs/Vector3', **dict(zip('xyz', report.along, strict=True))),
        'verdict_for': report.verdict_for,
    }


def _next_view_messages(suggested: SuggestedView | None, new: NewMessage) -> list[Message]:
    if suggested is None:
        return []
    bound = suggested.bound
    return [
        new(
            'sph_reg_ros/SuggestedView',
            primary=suggested.primary_rad,
            secondary=suggested.secondary_rad,
            turned=suggested.turned_rad,
            tre_p95=bound.total_mm / MM_PER_M,
            tre_p95_across=bound.across_mm / MM_PER_M,
            tre_p95_along=bound.along_mm / MM_PER_M,
        )
    ]


def _moved_message(part: MovedPart, new: NewMessage) -> Message:
    x, y, z = (mm / MM_PER_M for mm in part.centre_lps_mm)
    width, height, columns, rows = (mm / MM_PER_M for mm in (*part.extent_mm, *part.shift_mm))
    return new(
        'sph_reg_ros/MovedPart',
        view=part.view,
        box=list(part.box),
        centre=new('geometry_msgs/Point', x=x, y=y, z=z),
        width=width,
        height=height,
        shift_columns=columns,
        shift_rows=rows,
    )


def body_frame(body: BodyReport, patient_frame: str) -> str:
    """Return the tf frame of a body."""
    return body.frame or f'{patient_frame}/{body.name}'


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
    status.verdict_for = result.verdict_for
    status.header.frame_id = result.header.frame_id
    status.result_stamp = result.header.stamp
    status.error, status.error_message = result.error, result.error_message
    status.checks = result.checks


def count_result(status: Message, result: Message) -> None:
    """Count a result in a RegistrationStatus, and leave the rest of it as it is."""
    refused = result.termination == result.NOT_RUN
    status.images_refused += refused
    status.images_registered += not refused


def verified_transforms(
    registered: Registered,
    view: XRayView,
    frames: FrameParameters,
    new: NewMessage = ros_message,
) -> list[Message]:
    """Return parent -> patient, patient -> RAS and parent -> body at the time of the X-ray.

    Patient and bodies are there each for itself, if it is VERIFIED. The parent is the fixed frame
    where an imager pose is known: with the imager's pose at the time of exposure in it, moving the
    C-arm afterwards does not move the patient. Otherwise the parent is the imager.
    """
    imager, patient = view.imager, frames.patient
    verified = new('sph_reg_ros/RegistrationResult').VERIFIED
    parent = view.frame_id if imager is None else imager.frame_id
    parent_from_camera = np.eye(4) if imager is None else imager.matrix
    placed = []
    if registered.verdict == verified:
        placed += [
            (parent_from_camera @ registered.camera_from_ct[0], parent, patient),
            (PATIENT_FROM_RAS, patient, patient + frames.ras_suffix),
        ]
    placed += [
        (parent_from_camera @ body.camera_from_body[0], parent, body_frame(body, patient))
        for body in registered.bodies
        if body.verdict == verified
    ]
    return [
        transform_message(matrix, above, child, view.stamp_ns, new)
        for matrix, above, child in placed
    ]


def _new_result(header: Message, patient_frame: str, ct_hash: str, new: NewMessage) -> Message:
    nan = float('nan')
    return new(
        'sph_reg_ros/RegistrationResult',
        header=header,
        child_frame_id=patient_frame,
        tre_rms=nan,
        tre_p95=nan,
        tre_p95_across=nan,
        tre_p95_along=nan,
        along=new('geometry_msgs/Vector3', x=nan, y=nan, z=nan),
        runner_up_distance=nan,
        ct_series_uid_hash=ct_hash,
        software_version=__version__,
    )
