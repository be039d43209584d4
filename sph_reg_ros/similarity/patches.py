"""Which patch of the image a residual lies in, and what an image without contrast raises."""

import torch
from jaxtyping import Int64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError

PATCHES = 16
"""Patches along each side of an image, the clusters of its residuals."""


def patch_of_pixels(shape: torch.Size | tuple[int, int]) -> Int64[Tensor, 'n']:
    """Return the patch of every pixel of an image (height, width), row by row."""
    rows = torch.arange(shape[0]) * PATCHES // shape[0]
    columns = torch.arange(shape[1]) * PATCHES // shape[1]
    return (rows[:, None] * PATCHES + columns).flatten()


def no_overlap() -> SolverError:
    """Return the error of an image that shows nothing where it is compared."""
    return SolverError(
        ErrorCode.NO_OVERLAP,
        'the image is constant where it is compared: the CT is not in view at this pose; '
        'check the initial pose and the camera',
    )
