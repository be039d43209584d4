"""Unit quaternions and pairs of them, at random and at chosen distances."""

import math

import torch

from sph_reg_ros.geometry import quaternion

CUT = math.pi  # a + b on the cut locus


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    values = random(*shape, seed=seed)
    return values / values.norm(dim=-1, keepdim=True)


def pairs(count: int, seed: int = 0) -> torch.Tensor:
    return unit(count, 2, 4, seed=seed)


def pairs_at(a: float, b: float, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pairs whose halves lie a and b apart."""
    first = pairs(count)
    steps = torch.tensor([[a], [b]], dtype=torch.float64) * unit(count, 2, 3, seed=1)
    return first, quaternion.product(first, quaternion.exp(steps))
