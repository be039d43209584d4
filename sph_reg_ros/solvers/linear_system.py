"""The damped linear system behind each step, solved for rows at once."""

import torch
from jaxtyping import Float64
from torch import Tensor

LEAST_DAMPING = 1e-8
"""What even the undamped step is damped by, relative to the diagonal: a singular matrix then has
Cholesky factors, and so has one that the rounding of float32 sums has made indefinite."""


def damped_steps(
    hessian: Float64[Tensor, '*b n n'], gradient: Float64[Tensor, '*b n'], damping: Tensor
) -> Float64[Tensor, '*b n']:
    """Return the steps that minimise damped linear models; 0 where there is none.

    Marquardt's scaling by the diagonal, floored so that weak directions stay bounded.

    Args:
        hessian: J^T W J.
        gradient: J^T W r.
        damping: relative to the diagonal, [*b, 1] or one for each unknown [*b, n]; at least
            LEAST_DAMPING is used.
    """
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    floored = torch.add(diagonal, diagonal.mean(-1, keepdim=True), alpha=1e-6)
    damped = hessian + torch.diag_embed(damping.clamp(min=LEAST_DAMPING) * floored)
    factor, failed = torch.linalg.cholesky_ex(damped)
    step = torch.cholesky_solve(-gradient[..., None], factor)[..., 0]
    return step.masked_fill((failed > 0)[..., None], 0.0)


def predicted_reduction(
    hessian: Float64[Tensor, '*b n n'], gradient: Float64[Tensor, '*b n'], step: Tensor
) -> Float64[Tensor, '*b']:
    """Return by how much the linear model says that a step lowers the cost."""
    curved = (hessian * step[..., None, :]).sum(-1)
    return -(step * torch.add(curved, gradient, alpha=2)).sum(-1)
