"""Rotations: exponential, logarithm and their derivatives, stable near 0 and near pi.

All functions are batched over leading dimensions, keep the dtype, and are differentiable (twice).
Rotation vectors are in radians. Formulas: Barfoot, State Estimation for Robotics, chapter 7.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.geometry import quaternion
from sph_reg_ros.geometry.smooth import phi


def hat(omega: Float[Tensor, '*b 3']) -> Float[Tensor, '*b 3 3']:
    """Return the matrix [omega]x with [omega]x y = omega x y."""
    x, y, z = omega.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.stack(rows, -1).reshape(*omega.shape[:-1], 3, 3)


def exp(omega: Float[Tensor, '*b 3']) -> Float[Tensor, '*b 3 3']:
    """Return the rotation matrix about `omega` by |omega| (Rodrigues)."""
    angle_sq = omega.square().sum(-1)
    W = hat(omega)
    return _identity_like(W) + phi(1, angle_sq) * W + phi(2, angle_sq) * (W @ W)


def log(R: Float[Tensor, '*b 3 3']) -> Float[Tensor, '*b 3']:
    """Return the rotation vector of R, with an angle in [0, pi].

    Goes through the unit quaternion, where nothing is singular at pi.
    """
    return 2 * quaternion.log(quaternion.from_matrix(R))


def left_jacobian(omega: Float[Tensor, '*b 3']) -> Float[Tensor, '*b 3 3']:
    """Return J with exp(omega + d) = exp(J d) exp(omega) to first order in d."""
    angle_sq = omega.square().sum(-1)
    W = hat(omega)
    return _identity_like(W) + phi(2, angle_sq) * W + phi(3, angle_sq) * (W @ W)


def left_jacobian_inverse(omega: Float[Tensor, '*b 3']) -> Float[Tensor, '*b 3 3']:
    """Return the inverse of `left_jacobian` (|omega| < 2 pi)."""
    angle_sq = omega.square().sum(-1)
    W = hat(omega)
    quadratic = (phi(3, angle_sq) - 2 * phi(4, angle_sq)) / (2 * phi(2, angle_sq))
    return _identity_like(W) - W / 2 + quadratic * (W @ W)


def _identity_like(matrices: Float[Tensor, '*b 3 3']) -> Float[Tensor, '3 3']:
    return torch.eye(3, dtype=matrices.dtype, device=matrices.device)
