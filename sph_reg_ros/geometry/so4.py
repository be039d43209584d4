"""Rotations of four-space as pairs of unit quaternions, their distance, and poses among them.

A pair is [*b, 2, 4]: p, then q, scalar first. It stands for the rotation y -> p y q* of the four
components of y; (p, q) and (-p, -q) are the same rotation. The distance

    d = |log(R1^T R2)| (Frobenius) = 2 sqrt(a^2 + b^2),   a = angle(p1, s p2), b = angle(q1, s q2),

does not change when both rotations are multiplied by a third, on either side: R1^T R2 turns two
planes by a + b and a - b (pairs and rotations: Mebius, arXiv math/0501249). s = +-1 picks the
nearer of the two names of a rotation, so that a + b <= pi; at a + b = pi, the cut locus, two
shortest ways exist. The cut locus begins at d = sqrt(2) pi (a = b) and ends at the largest
distance, d = 2 pi (a or b = 0).

All functions are batched, keep the dtype, are finite with all derivatives at equal pairs, and work
under torch.func.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.geometry import quaternion, smooth, so3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM, transform_points

EMBEDDING_LENGTH_MM = 180.0
"""What one radian weighs in a distance of poses: a point at that distance from the anatomy's middle
moves as far. Half of an imager's focal length, as others take (DiffPose), leaves so little weight
to shifts that the direction in which a learned distance falls by them is mostly the error of its
rotations (chest, before training: 73 deg from the true one with 510 mm, 53 with 180 mm)."""


def action(pair: Float[Tensor, '*b 2 4']) -> Float[Tensor, '*b 4 4']:
    """Return the orthogonal matrix of y -> p y q*."""
    p, q = pair[..., :1, :], pair[..., 1:, :]
    basis = torch.eye(4, dtype=pair.dtype, device=pair.device)
    return quaternion.product(quaternion.product(p, basis), quaternion.conjugate(q)).mT


def relative(first: Float[Tensor, '*b 2 4'], second: Float[Tensor, '*b 2 4']) -> Tensor:
    """Return the pair [*b, 2, 4] of R1^T R2."""
    return quaternion.product(quaternion.conjugate(first), second)


def nearer_sign(first: Float[Tensor, '*b 2 4'], second: Float[Tensor, '*b 2 4']) -> Tensor:
    """Return s [*b], +1 or -1: s times the second pair is the name of it nearer to the first."""
    return _sign((first * second).sum((-2, -1)))


def log(pair: Float[Tensor, '*b 2 4'], sign: Tensor | None = None) -> Float[Tensor, '*b 6']:
    """Return 2 (log p, log q) of s times the pair; its norm is that of the rotation's logarithm.

    Args:
        pair: two unit quaternions.
        sign: s [*b], by default that of the shortest logarithm.
    """
    s = _sign(pair[..., 0].sum(-1)) if sign is None else sign
    return 2 * quaternion.log(s[..., None, None] * pair).flatten(-2)


def residual(
    moving: Float[Tensor, '*b 2 4'],
    fixed: Float[Tensor, '*b 2 4'],
    sign: Tensor | None = None,
) -> Float[Tensor, '*b 6']:
    """Return the logarithm of the way from `fixed` to `moving`: six equations, of norm d.

    Args:
        moving: pairs that move.
        fixed: pairs to reach.
        sign: `nearer_sign` of an earlier moving pair [*b], to go on smoothly across the cut locus;
            by default that of this one. The norm is no distance then, but |r| >= d.
    """
    return log(relative(fixed, moving), sign)


def squared_distance(
    first: Float[Tensor, '*b 2 4'], second: Float[Tensor, '*b 2 4']
) -> Float[Tensor, '*b']:
    """Return d^2 [*b], smooth up to the cut locus."""
    return residual(second, first).square().sum(-1)


def distance(
    first: Float[Tensor, '*b 2 4'], second: Float[Tensor, '*b 2 4'], eps: float = 0.0
) -> Float[Tensor, '*b']:
    """Return sqrt(d^2 + eps^2) [*b], d in [0, 2 pi].

    The distance itself, eps = 0, has a cone at equal pairs: its derivative there is given as 0.
    """
    return smooth.norm(residual(second, first), eps)


def pose_embedding(
    camera_from_ct: Float[Tensor, '*b 4 4'],
    reference: Float[Tensor, '4 4'],
    centre_mm: Float[Tensor, '3'],
    length_mm: float = EMBEDDING_LENGTH_MM,
) -> Float[Tensor, '*b 2 4']:
    """Return poses as pairs whose distance is nearly that of the poses.

    With the displacement from the reference pose in camera axes, a rotation q about the anatomy's
    centre and a shift t of that centre, the pair is p = exp(t / 2L) q, q = exp(-t / 2L) q. Then
    (L / sqrt 2) d = sqrt(L^2 theta^2 + |t1 - t2|^2) (1 + O(|t|^2 / L^2)) mm. The reference's
    rotation plays no part in distances, its translation only through |t| / L, hence a reference
    near the poses.

    Args:
        camera_from_ct: poses (mm).
        reference: camera_from_ct of the nominal view.
        centre_mm: middle of the anatomy, CT coordinates.
        length_mm: L, what one radian weighs; shifts must stay below pi L.
    """
    turn = quaternion.from_matrix(camera_from_ct[..., :3, :3] @ reference[:3, :3].mT)
    centre, origin = (
        transform_points(pose, centre_mm[None])[..., 0, :] for pose in (camera_from_ct, reference)
    )
    half = (centre - origin) / (2 * length_mm)
    sides = quaternion.exp(torch.stack([half, -half], -2))
    return quaternion.product(sides, turn[..., None, :])


def residual_slopes(
    moving: Float[Tensor, '*b 2 4'],
    fixed: Float[Tensor, '*b 2 4'],
    length_mm: float = EMBEDDING_LENGTH_MM,
) -> Float[Tensor, '*b 6 6']:
    """Return the derivative of `residual` by a twist of the pose that the moving pair embeds.

    The pair tells the shift of its pose from the reference, hence neither is asked for.

    Args:
        moving: `pose_embedding` of poses.
        fixed: pairs to reach.
        length_mm: L of the embeddings.

    Returns:
        dr / dxi, xi = (omega, v / TWIST_LENGTH_MM) of `se3.apply_twist` about the anatomy's centre.
    """
    p, q = moving.unbind(-2)
    half = quaternion.log(quaternion.product(p, quaternion.conjugate(q))) / 2
    # Each side of a pair is exp(+-half) turn. A twist xi puts the rotation vector `by_twist @ xi`
    # to its left, which in the axes of `fixed` is what the logarithm's Jacobian asks for.
    turns = 2 * torch.stack([half, -half], -2)
    signs = turns.new_tensor([[[1.0]], [[-1.0]]])
    by_shift = signs * (TWIST_LENGTH_MM / length_mm) * so3.left_jacobian(turns)
    by_twist = torch.cat([so3.exp(turns), by_shift], -1)
    apart = residual(moving, fixed).unflatten(-1, (2, 3))
    fixed_axes = so3.exp(2 * quaternion.log(fixed)).mT
    return (so3.left_jacobian_inverse(apart) @ fixed_axes @ by_twist).flatten(-3, -2)


def _sign(value: Tensor) -> Tensor:
    return torch.where(value < 0, -torch.ones_like(value), torch.ones_like(value))
