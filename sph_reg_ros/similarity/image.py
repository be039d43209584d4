"""Image similarities as residual vectors."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.similarity.residual import ResidualBlock

PATCHES = 16
"""Patches along each side of an image, the clusters of its residuals."""


def ncc_residual(
    xray: Float[Tensor, 'H W'],
    rendering: Float[Tensor, 'H W'],
    jacobian: Float[Tensor, 'H W 6'],
    mask: Bool[Tensor, 'H W'] | None = None,
) -> ResidualBlock:
    """Return r with |r|^2 = 2 (1 - NCC), and its exact derivative.

    r is the difference of both images after each is shifted to zero mean and scaled to unit norm,
    so that no gain and no offset of the detector matters.

    Args:
        xray: line integrals.
        rendering: line integrals of the CT at the pose.
        jacobian: derivative of `rendering` by the pose.
        mask: pixels that count; all if None.

    Raises:
        SolverError: NO_OVERLAP if the rendering shows nothing within the mask.
    """
    pixels = slice(None) if mask is None else mask.flatten()
    target, _ = _standardise(xray.flatten()[pixels].double())
    image, norm = _standardise(rendering.flatten()[pixels].double())
    J = jacobian.reshape(-1, jacobian.shape[-1])[pixels].double()
    J = J - J.mean(0)
    # d(y / |y|) = (I - y y^T) dy / |y|: scaling to unit norm removes the part along the image.
    J = (J - torch.outer(image, image @ J)) / norm
    return ResidualBlock(image - target, J, _patch_of_pixels(xray.shape)[pixels])


def ncc(
    a: Float[Tensor, 'H W'], b: Float[Tensor, 'H W'], mask: Bool[Tensor, 'H W'] | None = None
) -> float:
    """Return the normalised cross-correlation in [-1, 1] over the mask.

    Raises:
        SolverError: NO_OVERLAP if one of the images is constant.
    """
    pixels = slice(None) if mask is None else mask.flatten()
    first, _ = _standardise(a.flatten()[pixels].double())
    second, _ = _standardise(b.flatten()[pixels].double())
    return float(first @ second)


def _patch_of_pixels(shape: torch.Size) -> Int64[Tensor, 'n']:
    rows = torch.arange(shape[0]) * PATCHES // shape[0]
    columns = torch.arange(shape[1]) * PATCHES // shape[1]
    return (rows[:, None] * PATCHES + columns).flatten()


def _standardise(values: Float[Tensor, 'n']) -> tuple[Float[Tensor, 'n'], Tensor]:
    centred = values - values.mean()
    norm = centred.norm()
    if not norm > 1e-9 * max(1.0, float(values.abs().max())):
        raise SolverError(
            ErrorCode.NO_OVERLAP,
            'the image is constant where it is compared: the CT is not in view at this pose; '
            'check the initial pose and the camera',
        )
    return centred / norm, norm
