"""The solver on problems whose answer is known, one row at a time; rows: test_rows.py."""

from dataclasses import replace

import pytest
import torch
from point_clouds import START, TARGET, Alignment, distance, generator, in_rows, move, solve

from sph_reg_ros.errors import CancelledError, ConfigError, ErrorCode, SolverError
from sph_reg_ros.geometry import se3
from sph_reg_ros.similarity import ResidualBlock
from sph_reg_ros.similarity.normal_equations import sum_of
from sph_reg_ros.solvers import (
    LMConfig,
    StepUnits,
    StoppingRule,
    TerminationReason,
    levenberg_marquardt,
)

CONFIG = LMConfig(max_iterations=50, max_rotation=1.0, max_translation=1.0, tolerance=1e-12)
PAPER = replace(CONFIG, stopping_rule=StoppingRule.STEP_SPREAD)
point_alignment = Alignment()


def noise() -> torch.Tensor:
    return 0.05 * torch.randn(20, 3, dtype=torch.float64, generator=generator(7))


def test_it_finds_the_minimum_from_far_away():
    start = se3.exp(torch.tensor([-1.0, 0.8, 0.5, 1.0, -2.0, 0.5], dtype=torch.float64)) @ TARGET
    result = solve(point_alignment, start, CONFIG)
    assert result.termination == TerminationReason.CONVERGED
    assert torch.allclose(result.pose, TARGET, atol=1e-8)
    assert result.iterations < 25


def test_the_cost_never_rises():
    costs = []
    start = se3.exp(torch.tensor([2.0, 0.0, 0.5, 1.0, 0.0, 0.0], dtype=torch.float64)) @ TARGET
    solve(point_alignment, start, CONFIG, lambda i, cost: costs.append(cost))
    assert costs == sorted(costs, reverse=True) and costs[-1] < costs[0]


@pytest.mark.parametrize('caps', [(0.1, 10.0), (10.0, 0.05), (0.02, 0.02)])
def test_no_step_exceeds_its_caps_and_the_tighter_one_is_used(caps):
    steps = []

    def remember(poses, rows):
        steps.extend(rows)
        return move(poses, rows)

    start = se3.exp(torch.tensor([1.0, 0.0, 0.0, 3.0, 0.0, 0.0], dtype=torch.float64)) @ TARGET
    config = LMConfig(max_iterations=5, max_rotation=caps[0], max_translation=caps[1])
    solve(point_alignment, start, config, step=remember)
    shares = [(float(s[:3].norm()) / caps[0], float(s[3:].norm()) / caps[1]) for s in steps]
    assert all(max(share) <= 1 + 1e-12 for share in shares)
    assert max(shares[0]) > 1 - 1e-12


def test_a_direction_without_information_stays_bounded():
    def blind_in_depth(pose):
        (block,) = point_alignment(pose)
        keep = torch.ones(6, dtype=torch.float64)
        keep[5] = 0
        return [ResidualBlock(block.residual, block.jacobian * keep, block.cluster)]

    start = se3.exp(torch.tensor([0.1, 0.0, 0.0, 0.2, 0.0, 0.3], dtype=torch.float64)) @ TARGET
    result = solve(blind_in_depth, start, CONFIG)
    assert torch.isfinite(result.pose).all()
    assert abs(float(result.pose[2, 3] - start[2, 3])) < 1.0


