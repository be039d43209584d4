"""Unit quaternions: product, exponential, logarithm, and those of rotation matrices.

Quaternions are [*b, 4], scalar first. All functions are batched over leading dimensions, keep the
dtype and are differentiable (twice, and in forward mode). Vectors are half-angles: exp(omega / 2)
turns by |omega|, and exp(v) lies |v| away from 1 on the sphere S^3.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.geometry import smooth


def product(first: Float[Tensor, '*b 4'], second: Float[Tensor, '*b 4']) -> Float[Tensor, '*b 4']:
    """Return the Hamilton product; leading dimensions broadcast."""
    w1, x1, y1, z1 = first.unbind(-1)
    w2, x2, y2, z2 = second.unbind(-1)
    # In this order the terms of q* q cancel without rounding.
    parts = [
        w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
        w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
        w1 * y2 + y1 * w2 + z1 * x2 - x1 * z2,
        w1 * z2 + z1 * w2 + x1 * y2 - y1 * x2,
    ]
    return torch.stack(parts, -1)


def conjugate(q: Float[Tensor, '*b 4']) -> Float[Tensor, '*b 4']:
    """Return the inverse of a unit quaternion."""
    return torch.cat([q[..., :1], -q[..., 1:]], -1)


def exp(v: Float[Tensor, '*b 3']) -> Float[Tensor, '*b 4']:
    """Return cos |v| + sin |v| v / |v|."""
    angle_sq = v.square().sum(-1)
    cosine, sine_over_angle = (smooth.phi(n, angle_sq)[..., 0] for n in (0, 1))
    return torch.cat([cosine, sine_over_angle * v], -1)


def log(q: Float[Tensor, '*b 4']) -> Float[Tensor, '*b 3']:
    """Return the v whose `exp` is q, |v| in [0, pi].

    At q = -1, as near as rounding can tell, every direction is right: that of x is returned, with
    a derivative of 0.
    """
    w, v = q[..., :1], _with_direction(q)
    v_sq = v.square().sum(-1, keepdim=True)
    tiny = (v_sq < 1e-8) & (w > 0)
    norm = torch.where(tiny, torch.ones_like(v_sq), v_sq).sqrt()
    w_safe = torch.where(tiny, w, torch.ones_like(w))
    series = (1 - v_sq / (3 * w_safe.square())) / w_safe
    return torch.where(tiny, series, torch.atan2(norm, w) / norm) * v


def from_matrix(R: Float[Tensor, '*b 3 3']) -> Float[Tensor, '*b 4']:
    """Return the unit quaternion of a rotation, scalar part >= 0.

    Takes the best conditioned of four formulas, so that no angle is singular.
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = R.flatten(-2).unbind(-1)
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
    return torch.where(q[..., :1] < 0, -q, q)


def _with_direction(q: Float[Tensor, '*b 4']) -> Float[Tensor, '*b 3']:
    """Return the vector part, or a tiny one along x where rounding has lost its direction."""
    w, v = q[..., :1], q[..., 1:]
    least = 4 * torch.finfo(q.dtype).eps
    lost = (w <= 0) & (v.square().sum(-1, keepdim=True) < least**2)
    along_x = torch.cat([torch.full_like(w, least), torch.zeros_like(v[..., 1:])], -1)
    return torch.where(lost, along_x, v)
