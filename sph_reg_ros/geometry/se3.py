"""Rigid transforms: exponential, logarithm, derivatives, and twists about a centre.

Transforms are [*b, 4, 4] matrices `a_from_b` in millimetres; a twist is (omega in rad, v in mm).
Formulas: Barfoot, State Estimation for Robotics, chapter 7, with rotation first.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import so3
from sph_reg_ros.geometry.smooth import phi

TWIST_LENGTH_MM = 510.0
"""What one radian weighs: half of a C-arm's source-detector distance, as in DiffPose's geodesic."""


def exp(twist: Float[Tensor, '*b 6']) -> Float[Tensor, '*b 4 4']:
    """Return the transform reached by following `twist` for unit time."""
    omega, v = twist[..., :3], twist[..., 3:]
    return from_parts(so3.exp(omega), (so3.left_jacobian(omega) @ v[..., None])[..., 0])


def log(transform: Float[Tensor, '*b 4 4']) -> Float[Tensor, '*b 6']:
    """Return the twist whose `exp` is `transform`; its angle lies in [0, pi]."""
    omega = so3.log(transform[..., :3, :3])
    v = so3.left_jacobian_inverse(omega) @ transform[..., :3, 3:]
    return torch.cat([omega, v[..., 0]], -1)


def left_jacobian(twist: Float[Tensor, '*b 6']) -> Float[Tensor, '*b 6 6']:
    """Return J with exp(twist + d) = exp(J d) exp(twist) to first order in d."""
    omega, v = twist[..., :3], twist[..., 3:]
    J = so3.left_jacobian(omega)
    return _lower_blocks(J, _left_jacobian_coupling(omega, v), J)


def left_jacobian_inverse(twist: Float[Tensor, '*b 6']) -> Float[Tensor, '*b 6 6']:
    """Return the inverse of `left_jacobian` (angle < 2 pi)."""
    omega, v = twist[..., :3], twist[..., 3:]
    J_inv = so3.left_jacobian_inverse(omega)
    return _lower_blocks(J_inv, -J_inv @ _left_jacobian_coupling(omega, v) @ J_inv, J_inv)


def from_parts(R: Float[Tensor, '*b 3 3'], t: Float[Tensor, '*b 3']) -> Float[Tensor, '*b 4 4']:
    """Return the transform x -> R x + t."""
    last = torch.zeros_like(R[..., :1, :])
    last_row = torch.cat([last, torch.ones_like(last[..., :1])], -1)
    return torch.cat([torch.cat([R, t[..., None]], -1), last_row], -2)


def inverse(transform: Float[Tensor, '*b 4 4']) -> Float[Tensor, '*b 4 4']:
    """Return the inverse of a rigid transform, without solving a linear system."""
    R_inv = transform[..., :3, :3].mT
    return from_parts(R_inv, -(R_inv @ transform[..., :3, 3:])[..., 0])


def transform_points(
    transform: Float[Tensor, '*b 4 4'], points: Float[Tensor, '*b n 3']
) -> Float[Tensor, '*b n 3']:
    """Return `points` (mm) of frame b in frame a, for `transform` = a_from_b."""
    return points @ transform[..., :3, :3].mT + transform[..., None, :3, 3]


def apply_twist(
    twist: Float[Tensor, '*b 6'],
    a_from_b: Float[Tensor, '*b 4 4'],
    centre_b: Float[Tensor, '3'],
) -> Float[Tensor, '*b 4 4']:
    """Move `a_from_b` by a twist on the left, in the axes of a, about a point of b.

    Args:
        twist: (omega rad, v mm) in the axes of frame a.
        a_from_b: the transform to move.
        centre_b: the point (mm, frame b) that pure rotations leave where it is.
    """
    R, V = so3.exp(twist[..., :3]), so3.left_jacobian(twist[..., :3])
    centre_a = transform_points(a_from_b, centre_b[None]).mT
    t = R @ (a_from_b[..., :3, 3:] - centre_a) + centre_a + V @ twist[..., 3:, None]
    return from_parts(R @ a_from_b[..., :3, :3], t[..., 0])


def require_rigid(transform: Float[Tensor, '4 4'], name: str, tolerance: float = 1e-4) -> None:
    """Raise PoseError unless `transform` is a finite proper rigid transform [4, 4]."""
    if tuple(transform.shape) != (4, 4) or not torch.isfinite(transform).all():
        raise PoseError(ErrorCode.POSE_INVALID, f'{name} must be a finite 4 x 4 matrix')
    R = transform[:3, :3].double()
    orthogonal = (R @ R.T - torch.eye(3, dtype=torch.float64)).abs().max() < tolerance
    last_row = transform[3].double() - torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    if not orthogonal or torch.det(R) < 0 or last_row.abs().max() > tolerance:
        raise PoseError(
            ErrorCode.POSE_INVALID, f'{name} is not a rotation and a translation: check its source'
        )


def _left_jacobian_coupling(
    omega: Float[Tensor, '*b 3'], v: Float[Tensor, '*b 3']
) -> Float[Tensor, '*b 3 3']:
    """Return the lower left block of the left Jacobian (Barfoot, eq. 7.86)."""
    W, V = so3.hat(omega), so3.hat(v)
    angle_sq = omega.square().sum(-1)
    WV, VW = W @ V, V @ W
    WVW = WV @ W
    c3, c4, c5 = (phi(n, angle_sq) for n in (3, 4, 5))
    return (
        V / 2
        + c3 * (WV + VW + WVW)
        + c4 * (W @ WV + VW @ W - 3 * WVW)
        + (c4 - 3 * c5) / 2 * (WVW @ W + W @ WVW)
    )


def _lower_blocks(upper: Tensor, coupling: Tensor, lower: Tensor) -> Float[Tensor, '*b 6 6']:
    top = torch.cat([upper, torch.zeros_like(upper)], -1)
    return torch.cat([top, torch.cat([coupling, lower], -1)], -2)
