"""How far apart two poses are, as one number, in units that the names tell.

Poses are [*b, 4, 4] camera_from_ct in mm. With eps_mm a length is sqrt(length^2 + eps_mm^2), which
has no cone at equal poses; without, its derivative there is finite all the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.geometry import se3, smooth, so3


def rotation_angle_rad(
    first: Float[Tensor, '*b 4 4'], second: Float[Tensor, '*b 4 4']
) -> Float[Tensor, '*b']:
    """Return the angle [*b] between the rotations, in [0, pi]."""
    return smooth.norm(_turn(first, second))


def twist_angles_deg(
    first: Float[Tensor, '*b 6'], second: Float[Tensor, '*b 6']
) -> Float[Tensor, '*b 2']:
    """Return the angles between the rotations and between the translations of two twists."""
    first, second = first.unflatten(-1, (2, 3)), second.unflatten(-1, (2, 3))
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=-1)
    return torch.rad2deg(torch.acos(cosine.clamp(-1.0, 1.0)))


def centre_geodesic_mm(
    first: Float[Tensor, '*b 4 4'],
    second: Float[Tensor, '*b 4 4'],
    centre_mm: Float[Tensor, '3'],
    length_mm: float = se3.TWIST_LENGTH_MM,
    eps_mm: float = 0.0,
) -> Float[Tensor, '*b']:
    """Return sqrt((L theta)^2 + |t1 - t2|^2) [*b], t where each camera sees the anatomy's centre.

    For small displacements this is (L / sqrt 2) times the distance of the `so4.pose_embedding`s
    with the same length, and with L = TWIST_LENGTH_MM the length of the twist xi times L.

    Args:
        first: poses.
        second: poses.
        centre_mm: middle of the anatomy, CT coordinates.
        length_mm: L, what one radian weighs.
        eps_mm: length added in squares.
    """
    shift = _centre_shift(first, second, centre_mm)
    return smooth.norm(torch.cat([length_mm * _turn(first, second), shift], -1), eps_mm)


def double_geodesic_mm(
    first: Float[Tensor, '*b 4 4'],
    second: Float[Tensor, '*b 4 4'],
    sdd_mm: float,
    eps_mm: float = 0.0,
) -> Float[Tensor, '*b']:
    """Return sqrt((f/2 theta)^2 + |c1 - c2|^2) [*b], c the camera centres in the CT (DiffDRR 0.6).

    Rotation is weighed as the arc that it sweeps half-way from source to detector. The loss of
    DiffPose has eps_mm = 0.01.
    """
    shift = se3.inverse(first)[..., :3, 3] - se3.inverse(second)[..., :3, 3]
    return smooth.norm(torch.cat([sdd_mm / 2 * _turn(first, second), shift], -1), eps_mm)


def _turn(first: Float[Tensor, '*b 4 4'], second: Float[Tensor, '*b 4 4']) -> Float[Tensor, '*b 3']:
    return so3.log(first[..., :3, :3] @ second[..., :3, :3].mT)


def _centre_shift(
    first: Float[Tensor, '*b 4 4'],
    second: Float[Tensor, '*b 4 4'],
    centre_mm: Float[Tensor, '3'],
) -> Float[Tensor, '*b 3']:
    seen = [se3.transform_points(pose, centre_mm[None])[..., 0, :] for pose in (first, second)]
    return seen[0] - seen[1]
