"""Robust kernels: what they promise mathematically, and what outliers do to a pose."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from point_clouds import START, Alignment, distance, generator, outliers, solve

from sph_reg_ros.similarity import ResidualBlock
from sph_reg_ros.similarity.robust import (
    TUNING,
    RobustKernel,
    curvature_weighted,
    kernel_width,
    reweighted,
    robust_cost,
)
from sph_reg_ros.solvers import LMConfig, TerminationReason

ROBUST = [kernel for kernel in RobustKernel if kernel is not RobustKernel.NONE]
CONFIG = LMConfig(max_iterations=100, max_rotation=1.0, max_translation=1.0, tolerance=1e-9)

sizes = st.floats(-20, 20).filter(lambda r: abs(r) > 1e-6)
kernels = st.sampled_from(RobustKernel)


def block_of(*residuals: float, weight=None) -> ResidualBlock:
    residual = torch.tensor(residuals, dtype=torch.float64)
    return ResidualBlock(
        residual, torch.ones(len(residual), 6), torch.arange(len(residual)), weight
    )


def cost(residual: float, kernel: RobustKernel, width: float) -> float:
    return float(robust_cost(block_of(residual), kernel, torch.tensor(width).double()))


def weight(residual: float, kernel: RobustKernel, width: float) -> float:
    found = reweighted(block_of(residual), kernel, torch.tensor(width).double()).weight
    return 1.0 if found is None else float(found)


@given(kernels, sizes, st.floats(0.5, 5))
def test_the_weight_is_the_slope_of_the_cost(kernel, r, width):
    h = 1e-6 * abs(r)
    slope = (cost(r + h, kernel, width) - cost(r - h, kernel, width)) / (2 * h)
    assert slope == pytest.approx(2 * r * weight(r, kernel, width), rel=1e-4, abs=1e-6)


@given(kernels, sizes, st.floats(0.5, 5))
def test_the_curvature_weight_is_half_the_second_derivative_of_the_cost(kernel, r, width):
    if abs(abs(r) - width) < 1e-2:
        return  # Huber's and Tukey's second derivatives jump there
    h = 1e-4
    force = [(x * weight(x, kernel, width)) for x in (r - h, r + h)]
    found = curvature_weighted(block_of(r), kernel, torch.tensor(width).double()).weight
    expected = (force[1] - force[0]) / (2 * h)
    assert expected == pytest.approx(1.0 if found is None else float(found), abs=1e-5)


@given(kernels, sizes, sizes, st.floats(0.5, 5))
def test_reweighted_squares_lie_above_the_robust_cost_and_touch_it(kernel, r, other, width):
    square_above = cost(r, kernel, width) + weight(r, kernel, width) * (other**2 - r**2)
    assert cost(other, kernel, width) <= square_above + 1e-9 * (1 + other**2 + r**2)


@given(kernels, sizes)
def test_small_residuals_cost_their_square_and_large_ones_less(kernel, r):
    assert cost(r, kernel, 1e4) == pytest.approx(r**2, rel=1e-5)
    assert cost(r, kernel, 0.1) <= r**2
    assert cost(r, kernel, 1.0) == pytest.approx(cost(-r, kernel, 1.0))


@pytest.mark.parametrize('kernel', ROBUST)
@given(factor=st.floats(1e-3, 1e3))
def test_the_width_is_the_noise_whatever_its_size_and_in_spite_of_outliers(kernel, factor):
    noise = factor * torch.randn(20001, dtype=torch.float64, generator=generator(2))
    clean = float(kernel_width(block_of(*noise.tolist()), kernel))
    assert clean == pytest.approx(TUNING[kernel] * factor, rel=0.03)
    noise[:4000] = 1e6 * factor
    assert float(kernel_width(block_of(*noise.tolist()), kernel)) < 1.5 * clean


def test_residuals_without_weight_have_no_say_in_the_width():
    zeros = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]).double()
    masked = block_of(1.0, -2.0, 3.0, 50.0, 60.0, -70.0, 80.0, weight=zeros)
    kept = block_of(1.0, -2.0, 3.0)
    for kernel in ROBUST:
        assert torch.equal(kernel_width(masked, kernel), kernel_width(kept, kernel))


@pytest.mark.parametrize('kernel', ROBUST)
@pytest.mark.parametrize('residuals', [(), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 5.0)])
def test_exact_or_absent_residuals_leave_costs_and_weights_finite(kernel, residuals):
    block = block_of(*residuals)
    width = kernel_width(block, kernel)
    assert width > 0
    assert torch.isfinite(robust_cost(block, kernel, width))
    assert torch.isfinite(reweighted(block, kernel, width).weight).all()


@pytest.mark.parametrize('kernel', ROBUST)
def test_outliers_move_a_plain_solution_and_hardly_a_robust_one(kernel):
    problem = Alignment(count=200, errors=outliers(200, share=0.2))
    plain = solve(problem, START, CONFIG)
    robust = solve(problem, START, CONFIG, kernel=kernel)
    assert distance(plain.pose) > 0.3
    # Huber bounds an outlier's pull, the others end it.
    assert distance(robust.pose) < (0.02 if kernel is RobustKernel.HUBER else 0.005)
    assert robust.termination == TerminationReason.CONVERGED


@pytest.mark.parametrize('kernel', ROBUST)
def test_the_weights_of_the_result_tell_outliers_from_the_rest(kernel):
    problem = Alignment(count=200, errors=outliers(200, share=0.2))
    (block,) = problem(solve(problem, START, CONFIG, kernel=kernel).pose)
    block = reweighted(block, kernel, kernel_width(block, kernel))
    assert float(block.weight[: 3 * 40].max()) < 0.1 < 0.8 < float(block.weight[3 * 40 :].mean())


@pytest.mark.parametrize('kernel', ROBUST)
def test_without_outliers_a_robust_solution_is_near_the_plain_one(kernel):
    problem = Alignment(count=200, errors=outliers(200, share=0.0))
    plain = solve(problem, START, CONFIG)
    robust = solve(problem, START, CONFIG, kernel=kernel)
    assert 0 < distance(robust.pose, plain.pose) < 0.5 * distance(plain.pose) + 1e-3
    assert robust.iterations < 20


@pytest.mark.parametrize('kernel', ROBUST)
def test_residuals_of_any_size_give_the_same_robust_pose(kernel):
    def scaled(pose):
        (block,) = problem(pose)
        return [ResidualBlock(1e-4 * block.residual, 1e-4 * block.jacobian, block.cluster)]

    problem = Alignment(count=200, errors=outliers(200, share=0.2))
    one, small = (solve(f, START, CONFIG, kernel=kernel) for f in (problem, scaled))
    assert distance(one.pose, small.pose) < 1e-8


@pytest.mark.parametrize('kernel', ROBUST)
def test_the_cost_of_a_result_is_that_without_the_kernel(kernel):
    problem = Alignment(count=200, errors=outliers(200, share=0.2))
    result = solve(problem, START, CONFIG, kernel=kernel)
    (block,) = problem(result.pose)
    assert result.cost == pytest.approx(float(block.residual.square().sum()))
