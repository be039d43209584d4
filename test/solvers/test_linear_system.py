"""The damped linear system of each step: damping, scaling, rows, singular matrices."""

import pytest
import torch
from point_clouds import generator

from sph_reg_ros.solvers.linear_system import damped_steps, predicted_reduction


def system(rows: int = 1, unknowns: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Return J^T J and J^T r of random residuals, far from scaled alike."""
    J = torch.randn(rows, 100, unknowns, generator=generator(), dtype=torch.float64) + 0.5
    J *= torch.logspace(-1, 1, unknowns, dtype=torch.float64)
    r = torch.randn(rows, 100, 1, generator=generator(1), dtype=torch.float64)
    return J.mT @ J, (J.mT @ r)[..., 0]


def damping(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


@pytest.mark.parametrize('unknowns', [1, 6, 7, 18])
def test_the_step_solves_the_damped_system_of_each_row(unknowns):
    A, g = system(3, unknowns)
    amounts = damping(1e-4, 1.0, 100.0)
    steps = damped_steps(A, g, amounts)
    diagonal = A.diagonal(dim1=-2, dim2=-1)
    floor = 1e-6 * diagonal.mean(-1, keepdim=True)
    damped = A + torch.diag_embed(amounts * (diagonal + floor))
    assert torch.allclose((damped @ steps[..., None])[..., 0], -g, rtol=1e-9)


def test_no_step_is_predicted_to_reduce_more_than_the_undamped_one():
    A, g = system()
    amounts = damping(0.0, 1e-3, 1.0, 1e3)
    reductions = predicted_reduction(A, g, damped_steps(A, g, amounts)).tolist()
    assert reductions == sorted(reductions, reverse=True) and reductions[-1] > 0


def test_damping_of_one_direction_shortens_the_step_there():
    A, g = system()
    held = torch.zeros(1, 6, dtype=torch.float64)
    held[0, 4] = 1e6
    steps = damped_steps(A, g, torch.stack([torch.zeros_like(held), held]))[:, 0]
    assert abs(float(steps[1, 4])) < 1e-5 * abs(float(steps[0, 4]))
    assert float(steps[1, :4].norm()) > 0.1 * float(steps[0, :4].norm())


@pytest.mark.parametrize('kind', ['empty', 'a direction', 'two alike'])
@pytest.mark.parametrize('amount', [0.0, 1e-4])
def test_a_singular_row_has_a_finite_step_and_leaves_the_others_alone(kind, amount):
    A, g = system(2)
    expected = damped_steps(A, g, damping(amount, amount))[1]
    if kind == 'empty':
        A[0], g[0] = 0, 0
    elif kind == 'a direction':
        A[0, 2], A[0, :, 2], g[0, 2] = 0, 0, 0
    else:
        A[0, 3], g[0, 3] = A[0, 2], g[0, 2]
        A[0, :, 3] = A[0, :, 2]
    steps = damped_steps(A, g, damping(amount, amount))
    assert torch.isfinite(steps).all() and torch.equal(steps[1], expected)
    if kind != 'empty' and amount == 0:
        # What can be solved is solved.
        units = A[0].diagonal().clamp(min=1e-9).sqrt()
        assert float(((A[0] @ steps[0] + g[0]) / units).norm()) < 1e-3 * float(
            (g[0] / units).norm()
        )


def test_a_matrix_that_is_far_from_definite_gives_no_step():
    A, g = system()
    assert torch.equal(damped_steps(-A, g, damping(1e-4)), torch.zeros(1, 6, dtype=torch.float64))
