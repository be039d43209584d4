"""A low-order map of X-ray intensities to line integrals, as a linear basis.

Detector curve and beam hardening bend intensities the same way everywhere; scatter and gain drift
do so smoothly over the image. Both are linear in the coefficients of functions of the X-ray value x
and the place (u, v), so that the best ones for a rendering are a projection.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor


@dataclass(frozen=True)
class IntensityMap:
    """How much the map may bend.

    Attributes:
        order: degree of the polynomial in x.
        place_order: degree in (u, v) of the offset.
        gain_order: degree in (u, v) of the factors of x.
    """

    order: int = 3
    place_order: int = 2
    gain_order: int = 1


def map_basis(
    xray: Float32[Tensor, 'H W'], mask: Bool[Tensor, 'H W'], model: IntensityMap
) -> tuple[Float32[Tensor, 'H W a'], Float32[Tensor, 'H W b']]:
    """Return basis images of the place alone, and those that depend on the X-ray."""
    x = _standardised(xray, mask)
    v, u = (torch.linspace(-1, 1, n) for n in xray.shape)
    u, v = u.expand(xray.shape), v[:, None].expand(xray.shape)
    place = _monomials(u, v, model.place_order)
    gain = _monomials(u, v, model.gain_order)
    shaped = [g * x**k for k in range(1, model.order + 1) for g in (gain if k == 1 else gain[:1])]
    return torch.stack(place, -1), torch.stack(shaped, -1)


def _monomials(u: Tensor, v: Tensor, order: int) -> list[Tensor]:
    return [u**i * v ** (n - i) for n in range(order + 1) for i in range(n + 1)]


def _standardised(x: Tensor, mask: Tensor) -> Tensor:
    inside = x[mask] if bool(mask.any()) else x.new_zeros(1)
    # NumPy selects, torch sorts.
    low, high = np.quantile(inside.double().numpy(), [0.01, 0.99]).tolist()
    # Outliers (metal, the collimator's edge) would otherwise have all the leverage.
    return ((x - (low + high) / 2) / max((high - low) / 2, 1e-9)).clamp(-1.2, 1.2)
