"""Poses after twists: by NumPy as by the differentiable formula."""

import math

import pytest
import torch

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.moved import moved

CENTRE = torch.tensor([30.0, -200.0, 1100.0], dtype=torch.float64)


def poses(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    twists = torch.randn(rows, 6, dtype=torch.float64, generator=generator)
    return se3.exp(twists * torch.tensor([1.0, 1, 1, 100, 100, 500]))


@pytest.mark.parametrize('angle', [0.0, 1e-9, 1e-3, 0.0999, 0.1001, 1.0, math.pi, 6.0])
def test_it_is_the_twist_of_se3_at_every_angle(angle):
    generator = torch.Generator().manual_seed(2)
    twists = torch.randn(5, 6, dtype=torch.float64, generator=generator)
    twists[:, :3] *= angle / twists[:, :3].norm(dim=1, keepdim=True)
    twists[:, 3:] *= 20
    expected = se3.apply_twist(twists, poses(5), CENTRE)
    assert torch.allclose(moved(poses(5), twists, CENTRE), expected, rtol=1e-12, atol=1e-10)


def test_it_keeps_a_graph_that_is_asked_for():
    twists = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    assert moved(poses(1), twists, CENTRE).requires_grad
    with torch.no_grad():
        assert not moved(poses(1), twists, CENTRE).requires_grad


def test_rows_of_a_larger_tensor_are_moved_too():
    some = poses(6)[::2]
    twists = torch.full((3, 12), 0.1, dtype=torch.float64)[:, ::2]
    assert torch.allclose(moved(some, twists, CENTRE), se3.apply_twist(twists, some, CENTRE))


def test_small_and_large_turns_may_stand_side_by_side():
    twists = torch.zeros(3, 6, dtype=torch.float64)
    twists[:, 1] = torch.tensor([1e-3, 2.0, 0.0])
    assert torch.allclose(
        moved(poses(3), twists, CENTRE), se3.apply_twist(twists, poses(3), CENTRE)
    )