def test_too_few_iterations_are_reported():
    start = se3.exp(torch.tensor([2.0, 0.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)) @ TARGET
    result = solve(point_alignment, start, LMConfig(max_iterations=2))
    assert result.termination == TerminationReason.MAX_ITERATIONS


def test_a_wrong_jacobian_stalls_and_keeps_the_start():
    def uphill(pose):
        (block,) = point_alignment(pose)
        return [ResidualBlock(block.residual, -block.jacobian, block.cluster)]

    start = se3.exp(torch.tensor([0.5, 0.0, 0.0, 0.3, 0.0, 0.0], dtype=torch.float64)) @ TARGET
    config = LMConfig(max_iterations=200, tolerance=0.0, min_predicted_reduction=0.0)
    result = solve(uphill, start, config)
    assert result.iterations < 200
    assert result.termination == TerminationReason.STALLED
    assert torch.equal(result.pose, start)


def test_a_step_out_of_view_is_refused_and_the_search_goes_on():
    def fenced(pose):
        if float(pose[0, 3]) > 1.1:
            raise SolverError(ErrorCode.NO_OVERLAP, 'out of view')
        return point_alignment(pose)

    start = se3.exp(torch.tensor([0.3, 0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64))
    result = solve(fenced, start, CONFIG)
    assert torch.allclose(result.pose, TARGET, atol=1e-6)


@pytest.mark.parametrize('fault', ['residual', 'jacobian'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_start_without_finite_residuals_or_derivatives_is_an_error(fault, value):
    def broken(pose):
        (block,) = point_alignment(pose)
        return [replace(block, **{fault: getattr(block, fault) * value})]

    with pytest.raises(SolverError) as error:
        solve(broken, TARGET, CONFIG)
    assert error.value.code == ErrorCode.NUMERICAL


def test_residuals_that_the_pose_does_not_change_are_an_error_and_no_convergence():
    def blind(pose):
        (block,) = point_alignment(pose)
        return [replace(block, jacobian=torch.zeros_like(block.jacobian))]

    for linearise in (blind, Alignment(weight=torch.zeros(60, dtype=torch.float64))):
        with pytest.raises(SolverError, match='nothing about the pose') as error:
            solve(linearise, START, CONFIG)
        assert error.value.code == ErrorCode.NUMERICAL


def test_a_step_to_where_the_derivative_is_not_finite_is_refused():
    def broken_far_away(pose):
        (block,) = point_alignment(pose)
        factor = 1.0 if distance(pose) > 0.1 else float('nan')
        return [replace(block, jacobian=block.jacobian * factor)]

    result = solve(broken_far_away, START, CONFIG)
    assert torch.isfinite(result.pose).all() and distance(result.pose) > 0.1


def test_a_refused_step_too_small_to_matter_is_convergence():
    calls = []

    def noisy(pose):
        # The cost grows with every call: no step is ever accepted.
        calls.append(pose)
        (block,) = Alignment(errors=noise())(pose)
        return [replace(block, residual=block.residual * (1 + len(calls)))]

    config = replace(CONFIG, min_predicted_reduction=0.0, tolerance=1e-3)
    result = solve(noisy, TARGET, config)
    assert result.termination == TerminationReason.CONVERGED
    assert torch.equal(result.pose, TARGET) and len(calls) == result.iterations + 1


@pytest.mark.parametrize('units', StepUnits)
def test_the_rule_of_the_paper_stops_when_ten_steps_hardly_differ(units):
    config = replace(PAPER, max_translation=0.02, max_rotation=0.02, step_units=units)
    result = solve(point_alignment, START, config)
    assert result.termination == TerminationReason.CONVERGED
    assert result.iterations >= 10
    # Equal capped steps have no spread: in units of xi the rule stops on the way.
    assert (distance(result.pose) < 1e-4) == (units is StepUnits.DEG_MM)


def test_the_rule_of_the_paper_needs_ten_steps_where_the_predicted_reduction_needs_few():
    predicted, paper = (
        solve(Alignment(errors=noise()), START, config) for config in (CONFIG, PAPER)
    )
    assert predicted.termination == TerminationReason.CONVERGED and predicted.iterations < 10
    assert paper.iterations >= 10
    assert distance(predicted.pose, paper.pose) < 1e-4


def test_the_result_carries_the_cost_and_the_second_derivative_at_its_pose():
    problem = Alignment(errors=noise(), weight=torch.linspace(0, 2, 60, dtype=torch.float64))
    result = solve(problem, START, CONFIG)
    (block,) = problem(result.pose)
    assert result.cost == pytest.approx(float((block.weight * block.residual.square()).sum()))
    J = block.jacobian
    assert torch.allclose(result.information, J.T @ (block.weight[:, None] * J))


def test_weights_of_zero_equal_removed_residuals():
    keep = torch.rand(60, generator=generator(3)) > 0.4

    def fewer(pose):
        (block,) = Alignment(errors=noise())(pose)
        return [ResidualBlock(block.residual[keep], block.jacobian[keep], block.cluster[keep])]

    weighted = solve(Alignment(errors=noise(), weight=keep.double()), START, CONFIG)
    removed = solve(fewer, START, CONFIG)
    assert distance(weighted.pose, removed.pose) < 1e-12
    assert weighted.cost == pytest.approx(removed.cost, rel=1e-12)
    assert weighted.iterations == removed.iterations


def test_a_common_factor_of_all_weights_changes_nothing():
    one, many = (
        solve(Alignment(errors=noise(), weight=torch.full((60,), factor).double()), START, CONFIG)
        for factor in (1.0, 1e-5)
    )
    assert distance(one.pose, many.pose) < 1e-10 and one.iterations == many.iterations


def test_a_sum_of_equations_equals_those_of_one_long_block():
    problem, config = Alignment(errors=noise()), CONFIG

    def part(rows):
        def of_rows(pose):
            (block,) = problem(pose)
            values = (block.residual, block.jacobian, block.cluster)
            return [ResidualBlock(*(v[rows] for v in values))]

        return in_rows(of_rows)

    def halves(poses, widths):
        return sum_of([part(rows)(poses, None) for rows in (slice(31), slice(31, None))])

    stacked = levenberg_marquardt(halves, move, START[None], config)
    assert distance(solve(problem, START, config).pose, stacked.poses[0]) < 1e-12


def test_the_observer_can_stop_it():
    def stop(iteration, cost):
        raise CancelledError

    with pytest.raises(CancelledError):
        solve(point_alignment, torch.eye(4).double(), CONFIG, stop)


@pytest.mark.parametrize(
    'setting',
    [
        {'max_rotation': 0.0},
        {'max_translation': float('nan')},
        {'max_damping': -1.0},
        {'min_gain': -1e-3},
        {'initial_damping': 0.0},
        {'initial_damping': torch.tensor([1.0, 1, 1, 1, 1, -1])},
        {'initial_damping': torch.ones(3)},
        {'initial_damping': torch.ones(6, 6)},
    ],
)
def test_a_setting_out_of_range_is_refused_by_its_name(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=name):
        LMConfig(**setting)
