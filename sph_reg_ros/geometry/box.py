"""Points of a box that stand for all of it, and how far apart two poses take them."""

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.se3 import transform_points


def landmark_grid(
    centre_mm: Float64[Tensor, '3'], half_size_mm: tuple[float, float, float]
) -> Float64[Tensor, '14 3']:
    """Return the 8 corners and 6 face centres of a box around the anatomy, CT coordinates (mm)."""
    half = torch.tensor(half_size_mm, dtype=torch.float64)
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    corners = torch.cartesian_prod(signs, signs, signs)
    faces = torch.cat([torch.eye(3), -torch.eye(3)]).to(torch.float64)
    return centre_mm + half * torch.cat([corners, faces])


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
