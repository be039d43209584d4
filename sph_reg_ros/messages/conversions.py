"""Poses between messages (metres, quaternions) and the core (mm, matrices): the only crossing.

Images and camera intrinsics, which have no unit of length, are in image_conversions.py. Where
messages are built, `new` makes them: the installed ROS unless another is given.
"""

import numpy as np
from jaxtyping import Float64
from transforms3d.quaternions import mat2quat, quat2mat

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.messages.message_types import Message, NewMessage, ros_message
from sph_reg_ros.messages.xray_view import FramedPose

MM_PER_M = 1000.0
NANOSECONDS = 1_000_000_000
MAX_DISTANCE_M = 5.0
"""No patient or imager is farther away; a pose beyond this is in millimetres by mistake."""
MAX_QUATERNION_ERROR = 1e-3

PATIENT_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""LPS from RAS: half a turn about z."""


def matrix_from_pose(pose: Message) -> Float64[np.ndarray, '4 4']:
    """Return the rigid transform (mm) of a Pose message.

    Raises:
        PoseError: POSE_INVALID if a value is not finite, the quaternion is not of unit length
            within 1e-3, or the position is farther away than 5 m.
    """
    return _rigid(pose.position, pose.orientation)


def matrix_from_transform(transform: Message) -> Float64[np.ndarray, '4 4']:
    """Return the rigid transform (mm) of a Transform message; raises PoseError as for a Pose."""
    return _rigid(transform.translation, transform.rotation)


def framed_pose(frame_id: str, pose: Message, name: str) -> FramedPose:
    """Return a pose with its frame; errors name the topic or field it came in by.

    Raises:
        PoseError: POSE_INVALID if the frame is empty or the pose is no rigid transform.
    """
    if not frame_id:
        raise PoseError(ErrorCode.POSE_INVALID, f'{name}: header.frame_id is empty')
    try:
        return FramedPose(frame_id, matrix_from_pose(pose))
    except PoseError as error:
        raise PoseError(error.code, f'{name}: {error}') from None


def require_covariance(
    covariance: Float64[np.ndarray, '36'], name: str
) -> Float64[np.ndarray, '6 6']:
    """Check a message's covariance and return it as a matrix; all zeros means unknown and passes.

    Raises:
        PoseError: POSE_INVALID unless it is finite, symmetric and positive semidefinite.
    """
    matrix = np.asarray(covariance, dtype=np.float64).reshape(6, 6)
    if not np.isfinite(matrix).all():
        raise PoseError(ErrorCode.POSE_INVALID, f'{name}: the covariance is not finite')
    scale = max(float(np.abs(matrix).max()), 1e-30)
    if np.abs(matrix - matrix.T).max() > 1e-6 * scale:
        raise PoseError(ErrorCode.POSE_INVALID, f'{name}: the covariance is not symmetric')
    if np.linalg.eigvalsh(matrix).min() < -1e-6 * scale:
        raise PoseError(
            ErrorCode.POSE_INVALID, f'{name}: the covariance is not positive semidefinite'
        )
    return (matrix + matrix.T) / 2


def pose_from_matrix(matrix: Float64[np.ndarray, '4 4'], new: NewMessage = ros_message) -> Message:
    """Return the Pose message (m) of a rigid transform (mm)."""
    pose = new('geometry_msgs/Pose')
    pose.position.x, pose.position.y, pose.position.z = _metres(matrix)
    o = pose.orientation
    o.w, o.x, o.y, o.z = _quaternion(matrix)
    return pose


def transform_from_matrix(
    matrix: Float64[np.ndarray, '4 4'], new: NewMessage = ros_message
) -> Message:
    """Return the Transform message (m) of a rigid transform (mm)."""
    transform = new('geometry_msgs/Transform')
    t, r = transform.translation, transform.rotation
    t.x, t.y, t.z = _metres(matrix)
    r.w, r.x, r.y, r.z = _quaternion(matrix)
    return transform


def transform_message(
    parent_from_child: Float64[np.ndarray, '4 4'],
    parent: str,
    child: str,
    stamp_ns: int,
    new: NewMessage = ros_message,
) -> Message:
    """Return the TransformStamped (m) that puts `child` into `parent` at a time (matrix in mm)."""
    return new(
        'geometry_msgs/TransformStamped',
        header=header_message(stamp_ns, parent, new),
        child_frame_id=child,
        transform=transform_from_matrix(parent_from_child, new),
    )


def pose_with_covariance(
    camera_from_ct: Float64[np.ndarray, '4 4'],
    twist_covariance: Float64[np.ndarray, '6 6'],
    centre_lps_mm: Float64[np.ndarray, '3'],
    new: NewMessage = ros_message,
) -> Message:
    """Return the pose (m) of the patient in the imager with its covariance (m, rad)."""
    covariance = covariance_of_origin(camera_from_ct, twist_covariance, centre_lps_mm)
    return new(
        'geometry_msgs/PoseWithCovariance',
        pose=pose_from_matrix(camera_from_ct, new),
        covariance=covariance.reshape(36),
    )


def covariance_of_origin(
    camera_from_ct: Float64[np.ndarray, '4 4'],
    twist_covariance: Float64[np.ndarray, '6 6'],
    centre_lps_mm: Float64[np.ndarray, '3'],
) -> Float64[np.ndarray, '6 6']:
    """Carry the covariance of a twist about the anatomy centre over to the patient frame's origin.

    A twist (omega, v) on the left of camera_from_ct, about the centre c in camera coordinates,
    moves the origin t by v + omega x (t - c) and turns the axes by omega, both in imager axes.

    Args:
        camera_from_ct: pose (mm).
        twist_covariance: of (omega rad, v mm).
        centre_lps_mm: the point that the twist turns about, CT coordinates.

    Returns:
        Covariance of (x, y, z in m, rotation about X, Y, Z in rad), axes of the imager frame.
    """
    from_centre = -camera_from_ct[:3, :3] @ centre_lps_mm
    J = np.zeros((6, 6))
    J[:3, :3] = -_cross_matrix(from_centre) / MM_PER_M
    J[:3, 3:] = np.eye(3) / MM_PER_M
    J[3:, :3] = np.eye(3)
    covariance = J @ twist_covariance @ J.T
    return (covariance + covariance.T) / 2


def covariance_of_centre(
    camera_from_ct: Float64[np.ndarray, '4 4'],
    covariance: Float64[np.ndarray, '6 6'],
    centre_lps_mm: Float64[np.ndarray, '3'],
) -> Float64[np.ndarray, '6 6']:
    """Carry the covariance of the patient frame's origin over to the anatomy centre.

    The inverse of `covariance_of_origin`, but for shifts of which nothing is known: where their
    variances are all zero, they stay so.

    Args:
        camera_from_ct: pose (mm).
        covariance: of (x, y, z in m, rotation about X, Y, Z in rad), axes of the imager frame.
        centre_lps_mm: the point that twists turn about, CT coordinates.

    Returns:
        Covariance of (rotation in rad, shift of the centre in mm), axes of the imager frame.
    """
    J = np.zeros((6, 6))
    J[:3, 3:] = np.eye(3)
    if covariance[:3, :3].any():
        J[3:, :3] = np.eye(3) * MM_PER_M
        J[3:, 3:] = -_cross_matrix(camera_from_ct[:3, :3] @ centre_lps_mm)
    carried = J @ covariance @ J.T
    return (carried + carried.T) / 2


def unknown_pose(new: NewMessage = ros_message) -> Message:
    """Return a pose of NaN, which stands for none."""
    nan = float('nan')
    message = new('geometry_msgs/PoseWithCovariance')
    p, o = message.pose.position, message.pose.orientation
    p.x = p.y = p.z = o.x = o.y = o.z = o.w = nan
    message.covariance = np.full(36, nan)
    return message


def nanoseconds(stamp: Message) -> int:
    """Return a Time message as one integer."""
    return int(stamp.sec * NANOSECONDS + stamp.nanosec)


def time_message(stamp_ns: int, new: NewMessage = ros_message) -> Message:
    """Return the Time message of a number of nanoseconds."""
    sec, nanosec = divmod(stamp_ns, NANOSECONDS)
    return new('builtin_interfaces/Time', sec=sec, nanosec=nanosec)


def header_message(stamp_ns: int, frame_id: str, new: NewMessage = ros_message) -> Message:
    """Return the Header message of a time and a frame."""
    return new('std_msgs/Header', stamp=time_message(stamp_ns, new), frame_id=frame_id)


def _rigid(p: Message, q: Message) -> Float64[np.ndarray, '4 4']:
    position = np.array([p.x, p.y, p.z], dtype=np.float64)
    quaternion = np.array([q.w, q.x, q.y, q.z], dtype=np.float64)
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
        raise _invalid('it has NaN or infinite values')
    length = float(np.linalg.norm(quaternion))
    if abs(length - 1) > MAX_QUATERNION_ERROR:
        raise _invalid(f'its quaternion has length {length:.4g} instead of 1')
    distance = float(np.linalg.norm(position))
    if distance > MAX_DISTANCE_M:
        raise _invalid(f'it is {distance:.4g} m away: are the units metres?')
    matrix = np.eye(4)
    matrix[:3, :3] = quat2mat(quaternion / length)
    matrix[:3, 3] = position * MM_PER_M
    return matrix


def _metres(matrix: Float64[np.ndarray, '4 4']) -> tuple[float, float, float]:
    x, y, z = (matrix[:3, 3] / MM_PER_M).tolist()
    return x, y, z


def _quaternion(matrix: Float64[np.ndarray, '4 4']) -> tuple[float, float, float, float]:
    w, x, y, z = mat2quat(matrix[:3, :3]).tolist()
    return w, x, y, z


def _cross_matrix(a: Float64[np.ndarray, '3']) -> Float64[np.ndarray, '3 3']:
    return np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])


def _invalid(reason: str) -> PoseError:
    return PoseError(ErrorCode.POSE_INVALID, f'the pose cannot be used: {reason}')
