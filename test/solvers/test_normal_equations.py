"""The normal equations: sums over blocks and rows, weights, precision."""

import pytest
import torch
from point_clouds import generator

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.similarity import ResidualBlock
from sph_reg_ros.solvers import normal_equations
from sph_reg_ros.solvers.normal_equations import damped_step, promise


def random_block(rows: int, seed: int = 0, dtype=torch.float64) -> ResidualBlock:
    random = generator(seed)
    residual = torch.randn(rows, generator=random, dtype=torch.float64)
    jacobian = torch.randn(rows, 6, generator=random, dtype=torch.float64) + 0.5
    weight = torch.rand(rows, generator=random, dtype=torch.float64)
    return ResidualBlock(
        residual.to(dtype), jacobian.to(dtype), torch.arange(rows), weight.to(dtype)
    )


@pytest.mark.parametrize('rows', [0, 1, 1023, 1024, 1025, 5000])
def test_any_number_of_rows_is_summed_as_written(rows):
    block = random_block(rows)
    A, g = normal_equations([block])
    weighted = block.weight[:, None] * block.jacobian
    assert torch.allclose(A, weighted.T @ block.jacobian)
    assert torch.allclose(g, weighted.T @ block.residual)


def test_single_precision_costs_no_more_than_its_rounding():
    exact = random_block(300_000)
    A, g = normal_equations([exact])
    A32, g32 = normal_equations([random_block(300_000, dtype=torch.float32)])
    assert A32.dtype == g32.dtype == torch.float64
    assert float((A32 - A).abs().max() / A.abs().max()) < 1e-6
    terms = (exact.weight[:, None] * exact.jacobian * exact.residual[:, None]).abs().sum(0)
    assert float(((g32 - g).abs() / terms).max()) < 1e-7


def test_blocks_add_up():
    blocks = [random_block(1500, seed) for seed in (1, 2)]
    A, g = normal_equations(blocks)
    parts = [normal_equations([block]) for block in blocks]
    assert torch.allclose(A, parts[0][0] + parts[1][0])
    assert torch.allclose(g, parts[0][1] + parts[1][1])


def test_no_step_promises_more_than_the_undamped_one():
    A, g = normal_equations([random_block(100)])
    best = float(promise(A, g, damped_step(A, g, 0.0)))
    damped = [float(promise(A, g, damped_step(A, g, damping))) for damping in (1e-3, 1.0, 1e3)]
    assert best > damped[0] > damped[1] > damped[2] > 0


def test_damping_of_one_direction_shortens_the_step_there():
    A, g = normal_equations([random_block(100)])
    damping = torch.zeros(6, dtype=torch.float64)
    damping[4] = 1e6
    free, held = damped_step(A, g, 0.0), damped_step(A, g, damping)
    assert abs(float(held[4])) < 1e-5 * abs(float(free[4]))
    assert float(held[:4].norm()) > 0.1 * float(free[:4].norm())


def test_a_system_without_a_finite_solution_is_an_error():
    with pytest.raises(SolverError) as error:
        damped_step(torch.eye(6).double(), torch.full((6,), float('inf')).double(), 0.0)
    assert error.value.code == ErrorCode.NUMERICAL
