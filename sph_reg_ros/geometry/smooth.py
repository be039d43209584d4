"""Functions that stay differentiable at 0, where the textbook forms divide by it.

No branch depends on data, so all of it works under torch.func (vmap, jvp, jacrev) and twice.
Tensors here always have a dimension: in forward mode, torch 2.13 makes the derivative of a single
float32 number float64 where a Python number is added to it or multiplies it.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_SERIES_TERMS = 10


def phi(n: int, angle_sq: Float[Tensor, '*b']) -> Float[Tensor, '*b 1 1']:
    """Return sum_k (-angle^2)^k / (2k + n)!, shaped to multiply matrices.

    phi_0 = cos a, phi_1 = sin(a)/a, phi_2 = (1 - cos a)/a^2, and so on: every coefficient of
    exponentials and of their Jacobians is one of these. As a function of a^2 they are smooth at 0.
    """
    angle_sq = angle_sq[..., None, None]
    near = angle_sq < 1
    minus_small = torch.where(near, -angle_sq, torch.zeros_like(angle_sq))
    series = torch.zeros_like(angle_sq)
    for k in reversed(range(_SERIES_TERMS)):
        series = series * minus_small + 1 / math.factorial(2 * k + n)
    large = torch.where(near, torch.ones_like(angle_sq), angle_sq)
    return torch.where(near, series, _phi_closed(n, large))


def norm(vector: Float[Tensor, '*b n'], eps: float = 0.0) -> Float[Tensor, '*b']:
    """Return sqrt(|vector|^2 + eps^2); for eps = 0 its derivative at 0 is 0, not undefined."""
    square = vector.square().sum(-1, keepdim=True) + eps**2
    at_zero = square == 0
    root = torch.where(at_zero, torch.ones_like(square), square).sqrt()
    return torch.where(at_zero, torch.zeros_like(square), root)[..., 0]


def _phi_closed(n: int, angle_sq: Float[Tensor, '*b 1 1']) -> Float[Tensor, '*b 1 1']:
    if n == 0:
        return torch.cos(angle_sq.sqrt())
    if n == 1:
        return torch.sin(angle_sq.sqrt()) / angle_sq.sqrt()
    return (1 / math.factorial(n - 2) - _phi_closed(n - 2, angle_sq)) / angle_sq
