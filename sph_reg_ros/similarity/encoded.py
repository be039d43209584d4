"""Residuals of encoded images and their derivative, in forward mode through the whole encoder."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.func import jvp, vmap

from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.normalise import normalise


def encoded_residual(
    encoder: SphericalEncoder,
    renderings: Float[Tensor, 'B H W'],
    jacobians: Float[Tensor, 'B H W 6'],
    fixed: Float[Tensor, 'B *features'],
    mask: Bool[Tensor, 'B H W'] | None = None,
) -> tuple[Float[Tensor, 'B n'], Float[Tensor, 'B n 6']]:
    """Return the residual of each rendering and its derivative by the pose.

    Both can be back-propagated to the weights of the encoder.

    Args:
        encoder: maps images to features.
        renderings: line integrals.
        jacobians: their derivative by the pose.
        fixed: features of the X-rays, `encoder(normalise(xrays, mask))`.
        mask: pixels that count; all if None.

    Returns:
        r and dr / dxi; |r| is the learned distance d (`networks.heads`).
    """

    def compared(raw: Tensor, fixed: Tensor) -> Tensor:
        return encoder.head.residual(encoder.head.project(raw), fixed)

    slopes = jacobians.movedim(-1, 1)
    images, tangents = _each_tangent(lambda images: normalise(images, mask), slopes, renderings)
    raw, tangents = encoder.push(images, tangents)
    residual, tangents = _each_tangent(compared, tangents, raw, fixed)
    return residual, tangents.mT


def _each_tangent(
    function: Callable[..., Tensor], tangents: Tensor, value: Tensor, *constants: Tensor
) -> tuple[Tensor, Tensor]:
    """Return f(x, constants) and its derivative along each of T tangents of x [B, T, ...]."""
    # Products with what has no tangent at all take three times as long (torch 2.13).
    zeros = tuple(torch.zeros_like(constant) for constant in constants)

    def along(tangent: Tensor) -> Any:
        return jvp(function, (value, *constants), (tangent, *zeros))

    # Its type says `int` where its documentation says `None`: the value is the same for all.
    dims: Any = (None, 1)
    result, slopes = vmap(along, in_dims=1, out_dims=dims)(tangents)
    return result, slopes
