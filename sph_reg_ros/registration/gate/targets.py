"""The region of interest, and how far a motion of the CT moves it."""

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import so3
from sph_reg_ros.geometry.box import TRUNK_HALF_SIZE_MM, landmarks_within
from sph_reg_ros.imaging.attenuation import AttenuationVolume


def target_points(volume: AttenuationVolume) -> Float64[Tensor, '14 3']:
    """Return corners and face centres of the box, cut to the CT's own size; CT coordinates (mm)."""
    extent = (volume.corners.amax(0) - volume.corners.amin(0)).tolist()
    return landmarks_within(volume.centre.cpu(), TRUNK_HALF_SIZE_MM, extent)


def expected_error_mm(
    covariance: Float64[Tensor, '6 6'],
    camera_from_ct: Float64[Tensor, '4 4'],
    centre: Float64[Tensor, '3'],
    points: Float64[Tensor, 'n 3'],
) -> Float64[Tensor, '3']:
    """Return the rms error (mm) along the camera's axes that a pose covariance means for points.

    Args:
        covariance: of the twist (omega in rad, v in mm) about `centre`, camera axes.
        camera_from_ct: pose (mm).
        centre: what twists turn about, CT coordinates.
        points: CT coordinates.
    """
    lever = (points - centre) @ camera_from_ct[:3, :3].T
    motion = torch.cat([-so3.hat(lever), torch.eye(3).double().expand(len(lever), 3, 3)], -1)
    variances = (motion @ covariance @ motion.mT).diagonal(dim1=-2, dim2=-1)
    return variances.mean(0).clamp(min=0).sqrt()
