"""Error metrics between an estimated and the true pose.

X are landmarks in the CT (LPS mm), E = camera_from_ct; a hat marks the estimate, a star the truth.
Rotations and optical axes are those of the true camera unless a name says otherwise.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.geodesics import rotation_angle_rad


@dataclass(frozen=True)
class PoseError:
    """Errors of one pose.

    Attributes:
        mtre_mm: mean distance of the landmarks from where they belong, mean |EX - E*X|.
        in_plane_mm: mean of the part perpendicular to the true optical axis.
        depth_mm: mean absolute part along it.
        rotation_deg: angle of R R*^T.
        mpd_mm: mean distance of the projected landmarks on the detector.
    """

    mtre_mm: float
    in_plane_mm: float
    depth_mm: float
    rotation_deg: float
    mpd_mm: float


def pose_error(
    estimate: Float64[Tensor, '4 4'],
    truth: Float64[Tensor, '4 4'],
    landmarks_mm: Float64[Tensor, 'N 3'],
    camera: Camera,
    pixel_pitch_mm: float,
) -> PoseError:
    """Compare an estimated camera_from_ct with the true one.

    Args:
        estimate: found camera_from_ct (mm).
        truth: true camera_from_ct (mm).
        landmarks_mm: points of the anatomy in CT coordinates.
        camera: the imager.
        pixel_pitch_mm: of the detector, for the projection distance.
    """
    difference = _landmark_differences(estimate, truth, landmarks_mm)
    return PoseError(
        mtre_mm=float(difference.norm(dim=-1).mean()),
        in_plane_mm=float(difference[:, :2].norm(dim=-1).mean()),
        depth_mm=float(difference[:, 2].abs().mean()),
        rotation_deg=rotation_error_deg(estimate, truth),
        mpd_mm=mean_projection_distance_mm(estimate, truth, landmarks_mm, camera, pixel_pitch_mm),
    )


def mean_projection_distance_mm(
    estimate: Float64[Tensor, '4 4'],
    truth: Float64[Tensor, '4 4'],
    landmarks_mm: Float64[Tensor, 'N 3'],
    camera: Camera,
    pixel_pitch_mm: float,
) -> float:
    """Return the mean distance (mm) of the projected landmarks on the detector; blind to depth."""
    found = camera.project(se3.transform_points(estimate, landmarks_mm))
    expected = camera.project(se3.transform_points(truth, landmarks_mm))
    return pixel_pitch_mm * float((found - expected).norm(dim=-1).mean())


def mean_reprojection_distance_mm(
    estimate: Float64[Tensor, '4 4'],
    truth: Float64[Tensor, '4 4'],
    landmarks_mm: Float64[Tensor, 'N 3'],
    sdd_mm: float,
) -> float:
    """Return the mean distance (mm) of the detector points, seen from the CT (DiffPose's mRPE).

    Every landmark is projected onto the detector by each pose, and that point is carried back to
    the CT by the same pose. Blind to a rotation about the optical axis.
    """
    found, expected = (
        se3.transform_points(se3.inverse(pose), _on_detector(pose, landmarks_mm, sdd_mm))
        for pose in (estimate, truth)
    )
    return float((found - expected).norm(dim=-1).mean())


def rotation_error_deg(estimate: Float64[Tensor, '4 4'], truth: Float64[Tensor, '4 4']) -> float:
    """Return the angle (degrees) between the two rotations, in [0, 180]."""
    return math.degrees(float(rotation_angle_rad(estimate, truth)))


def _landmark_differences(estimate: Tensor, truth: Tensor, landmarks_mm: Tensor) -> Tensor:
    return se3.transform_points(estimate, landmarks_mm) - se3.transform_points(truth, landmarks_mm)


def _on_detector(pose: Tensor, landmarks_mm: Tensor, sdd_mm: float) -> Tensor:
    in_camera = se3.transform_points(pose, landmarks_mm)
    return in_camera * sdd_mm / in_camera[:, 2:]
