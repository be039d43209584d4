"""The solver on problems whose answer is known."""

import pytest
import torch

from sph_reg_ros.errors import CancelledError, ErrorCode, SolverError
from sph_reg_ros.geometry import se3
from sph_reg_ros.similarity import ResidualBlock
from sph_reg_ros.solvers import LMConfig, TerminationReason, levenberg_marquardt

TARGET = se3.exp(torch.tensor([0.2, -0.1, 0.3, 0.02, 0.05, -0.04], dtype=torch.float64))
CONFIG = LMConfig(max_iterations=50, max_rotation=1.0, max_translation=1.0, tolerance=1e-12)


def move(pose, step):
    return se3.exp(step) @ pose


def points() -> torch.Tensor:
    return torch.rand(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def point_alignment(pose) -> list[ResidualBlock]:
    """Residuals between points moved by `pose` and by TARGET; exact Jacobian."""
    moved = se3.transform_points(pose, points())
    residual = (moved - se3.transform_points(TARGET, points())).flatten()
    from sph_reg_ros.geometry import so3

    eye = torch.eye(3, dtype=torch.float64).expand(len(moved), 3, 3)
    jacobian = torch.cat([-so3.hat(moved), eye], -1).reshape(-1, 6)
    return [ResidualBlock(residual, jacobian, torch.arange(len(residual)))]


def test_it_finds_the_minimum_from_far_away():
    start = se3.exp(torch.tensor([-1.0, 0.8, 0.5, 1.0, -2.0, 0.5], dtype=torch.float64)) @ TARGET
    result = levenberg_marquardt(point_alignment, move, start, CONFIG)
    assert result.termination == TerminationReason.CONVERGED
    assert torch.allclose(result.pose, TARGET, atol=1e-8)
    assert result.iterations < 25


def test_the_cost_never_rises():
    costs = []
    start = se3.exp(torch.tensor([2.0, 0.0, 0.5, 1.0, 0.0, 0.0], dtype=torch.float64)) @ TARGET
    levenberg_marquardt(point_alignment, move, start, CONFIG, lambda i, cost: costs.append(cost))
    assert costs == sorted(costs, reverse=True) and costs[-1] < costs[0]


def test_steps_stay_below_their_caps():
    poses = []

    def linearise(pose):
        poses.append(pose)
        return point_alignment(pose)

    start = se3.exp(torch.tensor([1.0, 0.0, 0.0, 3.0, 0.0, 0.0], dtype=torch.float64)) @ TARGET
    config = LMConfig(max_iterations=5, max_rotation=0.1, max_translation=0.05)
    levenberg_marquardt(linearise, move, start, config)
    for before, after in zip(poses, poses[1:], strict=False):
        step = se3.log(after @ se3.inverse(before))
        assert float(step[:3].norm()) <= 0.2 and float(step[3:].norm()) <= 0.11


def test_a_direction_without_information_stays_bounded():
    def blind_in_depth(pose):
        (block,) = point_alignment(pose)
        keep = torch.ones(6, dtype=torch.float64)
        keep[5] = 0
        return [ResidualBlock(block.residual, block.jacobian * keep, block.cluster)]

    start = se3.exp(torch.tensor([0.1, 0.0, 0.0, 0.2, 0.0, 0.3], dtype=torch.float64)) @ TARGET
    result = levenberg_marquardt(blind_in_depth, move, start, CONFIG)
    assert torch.isfinite(result.pose).all()
    assert abs(float(result.pose[2, 3] - start[2, 3])) < 1.0


def test_too_few_iterations_are_reported():
    start = se3.exp(torch.tensor([2.0, 0.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)) @ TARGET
    result = levenberg_marquardt(point_alignment, move, start, LMConfig(max_iterations=2))
    assert result.termination == TerminationReason.MAX_ITERATIONS


def test_a_wrong_jacobian_stalls_and_keeps_the_start():
    def uphill(pose):
        (block,) = point_alignment(pose)
        return [ResidualBlock(block.residual, -block.jacobian, block.cluster)]

    start = se3.exp(torch.tensor([0.5, 0.0, 0.0, 0.3, 0.0, 0.0], dtype=torch.float64)) @ TARGET
    config = LMConfig(max_iterations=200, tolerance=0.0, min_promise=0.0)
    result = levenberg_marquardt(uphill, move, start, config)
    assert result.termination == TerminationReason.STALLED
    assert torch.equal(result.pose, start)


def test_a_step_out_of_view_is_refused_and_the_search_goes_on():
    def fenced(pose):
        if float(pose[0, 3]) > 1.1:
            raise SolverError(ErrorCode.NO_OVERLAP, 'out of view')
        return point_alignment(pose)

    start = se3.exp(torch.tensor([0.3, 0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64))
    result = levenberg_marquardt(fenced, move, start, CONFIG)
    assert torch.allclose(result.pose, TARGET, atol=1e-6)


def test_residuals_that_are_not_finite_are_an_error():
    def broken(pose):
        (block,) = point_alignment(pose)
        return [ResidualBlock(block.residual * float('nan'), block.jacobian, block.cluster)]

    with pytest.raises(SolverError) as error:
        levenberg_marquardt(broken, move, TARGET, CONFIG)
    assert error.value.code == ErrorCode.NUMERICAL


def test_the_observer_can_stop_it():
    def stop(iteration, cost):
        raise CancelledError

    with pytest.raises(CancelledError):
        levenberg_marquardt(point_alignment, move, torch.eye(4).double(), CONFIG, stop)
