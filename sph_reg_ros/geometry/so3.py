"""Rotations: exponential, logarithm and their derivatives, stable near 0 and near pi.

All functions are batched over leading dimensions, keep the dtype, and are differentiable (twice).
Rotation vectors are in radians. Formulas: Barfoot, State Estimation for Robotics, chapter 7.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_SERIES_TERMS = 10


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
    w, v = _quaternion(R)
    v_sq = v.square().sum(-1, keepdim=True)
    tiny = v_sq < 1e-8
    norm = torch.where(tiny, torch.ones_like(v_sq), v_sq).sqrt()
    w_safe = torch.where(tiny, w, torch.ones_like(w))
    angle_over_norm = torch.where(
        tiny, 2 / w_safe * (1 - v_sq / (3 * w_safe.square())), 2 * torch.atan2(norm, w) / norm
    )
    return angle_over_norm * v


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


def phi(n: int, angle_sq: Float[Tensor, '*b']) -> Float[Tensor, '*b 1 1']:
    """Return sum_k (-angle^2)^k / (2k + n)!, shaped to multiply matrices.

    phi_1 = sin(a)/a, phi_2 = (1 - cos a)/a^2, and so on: every coefficient of exp and of the
    Jacobians is one of these. As a function of a^2 they are smooth at 0.
    """
    near = angle_sq < 1
    minus_small = torch.where(near, -angle_sq, torch.zeros_like(angle_sq))
    series = torch.zeros_like(angle_sq)
    for k in reversed(range(_SERIES_TERMS)):
        series = series * minus_small + 1 / math.factorial(2 * k + n)
    large = torch.where(near, torch.ones_like(angle_sq), angle_sq)
    return torch.where(near, series, _phi_closed(n, large))[..., None, None]


def _phi_closed(n: int, angle_sq: Float[Tensor, '*b']) -> Float[Tensor, '*b']:
    if n == 0:
        return torch.cos(angle_sq.sqrt())
    if n == 1:
        return torch.sin(angle_sq.sqrt()) / angle_sq.sqrt()
    return (1 / math.factorial(n - 2) - _phi_closed(n - 2, angle_sq)) / angle_sq


def _quaternion(R: Float[Tensor, '*b 3 3']) -> tuple[Tensor, Tensor]:
    """Return (w [*b, 1], v [*b, 3]) with w >= 0, from the best conditioned of four formulas."""
    m = R.flatten(-2).unbind(-1)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m
    # Row c is 4 q_c q: whichever component of q is largest makes its row the most accurate.
    rows = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20], -1),
            torch.stack([m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m21 + m12], -1),
            torch.stack([m10 - m01, m02 + m20, m21 + m12, 1 - m00 - m11 + m22], -1),
        ],
        -2,
    )
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(rows, best[..., None, None], -2).squeeze(-2)
    q = row / row.norm(dim=-1, keepdim=True)
    q = torch.where(q[..., :1] < 0, -q, q)
    return q[..., :1], q[..., 1:]


def _identity_like(matrices: Float[Tensor, '*b 3 3']) -> Float[Tensor, '3 3']:
    return torch.eye(3, dtype=matrices.dtype, device=matrices.device)
