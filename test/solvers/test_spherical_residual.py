"""What the SO(4) residual is for: the solver on a perfect embedding of the pose.

The residuals are those that a network would give that has learnt the geodesic without error.
"""

import math
from dataclasses import replace

import pytest
import torch
from point_clouds import solve

from sph_reg_ros.geometry import se3, so3, so4
from sph_reg_ros.similarity import ResidualBlock
from sph_reg_ros.solvers import LMConfig
from sph_reg_ros.solvers.linear_system import damped_steps

L = se3.TWIST_LENGTH_MM
CENTRE = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
NOMINAL = se3.from_parts(
    so3.exp(torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)),
    torch.tensor([20.0, -30.0, 700.0], dtype=torch.float64),
)
UNCAPPED = LMConfig(max_iterations=50, max_rotation=10.0, max_translation=10.0)
STARTS = [(5, 10), (20, 50), (45, 150)]


def move(pose: torch.Tensor, xi: torch.Tensor) -> torch.Tensor:
    return se3.apply_twist(torch.cat([xi[..., :3], L * xi[..., 3:]], -1), pose, CENTRE)


class Embedded:
    """Residuals between the embeddings of a pose and of a target: six, or their norm alone."""

    def __init__(self, target: torch.Tensor, *, scalar: bool = False) -> None:
        self.target = so4.pose_embedding(target, NOMINAL, CENTRE, L)
        self.scalar = scalar

    def __call__(self, pose: torch.Tensor) -> list[ResidualBlock]:
        zero = torch.zeros(6, dtype=torch.float64)
        jacobian, residual = torch.func.jacfwd(self._after, has_aux=True)(zero, pose)
        return [ResidualBlock(residual, jacobian, torch.zeros(len(residual), dtype=torch.int64))]

    def _after(self, xi: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedded = so4.pose_embedding(move(pose, xi), NOMINAL, CENTRE, L)
        if self.scalar:
            residual = so4.distance(embedded, self.target)[None]
        else:
            residual = so4.residual(embedded, self.target)
        return residual, residual


def problem(degrees: float, shift_mm: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a target near the nominal view and a start this far from it."""
    generator = torch.Generator().manual_seed(seed)
    target_xi, start_xi = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)
    sizes = torch.tensor([[math.radians(degrees)], [shift_mm / L]], dtype=torch.float64)
    target = move(NOMINAL, (target_xi * sizes / 2).flatten())
    start_xi = start_xi / start_xi.norm(dim=-1, keepdim=True)
    return target, move(target, (start_xi * sizes).flatten())


def distances_on_the_way(linearise, start: torch.Tensor, config: LMConfig) -> list[float]:
    costs = []
    solve(linearise, start, config, lambda i, cost: costs.append(cost), step=move)
    return [math.sqrt(cost) for cost in costs]


@pytest.mark.parametrize(('degrees', 'shift_mm'), STARTS)
def test_it_reaches_a_billionth_within_five_steps_from_near_and_from_far(degrees, shift_mm):
    for seed in range(3):
        target, start = problem(degrees, shift_mm, seed)
        distances = distances_on_the_way(Embedded(target), start, UNCAPPED)
        assert next(i for i, d in enumerate(distances, 1) if d < 1e-9) <= 5


def test_the_scaling_by_marquardt_makes_a_small_derivative_a_large_step_of_a_scalar():
    g = torch.tensor([1.0, -0.5, 0.3, 0.2, 0.1, 0.01], dtype=torch.float64)
    residual, damping = 0.4, 0.1
    step = damped_steps(torch.outer(g, g), residual * g, torch.tensor([damping]))
    assert torch.allclose(step, -residual / ((6 + damping) * g), rtol=1e-2)
    assert float(step[5].abs()) > 99 * float(step[0].abs())


@pytest.mark.parametrize(('degrees', 'shift_mm'), STARTS)
def test_a_scalar_distance_as_the_only_residual_does_not_get_anywhere(degrees, shift_mm):
    target, start = problem(degrees, shift_mm, seed=0)
    config = replace(UNCAPPED, max_iterations=20)
    distances = distances_on_the_way(Embedded(target, scalar=True), start, config)
    assert distances[-1] > 0.2 * distances[0]


@pytest.mark.parametrize(('degrees', 'shift_mm'), STARTS)
def test_the_same_scalar_with_a_fixed_metric_gets_there(degrees, shift_mm):
    target, pose = problem(degrees, shift_mm, seed=0)
    linearise = Embedded(target, scalar=True)
    for _ in range(12):
        (block,) = linearise(pose)
        g = block.jacobian[0]
        pose = move(pose, -g * block.residual / (g @ g + 1e-12))
    assert float(linearise(pose)[0].residual) < 1e-4
