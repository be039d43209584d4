"""RegistrationResult messages from what the worker answers."""

from std_msgs.msg import Header

from sph_reg_ros import __version__
from sph_reg_ros.errors import ErrorCode, RegistrationError, SolverError
from sph_reg_ros.msg import Check, RegistrationResult
from sph_reg_ros.msg import ErrorCode as ErrorCodeMessage
from sph_reg_ros.ros.conversions import (
    MM_PER_M,
    pose_with_covariance,
    time_message,
    unknown_pose,
)
from sph_reg_ros.ros.protocol import CheckReport, Registered
from sph_reg_ros.ros.views import XRayView

_CODE_OF_CHECK = {
    'convergence': ErrorCode.NOT_CONVERGED,
    'similarity': ErrorCode.SIMILARITY_TOO_LOW,
}


def result_message(
    registered: Registered, views: tuple[XRayView, ...], patient_frame: str
) -> RegistrationResult:
    """Return the message of a registration that was carried out, good or bad."""
    header = view_header(views[0])
    message = _new_message(header, patient_frame, registered.ct_series_uid_hash)
    message.pose = pose_with_covariance(
        registered.camera_from_ct[0], registered.covariance, registered.centre_lps_mm
    )
    message.verdict = registered.verdict
    message.checks = check_messages(registered.checks)
    code, message.error_message = rejection(registered.checks)
    message.error = ErrorCodeMessage(code=code)
    message.similarity_before = registered.similarity_before
    message.similarity_after = registered.similarity_after
    message.termination = registered.termination
    message.iterations = registered.iterations
    message.compute_time = registered.compute_s
    message.views = len(views)
    message.method = registered.method
    message.backend = registered.backend
    message.runner_up_distance = registered.runner_up_mm / MM_PER_M
    message.warnings = [*views[0].warnings, *registered.warnings]
    return message


def refusal_message(
    error: RegistrationError, header: Header, patient_frame: str, ct_hash: str
) -> RegistrationResult:
    """Return the message of an image that no pose was found for; the pose is NaN."""
    message = _new_message(header, patient_frame, ct_hash)
    nan = float('nan')
    message.pose = unknown_pose()
    message.similarity_before = message.similarity_after = nan
    message.verdict = RegistrationResult.REJECTED
    message.error = ErrorCodeMessage(code=error.code)
    message.error_message = str(error)
    if isinstance(error, SolverError):
        message.termination = RegistrationResult.FAILED
    return message


def rejection(checks: tuple[CheckReport, ...]) -> tuple[ErrorCode, str]:
    """Return why a pose may not be used, by its first failed check; NONE if it may."""
    for check in checks:
        if not check.passed:
            code = _CODE_OF_CHECK.get(check.name, ErrorCode.NUMERICAL)
            return code, (
                f'check {check.name} failed: {check.value:.4g} against a limit of {check.limit:.4g}'
            )
    return ErrorCode.NONE, ''


def check_messages(checks: tuple[CheckReport, ...]) -> list[Check]:
    """Return the messages of checks."""
    return [Check(name=c.name, value=c.value, limit=c.limit, passed=c.passed) for c in checks]


def view_header(view: XRayView) -> Header:
    """Return the header of an X-ray."""
    return Header(stamp=time_message(view.stamp_ns), frame_id=view.frame_id)


def _new_message(header: Header, patient_frame: str, ct_hash: str) -> RegistrationResult:
    nan = float('nan')
    return RegistrationResult(
        header=header,
        child_frame_id=patient_frame,
        tre_rms=nan,
        tre_p95=nan,
        runner_up_distance=nan,
        ct_series_uid_hash=ct_hash,
        software_version=__version__,
    )
