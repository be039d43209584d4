"""Images as networks take them: zero mean and unit deviation within the mask, zero outside."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_SMALLEST_VARIANCE = 1e-8
_SMALLEST_CONTRAST = 1e-6


def normalise(
    line_integrals: Float[Tensor, 'B H W'], mask: Bool[Tensor, 'B H W'] | None = None
) -> Float[Tensor, 'B 1 H W']:
    """Return images without their offset and gain, which no network shall depend on.

    Differentiable in forward and reverse mode: a rendering's Jacobian goes through it.

    Args:
        line_integrals: X-rays or renderings; values outside the mask may be anything.
        mask: pixels that count; all if None.
    """
    usable = torch.ones_like(line_integrals, dtype=torch.bool) if mask is None else mask
    count = usable.sum((-2, -1), keepdim=True).clamp(min=1)
    inside = torch.where(usable, line_integrals, 0.0)
    mean = inside.sum((-2, -1), keepdim=True) / count
    centred = torch.where(usable, inside - mean, 0.0)
    variance = centred.square().sum((-2, -1), keepdim=True) / count
    return (centred * (variance + _SMALLEST_VARIANCE).rsqrt())[:, None]


def is_constant(
    images: Float[Tensor, 'B H W'], mask: Bool[Tensor, 'B H W'] | None = None
) -> Bool[Tensor, 'B']:
    """Return which images show nothing within the mask: constant up to rounding, or no pixels."""
    usable = torch.ones_like(images, dtype=torch.bool) if mask is None else mask
    high = torch.where(usable, images, -torch.inf).flatten(1).amax(1)
    low = torch.where(usable, images, torch.inf).flatten(1).amin(1)
    size = torch.maximum(high.abs(), low.abs())
    return ~(high - low > _SMALLEST_CONTRAST * size)
