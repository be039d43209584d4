"""Points of a box that stand for all of it."""

import torch
from jaxtyping import Float64
from torch import Tensor


def landmark_grid(
    centre_mm: Float64[Tensor, '3'], half_size_mm: tuple[float, float, float]
) -> Float64[Tensor, '14 3']:
    """Return the 8 corners and 6 face centres of a box around the anatomy, CT coordinates (mm)."""
    half = torch.tensor(half_size_mm, dtype=torch.float64)
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    corners = torch.cartesian_prod(signs, signs, signs)
    faces = torch.cat([torch.eye(3), -torch.eye(3)]).to(torch.float64)
    return centre_mm + half * torch.cat([corners, faces])
