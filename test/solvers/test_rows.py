"""Rows of poses: each goes its own way, and costs nothing once it has ended."""

import math
from dataclasses import replace

import pytest
import torch
from point_clouds import START, TARGET, Alignment, distance, generator, in_rows, move, solve

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.geometry import se3
from sph_reg_ros.similarity import NormalEquations, ResidualBlock, RobustKernel
from sph_reg_ros.solvers import LMConfig, StoppingRule, TerminationReason, levenberg_marquardt

CONFIG = LMConfig(max_iterations=40, max_rotation=0.3, max_translation=0.3)
ERRORS = 0.05 * torch.randn(20, 3, dtype=torch.float64, generator=generator(7))


def starts(rows: int = 6) -> torch.Tensor:
    """Poses nearer and farther from the target."""
    sizes = torch.linspace(0.01, 1.5, rows, dtype=torch.float64)[:, None]
    twists = torch.randn(rows, 6, dtype=torch.float64, generator=generator(5))
    return se3.exp(sizes * twists / twists.norm(dim=1, keepdim=True)) @ TARGET


class Fenced(Alignment):
    """An alignment that is out of view on one side."""

    def __call__(self, pose) -> list[ResidualBlock]:
        if float(pose[0, 3]) > 1.1:
            raise SolverError(ErrorCode.NO_OVERLAP, 'out of view')
        return super().__call__(pose)


@pytest.mark.parametrize('rule', StoppingRule)
@pytest.mark.parametrize('kernel', [RobustKernel.NONE, RobustKernel.CAUCHY])
def test_every_row_ends_as_it_does_alone(rule, kernel):
    problem, config = Fenced(errors=ERRORS), replace(CONFIG, stopping_rule=rule)
    result = levenberg_marquardt(in_rows(problem, kernel), move, starts(), config)
    assert len(set(result.iterations)) > 1
    for row, start in enumerate(starts()):
        alone = solve(problem, start, config, kernel=kernel)
        assert torch.allclose(result.poses[row], alone.pose, atol=1e-12)
        assert torch.allclose(result.information[row], alone.information, rtol=1e-9)
        assert result.costs[row] == pytest.approx(alone.cost, rel=1e-12)
        assert result.iterations[row] == alone.iterations
        assert result.terminations[row] is alone.termination


def test_rows_that_have_ended_are_not_linearised_any_more():
    asked = []

    def counted(poses, widths):
        asked.append(len(poses))
        return in_rows(Alignment(errors=ERRORS))(poses, widths)

    result = levenberg_marquardt(counted, move, starts(), CONFIG)
    assert asked[0] == 6 and asked == sorted(asked, reverse=True) and asked[-1] < 6
    assert sum(asked[1:]) == sum(result.iterations)


def test_the_observer_hears_of_all_rows_at_once():
    seen = []
    linearise = in_rows(Alignment(errors=ERRORS))
    result = levenberg_marquardt(linearise, move, starts(), CONFIG, lambda *s: seen.append(s))
    assert len(seen) == max(result.iterations) and seen[-1][0] == sum(result.iterations)
    assert min(cost for _, cost in seen) == pytest.approx(min(result.costs), rel=1e-12)


def test_a_start_out_of_view_fails_and_the_other_rows_go_on():
    outside = TARGET.clone()
    outside[0, 3] = 5.0
    poses = torch.stack([outside, START, TARGET])
    result = levenberg_marquardt(in_rows(Fenced(errors=ERRORS)), move, poses, CONFIG)
    failed, *others = result.terminations
    assert failed is TerminationReason.FAILED and math.isinf(result.costs[0])
    assert torch.equal(result.poses[0], outside)
    assert set(others) == {TerminationReason.CONVERGED} and sorted(result.order) == [1, 2]
    assert distance(result.poses[1], result.poses[2]) < 1e-3


def test_without_any_start_in_view_there_is_an_error():
    outside = TARGET.clone()
    outside[0, 3] = 5.0
    with pytest.raises(SolverError) as error:
        levenberg_marquardt(in_rows(Fenced()), move, outside.expand(2, 4, 4), CONFIG)
    assert error.value.code == ErrorCode.NO_OVERLAP


def test_the_order_is_that_of_costs():
    config = replace(CONFIG, max_iterations=1)
    result = levenberg_marquardt(in_rows(Alignment(errors=ERRORS)), move, starts(), config)
    assert [result.costs[row] for row in result.order] == sorted(result.costs)


def test_any_number_of_unknowns_is_solved_each_body_with_its_own_cap():
    """Three bodies in a row of 18 unknowns; poses [B, 3, 4, 4]."""
    problem = Alignment()

    def linearise(poses, widths):
        each = [in_rows(problem)(poses[:, body], None) for body in range(3)]
        rows = zip(*(part.hessian for part in each), strict=True)
        hessian = torch.stack([torch.block_diag(*parts) for parts in rows])
        gradient = torch.cat([part.gradient for part in each], 1)
        cost = torch.stack([part.cost for part in each]).sum(0)
        return NormalEquations(cost, gradient, hessian, cost.isfinite())

    steps = []

    def moved(poses, xi):
        steps.append(xi)
        return se3.exp(xi.reshape(-1, 3, 6)) @ poses

    poses = starts(6).reshape(2, 3, 4, 4)
    result = levenberg_marquardt(linearise, moved, poses, CONFIG)
    assert torch.allclose(result.poses, TARGET.expand(2, 3, 4, 4), atol=1e-6)
    sizes = torch.cat(steps).reshape(-1, 2, 3).norm(dim=-1)
    assert 0.3 - 1e-9 < float(sizes.max()) < 0.3 + 1e-9
