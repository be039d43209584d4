"""Training losses, one value per image.

Distances of poses are measured in SO(4): D = L / sqrt(2) d(Psi(T1), Psi(T2)) mm, Psi being
`so4.pose_embedding` and L its length. The learned distance d is on the same scale:
L / sqrt(2) d mm.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import huber_loss

from sph_reg_ros.geometry import se3, so4
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.geometry.so4 import EMBEDDING_LENGTH_MM

MM_PER_DISTANCE = EMBEDDING_LENGTH_MM / math.sqrt(2)
"""Millimetres that a distance of 1 in SO(4) stands for."""
CURVATURE = 2.0
"""d^2 = 2 |xi|^2 for small displacements, so that J^T J of an exact residual is 2 I."""
_SMALLEST_DISTANCE = 1e-4
_SMALLEST_NORM = 1e-10


def value_loss(
    learned_sq: Float[Tensor, 'B'], true_mm: Float[Tensor, 'B'], unit_mm: float = 40.0
) -> Float[Tensor, 'B']:
    """Return Huber's loss of learned against true distance, in units of `unit_mm`.

    Args:
        learned_sq: d^2.
        true_mm: D.
        unit_mm: errors beyond it count linearly.
    """
    learned_mm = MM_PER_DISTANCE * (learned_sq + _SMALLEST_DISTANCE**2).sqrt()
    true_mm = true_mm.to(learned_mm)
    return huber_loss(learned_mm / unit_mm, true_mm / unit_mm, reduction='none')


def ratio_loss(
    learned_sq: Float[Tensor, 'B C'], true_sq: Float[Tensor, 'B C'], unit_mm: float = 40.0
) -> Float[Tensor, 'B']:
    """Return the mean of Huber's loss of log(1 + d) - log(1 + D), distances in units of `unit_mm`.

    For distances far and near alike, where errors in mm would count the far ones only.

    Args:
        learned_sq: d^2 of the learned distances from each image to C others.
        true_sq: those of the poses in SO(4).
        unit_mm: errors of smaller distances count by their size, those of larger ones by its share.
    """
    learned, true = (
        (MM_PER_DISTANCE / unit_mm * (sq + _SMALLEST_DISTANCE**2).sqrt()).log1p()
        for sq in (learned_sq, true_sq)
    )
    return huber_loss(learned, true, reduction='none').mean(-1)


def direction_loss(
    gradient: Float[Tensor, 'B 6'], true_gradient: Float[Tensor, 'B 6'], least: float = 1e-6
) -> Float[Tensor, 'B']:
    """Return sum |g / |g| - g* / |g*||^2 over rotation and translation (ProST, MICCAI 2020).

    Args:
        gradient: of the learned S = d^2 / 2 by xi.
        true_gradient: of D^2 / 2 by xi, on any scale.
        least: a part of the true gradient that is shorter has no direction and does not count.
    """
    total = torch.zeros_like(gradient[:, 0])
    for part in (slice(0, 3), slice(3, 6)):
        found, true = gradient[:, part], true_gradient[:, part].to(gradient)
        apart = (_direction(found) - _direction(true)).square().sum(-1)
        total = total + torch.where(true.norm(dim=-1) > least, apart, 0.0)
    return total


def vector_loss(
    learned: Float[Tensor, 'B K 6'], true: Float[Tensor, 'B 6'], unit_mm: float = 40.0
) -> Float[Tensor, 'B']:
    """Return Huber's loss of each pair's residual against the true one, in units of `unit_mm`.

    The true one is fixed up to a constant isometry, which the encoder's last layer can take up.

    Args:
        learned: `so4.residual` of the pairs of rendering and X-ray.
        true: `so4.residual` of their poses.
        unit_mm: errors beyond it count linearly.
    """
    scale = MM_PER_DISTANCE / unit_mm
    target = (true.to(learned)[:, None] * scale).expand_as(learned)
    return huber_loss(learned * scale, target, reduction='none').sum(-1).mean(-1)


def secant_loss(learned: Float[Tensor, 'B K 6'], true: Float[Tensor, 'B 6']) -> Float[Tensor, 'B']:
    """Return log(1 + |r - r*|^2 / |r*|^2), the mean over all pairs, of a small step of the pose.

    What is small is the error of a slope, at a fraction of what derivatives cost.

    Args:
        learned: `so4.residual` of the features of two renderings.
        true: `so4.residual` of their poses.
    """
    true = true.to(learned)[:, None]
    error = (learned - true).square().sum(-1).mean(-1)
    return (error / (true.square().sum((-2, -1)) + _SMALLEST_NORM)).log1p()


def conditioning_loss(jacobian: Float[Tensor, 'B n 6']) -> Float[Tensor, 'B']:
    """Return log(1 + |J^T J - 2 I|^2) of residuals by xi, at equal poses.

    0 if all directions are alike, for xi = (omega, v / L), L the length of the embedding. The
    logarithm, because a few images have slopes so steep that they would drown all others.
    """
    lengths = jacobian.new_tensor([1.0] * 3 + [EMBEDDING_LENGTH_MM / TWIST_LENGTH_MM] * 3)
    wanted = CURVATURE * torch.eye(6, dtype=jacobian.dtype, device=jacobian.device)
    scaled = jacobian * lengths
    return (scaled.mT @ scaled - wanted).square().sum((-2, -1)).log1p()


def pose_gradient(
    similarity: Callable[[Float[Tensor, 'B H W']], Float[Tensor, 'B']],
    renderings: Float[Tensor, 'B H W'],
    jacobians: Float[Tensor, 'B H W 6'],
    for_training: bool = True,
) -> tuple[Float[Tensor, 'B'], Float[Tensor, 'B 6']]:
    """Return S and dS / dxi = J_img^T dS / dI, both ready to be back-propagated to weights.

    Nothing that is learned comes before the renderer, so that J_img is a constant and no second
    derivative of a rendering is needed.

    Args:
        similarity: S of each image; no image changes another's.
        renderings: I.
        jacobians: dI / dxi.
        for_training: False spares what back-propagation of the derivative needs.
    """
    with torch.enable_grad():
        images = renderings.detach().requires_grad_()
        values = similarity(images)
        (slope,) = torch.autograd.grad(values.sum(), images, create_graph=for_training)
    return values, torch.einsum('bhw,bhwk->bk', slope, jacobians)


def true_gradient(
    moving: Float64[Tensor, 'B 4 4'],
    fixed: Float64[Tensor, 'B 2 4'],
    reference: Float64[Tensor, '4 4'],
    centre_mm: Float64[Tensor, '3'],
) -> Float64[Tensor, 'B 6']:
    """Return the derivative of |r*|^2 / 2 by a twist xi of the moving poses; D = L |r*| / sqrt 2.

    Args:
        moving: camera_from_ct of the renderings.
        fixed: poses of the X-rays in SO(4).
        reference: camera_from_ct near all of them.
        centre_mm: middle of the CT.
    """
    with torch.enable_grad():
        xi = moving.new_zeros(len(moving), 6).requires_grad_()
        twist = torch.cat([xi[:, :3], TWIST_LENGTH_MM * xi[:, 3:]], -1)
        moved = se3.apply_twist(twist, moving, centre_mm)
        apart = so4.residual(so4.pose_embedding(moved, reference, centre_mm), fixed)
        (slope,) = torch.autograd.grad(apart.square().sum() / 2, xi)
    return slope


def image_loss(found: Float[Tensor, 'B H W'], wanted: Float[Tensor, 'B H W']) -> Float[Tensor, 'B']:
    """Return 1 - NCC; 1 where an image is constant."""
    first, second = (image - image.mean((-2, -1), keepdim=True) for image in (found, wanted))
    product = (first * second).sum((-2, -1))
    squares = first.square().sum((-2, -1)) * second.square().sum((-2, -1))
    return 1 - product / (squares + _SMALLEST_NORM).sqrt()


def _direction(vectors: Float[Tensor, 'B 3']) -> Float[Tensor, 'B 3']:
    # The root of a sum that is never 0 has a derivative everywhere.
    length = (vectors.square().sum(-1, keepdim=True) + _SMALLEST_NORM**2).sqrt()
    return vectors / (length + _SMALLEST_NORM)
