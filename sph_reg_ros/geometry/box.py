"""Points of a box that stand for all of it, and how far apart two poses take them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.se3 import transform_points

TRUNK_HALF_SIZE_MM = (120.0, 60.0, 90.0)
"""Half sizes along LPS of a box about the middle of a trunk; its points tell how good a pose is."""


def landmark_grid(
    centre_mm: Float64[Tensor, '3'], half_size_mm: tuple[float, float, float]
) -> Float64[Tensor, '14 3']:
    """Return the 8 corners and 6 face centres of a box around the anatomy, CT coordinates (mm)."""
    half = torch.tensor(half_size_mm, dtype=torch.float64)
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    corners = torch.cartesian_prod(signs, signs, signs)
    faces = torch.cat([torch.eye(3), -torch.eye(3)]).to(torch.float64)
    return centre_mm + half * torch.cat([corners, faces])


def landmarks_within(
    centre_mm: Float64[Tensor, '3'],
    half_size_mm: tuple[float, float, float],
    extent_mm: Sequence[float],
) -> Float64[Tensor, '14 3']:
    """Return those of a box about the middle of a CT, cut to the CT's own size along each axis."""
    x, y, z = (min(half, size / 2) for half, size in zip(half_size_mm, extent_mm, strict=True))
    return landmark_grid(centre_mm, (x, y, z))


def mean_distance_mm(
    first: Float64[Tensor, '*b 4 4'],
    second: Float64[Tensor, '*b 4 4'],
    points: Float64[Tensor, 'n 3'],
) -> Float64[Tensor, '*b']:
    """Return the mean distance (mm) of points between where two poses take them.

    Args:
        first: b_from_a (mm).
        second: the same, or as many.
        points: in frame a, mm.
    """
    difference = transform_points(first, points) - transform_points(second, points)
    return difference.norm(dim=-1).mean(-1)
