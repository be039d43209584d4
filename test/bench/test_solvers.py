from dataclasses import dataclass, field

import pytest
import torch
from _solvers import FIRST_RATES, first_reached, padded, tuned
from _traces import OPTIMISERS, descent_trace, lm_trace, slopes
from torch import Tensor

from sph_reg_ros.geometry import se3
from sph_reg_ros.similarity import NormalEquations, ResidualBlock, of_blocks
from sph_reg_ros.similarity.spherical import SCALE

START = se3.exp(torch.tensor([0.05, -0.04, 0.03, 20.0, -15.0, 10.0]).double())


@dataclass(frozen=True)
class Bowl:
    """A level whose residual is SCALE times the shift of a pose, best at the identity."""

    edge_mm: float = 1e9
    render_cache: list[Tensor] = field(default_factory=list)

    def linearise(self, poses: Tensor, robust=None, *, seen=False) -> NormalEquations:
        return of_blocks([self._block(se3.log(pose)) for pose in poses], 6)

    def _block(self, apart: Tensor) -> ResidualBlock | None:
        if float(apart[3:].norm()) > self.edge_mm:
            return None
        length = torch.tensor([1.0] * 3 + [se3.TWIST_LENGTH_MM] * 3).double()
        residual = SCALE * apart / length
        jacobian = SCALE * torch.eye(6, dtype=torch.float64)
        return ResidualBlock(residual, jacobian, torch.zeros(6, dtype=torch.long))

    def move(self, poses: Tensor, xi: Tensor) -> Tensor:
        twist = torch.cat([xi[:, :3], xi[:, 3:] * se3.TWIST_LENGTH_MM], -1)
        return se3.exp(twist) @ poses


def error_mm(pose: Tensor) -> float:
    return float((pose - torch.eye(4, dtype=torch.float64)).norm())


def test_the_slope_is_that_of_half_the_squared_learned_distance():
    xi = torch.tensor([0.1, -0.2, 0.3, 0.05, 0.0, -0.1]).double().requires_grad_()
    J = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    residual = SCALE * (J @ xi)
    (expected,) = torch.autograd.grad((residual / SCALE).square().sum() / 2, xi)
    block = ResidualBlock(residual.detach(), SCALE * J, torch.zeros(8, dtype=torch.long))
    torch.testing.assert_close(slopes(of_blocks([block], 6))[0], expected)


@pytest.mark.parametrize('name', OPTIMISERS)
def test_descent_notes_every_step_and_comes_nearer(name):
    trace = descent_trace(name, Bowl(), START, 0.01, 60)
    assert len(trace.poses) == len(trace.seconds) == 61
    assert torch.equal(trace.poses[0], START)
    assert error_mm(trace.poses[-1]) < 0.5 * error_mm(START)
    assert trace.seconds == sorted(trace.seconds)


def test_momentum_goes_on_from_step_to_step():
    trace = descent_trace('SGD', Bowl(), START, 1e-3, 2)
    steps = [
        se3.log(after @ se3.inverse(before)).norm()
        for before, after in zip(trace.poses, trace.poses[1:], strict=False)
    ]
    assert float(steps[1] / steps[0]) == pytest.approx(1.9, rel=0.02)


def test_descent_that_loses_sight_of_the_ct_keeps_its_last_pose():
    trace = descent_trace('SGD', Bowl(edge_mm=40.0), START, 5.0, 10)
    assert trace.remark == 'NO_OVERLAP'
    assert 1 < len(trace.poses) < 11


def test_lm_is_noted_from_its_start_to_its_end():
    trace = lm_trace(Bowl(), START)
    assert torch.equal(trace.poses[0], START)
    assert error_mm(trace.poses[-1]) < 0.01
    assert len(trace.poses) == len(trace.seconds) <= 31


def test_lm_that_sees_nothing_stays_at_its_start():
    trace = lm_trace(Bowl(edge_mm=1.0), START)
    assert trace.remark == 'NO_OVERLAP'
    assert len(trace.poses) == 1


@pytest.mark.parametrize('best', [0.002, 0.04, 0.9])
def test_the_best_rate_is_found_beyond_the_first_ones(best):
    rate, tried = tuned(lambda rate: abs(torch.tensor(rate / best).log().item()), FIRST_RATES)
    assert best / 2 < rate < best * 2
    assert list(tried) == sorted(tried)


def test_the_search_for_a_rate_ends():
    rate, tried = tuned(lambda rate: -rate, FIRST_RATES)
    assert rate == max(tried)
    assert len(tried) == 6


def test_the_goal_is_reached_at_the_first_error_that_is_no_larger():
    assert first_reached([5.0, 3.0, 2.0, 1.0], 2.0) == 2
    assert first_reached([5.0, 3.0], 2.0) is None


def test_a_solver_that_has_stopped_keeps_its_error():
    assert padded([3.0, 2.0], 4) == [3.0, 2.0, 2.0, 2.0]
    assert padded([3.0, 2.0, 1.0], 2) == [3.0, 2.0]
