"""Typed errors; the codes are shared with the ROS messages (msg/ErrorCode.msg)."""

import sys
from enum import IntEnum


class ErrorCode(IntEnum):
    """What went wrong, as one number for the library, the messages and the exit text."""

    NONE = 0
    # CT
    CT_NOT_LOADED = 10
    CT_UNREADABLE = 11
    CT_SEVERAL_SERIES = 12
    CT_GEOMETRY = 13
    CT_TOO_FEW_SLICES = 14
    # X-ray image
    IMAGE_UNREADABLE = 20
    IMAGE_ENCODING = 21
    IMAGE_LAYOUT = 22
    IMAGE_CONTENT = 23
    IMAGE_STAMP = 24
    IMAGE_MISSING = 25
    # Camera
    CAMERA_MISSING = 30
    CAMERA_UNCALIBRATED = 31
    CAMERA_INVALID = 32
    CAMERA_IMAGE_MISMATCH = 33
    CAMERA_INCONSISTENT = 34
    # Poses
    # 40 was INITIAL_POSE_MISSING; it is not used again.
    POSE_INVALID = 41
    IMAGER_POSE_MISSING = 42
    TRANSFORM_MISSING = 43
    # Weights
    WEIGHTS_MISSING = 50
    WEIGHTS_INVALID = 51
    # Settings
    CONFIG_INVALID = 60
    BACKEND_UNAVAILABLE = 61
    PATH_NOT_ALLOWED = 62
    # Registration
    NO_OVERLAP = 70
    NOT_CONVERGED = 71
    SIMILARITY_TOO_LOW = 72
    NUMERICAL = 73
    POSE_UNCERTAIN = 74
    STARTS_DISAGREE = 75
    SIMILARITIES_DISAGREE = 76
    RIVAL_POSE = 77
    FAR_FROM_PRIOR = 78
    LITTLE_OVERLAP = 79
    # Running
    WORKER_DIED = 80
    TIMEOUT = 81
    CANCELLED = 82
    NOT_ACTIVE = 83
    BUSY = 84
    DEPENDENCY_MISSING = 85
    # Bags
    BAG_UNREADABLE = 90
    BAG_TOPIC_MISSING = 91
    # Bodies
    BODIES_INVALID = 100
    BODY_UNREADABLE = 101
    BODY_LABELS = 102
    BODY_MESH = 103
    BODY_OUT_OF_VIEW = 104
    BODY_MOVED = 105
    TARGET_INVALID = 106
    TARGET_OUT_OF_VIEW = 107


class RegistrationError(Exception):
    """An error that a caller can act on: `code` says which, the text says what to do."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        """Keep both arguments in `args`, so that the error survives a trip between processes."""
        super().__init__(code, message)
        self.code = ErrorCode(code)

    def __str__(self) -> str:
        """Return the message alone; the code is an attribute."""
        return str(self.args[1])


class CTError(RegistrationError):
    """The CT cannot be read, or its geometry cannot be trusted."""


class ImageError(RegistrationError):
    """The X-ray image cannot be read or used."""


class CameraError(RegistrationError):
    """The camera is missing, uncalibrated or does not belong to the image."""


class PoseError(RegistrationError):
    """A pose is missing or is no rigid transform."""


class WeightsError(RegistrationError):
    """Network weights are missing or are not what their card says."""


class ConfigError(RegistrationError):
    """A setting is out of range, unknown, or not available on this machine."""


class SolverError(RegistrationError):
    """The registration could not be computed."""


class RuntimeUnavailableError(RegistrationError):
    """The part that does the work is not there: not active, busy, dead or too late."""


class BagError(RegistrationError):
    """A bag cannot be read or written, or lacks what a registration needs."""


class BodyError(RegistrationError):
    """The list of bodies is wrong, or a body of it cannot be read or is not in view."""


class CancelledError(RegistrationError):
    """The caller asked to stop: CANCELLED, or TIMEOUT if what there is may still be of use."""

    def __init__(self, code: ErrorCode = ErrorCode.CANCELLED, message: str = 'cancelled') -> None:
        """Take what every error has."""
        super().__init__(code, message)


def require_setting(condition: bool, message: str) -> None:
    """Raise ConfigError CONFIG_INVALID unless a condition holds."""
    if not condition:
        raise ConfigError(ErrorCode.CONFIG_INVALID, message)


# Packages that are installed by another name than they are imported by.
_INSTALLED_AS = {
    'PIL': 'Pillow',
    'cv2': 'opencv-python-headless',
    'jinja2': 'Jinja2',
    'yaml': 'PyYAML',
}
_OF_ROS = ('rclpy', 'rcl_interfaces', 'tf2_msgs', 'tf2_ros', 'launch', 'launch_ros')


def missing_package(error: ImportError | OSError) -> RuntimeUnavailableError:
    """Return what to do about a package that is not installed, or that cannot be loaded."""
    package = (getattr(error, 'name', None) or '').partition('.')[0]
    if not isinstance(error, ModuleNotFoundError) or not package:
        reason = f'a package that is needed cannot be loaded: {type(error).__name__}: {error}'
    elif package in _OF_ROS or package.endswith('_msgs'):
        reason = f'the ROS package {package} is missing: source your ROS 2, or install it'
    else:
        name = _INSTALLED_AS.get(package, package)
        reason = (
            f'the Python package {package} is missing: {sys.executable} -m pip install {name} '
            '(README, "Use it", has a line for all packages that does not touch those of ROS)'
        )
    return RuntimeUnavailableError(ErrorCode.DEPENDENCY_MISSING, reason)


def registration_error(error: Exception) -> RegistrationError:
    """Return an error as a typed one: itself if it is, else SolverError NUMERICAL."""
    if isinstance(error, RegistrationError):
        return error
    if isinstance(error, MemoryError):
        return SolverError(ErrorCode.NUMERICAL, 'out of memory: use a smaller CT')
    reason = f'internal error: {type(error).__name__}: {error}'
    return SolverError(ErrorCode.NUMERICAL, reason)
