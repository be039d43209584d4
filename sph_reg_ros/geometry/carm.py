"""C-arm angles as DICOM defines them, and the camera pose they stand for.

The positioner angles place the image receptor about the patient (DICOM PS3.3 C.8.7.5.1.2): primary
0 faces the chest, + turns to the patient's left (LAO), - to the right (RAO); secondary + tilts to
the head (CRAN), - to the feet (CAUD). They are relative to the patient, unlike the
equipment angles of IEC 61217.

The gantry turns by the primary angle a about the patient's long axis and by the secondary angle b
about the lateral axis that results, so that in LPS

    z = (sin a cos b, -cos a cos b, sin b)      from the source to the receptor
    x = (-cos a, -sin a, 0)                     always in the transaxial plane
    y = z cross x                               towards the feet at a = b = 0
"""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import CameraError, ErrorCode

# Below this cosine the primary angle cannot be read off the beam direction any more.
_POLE_COSINE = 1e-9


def camera_from_ct_for_angles(
    primary_rad: float,
    secondary_rad: float,
    source_to_isocentre_mm: float,
    isocentre_lps_mm: Float64[Tensor, '3'],
) -> Float64[Tensor, '4 4']:
    """Return the camera pose of a C-arm at the given angles.

    Args:
        primary_rad: positioner primary angle, + = LAO (receptor at the patient's left).
        secondary_rad: positioner secondary angle, + = cranial; within +-pi/2.
        source_to_isocentre_mm: distance from the X-ray source to the isocentre.
        isocentre_lps_mm: isocentre [3] in CT coordinates (LPS, mm).

    Returns:
        camera_from_ct [4, 4]: LPS mm to the optical frame; the isocentre lands on (0, 0, distance).

    Raises:
        CameraError: a value is not finite, or out of range.
    """
    _require_finite(primary_rad, secondary_rad, source_to_isocentre_mm)
    if abs(secondary_rad) > math.pi / 2 + 1e-9:
        raise CameraError(
            ErrorCode.CAMERA_INVALID,
            f'secondary angle {math.degrees(secondary_rad):g} deg is outside +-90 deg',
        )
    if source_to_isocentre_mm <= 0:
        raise CameraError(
            ErrorCode.CAMERA_INVALID, 'the distance from source to isocentre must be positive'
        )
    isocentre = torch.as_tensor(isocentre_lps_mm, dtype=torch.float64)
    rotation = _camera_axes(primary_rad, secondary_rad)
    source = isocentre - source_to_isocentre_mm * rotation[2]
    camera_from_ct = torch.eye(4, dtype=torch.float64)
    camera_from_ct[:3, :3] = rotation
    camera_from_ct[:3, 3] = -rotation @ source
    return camera_from_ct


def angles_from_camera_from_ct(camera_from_ct: Float64[Tensor, '4 4']) -> tuple[float, float]:
    """Return (primary, secondary) in rad of the beam direction of a pose.

    A roll of the camera about its own axis has no C-arm angle and is ignored, except at the poles
    (secondary = +-90 deg), where the primary angle is read off the camera's x axis.
    """
    x_axis, _, beam = camera_from_ct[:3, :3].to(torch.float64).tolist()
    cosine = math.hypot(beam[0], beam[1])
    if cosine < _POLE_COSINE:
        return math.atan2(-x_axis[1], -x_axis[0]), math.copysign(math.pi / 2, beam[2])
    return math.atan2(beam[0], -beam[1]), math.atan2(beam[2], cosine)


def format_angles(primary_rad: float, secondary_rad: float) -> str:
    """Return the angles as they are said in the theatre: 'LAO 30 / CRAN 20' (degrees)."""
    primary = round(math.degrees(primary_rad), 1)
    secondary = round(math.degrees(secondary_rad), 1)
    side = 'RAO' if primary < 0 else 'LAO'
    tilt = 'CAUD' if secondary < 0 else 'CRAN'
    return f'{side} {abs(primary):g} / {tilt} {abs(secondary):g}'


def _camera_axes(primary_rad: float, secondary_rad: float) -> Float64[Tensor, '3 3']:
    """Return the camera's axes as rows, in LPS: the rotation camera_from_ct."""
    sin_a, cos_a = math.sin(primary_rad), math.cos(primary_rad)
    sin_b, cos_b = math.sin(secondary_rad), math.cos(secondary_rad)
    axes = [
        [-cos_a, -sin_a, 0.0],
        [sin_a * sin_b, -cos_a * sin_b, -cos_b],
        [sin_a * cos_b, -cos_a * cos_b, sin_b],
    ]
    return torch.tensor(axes, dtype=torch.float64)


def _require_finite(*values: float) -> None:
    if not all(math.isfinite(value) for value in values):
        raise CameraError(ErrorCode.CAMERA_INVALID, 'C-arm angles and distance must be finite')
