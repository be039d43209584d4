"""Levenberg-Marquardt over stacked residual blocks, on a pose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.similarity import ResidualBlock

Pose = Float64[Tensor, '4 4']


class TerminationReason(IntEnum):
    """Why the solver stopped; the numbers are those of msg/RegistrationResult.msg."""

    NOT_RUN = 0
    CONVERGED = 1
    MAX_ITERATIONS = 2
    STALLED = 3
    FAILED = 4


@dataclass(frozen=True)
class LMConfig:
    """Settings of the solver; rotations in rad, translations in units of the twist length.

    Attributes:
        max_iterations: steps tried, accepted or not.
        max_rotation: cap of a step's rotation.
        max_translation: cap of a step's translation.
        min_promise: converged when the undamped Gauss-Newton step promises to lower the cost by a
            smaller share. For n independent residuals, a share of p is sqrt(n p) standard
            deviations of the pose.
        tolerance: a refused step below this also means convergence: the cost's own rounding
            decides there.
        initial_damping: relative to the diagonal of the normal matrix.
        max_damping: stalled above.
        min_gain: a step is accepted if the cost falls by this share of what the model promised.
    """

    max_iterations: int = 30
    max_rotation: float = 0.175
    max_translation: float = 0.06
    min_promise: float = 1e-8
    tolerance: float = 1e-6
    initial_damping: float = 1e-4
    max_damping: float = 1e8
    min_gain: float = 1e-3


@dataclass(frozen=True)
class LMResult:
    """Where the solver ended.

    Attributes:
        pose: the best pose found.
        blocks: residuals and Jacobian there.
        cost: sum of squared residuals there.
        iterations: steps tried.
        termination: why it stopped.
    """

    pose: Pose
    blocks: Sequence[ResidualBlock]
    cost: float
    iterations: int
    termination: TerminationReason


def levenberg_marquardt(
    linearise: Callable[[Pose], Sequence[ResidualBlock]],
    move: Callable[[Pose, Float64[Tensor, '6']], Pose],
    initial: Pose,
    config: LMConfig,
    observer: Callable[[int, float], None] = lambda iteration, cost: None,
) -> LMResult:
    """Minimise the sum of squared residuals over a pose.

    Damping follows the gain ratio (Nielsen 1999; Madsen, Nielsen, Tingleff 2004, algorithm 3.16)
    with Marquardt's scaling by the diagonal, floored so that weak directions stay bounded.

    Args:
        linearise: residuals and their Jacobian at a pose.
        move: the pose after a step xi.
        initial: where to start.
        config: settings.
        observer: called with (iteration, cost) after every step; may raise to stop.

    Raises:
        SolverError: NUMERICAL if the residuals at the start are not finite; whatever `linearise`
            raises there.
    """
    pose, blocks = initial, linearise(initial)
    cost = _cost(blocks)
    if not torch.isfinite(torch.tensor(cost)):
        raise SolverError(ErrorCode.NUMERICAL, 'the residuals at the initial pose are not finite')
    damping, growth = config.initial_damping, 2.0
    for iteration in range(1, config.max_iterations + 1):
        A, g = normal_equations(blocks)
        if _promise(A, g, _damped_step(A, g, 0.0)) <= config.min_promise * cost:
            return LMResult(pose, blocks, cost, iteration - 1, TerminationReason.CONVERGED)
        step = _limited(_damped_step(A, g, damping), config)
        trial, trial_blocks, trial_cost = _try(linearise, move(pose, step))
        promise = _promise(A, g, step)
        gain = (cost - trial_cost) / promise if promise > 0 else -1.0
        accepted = gain > config.min_gain
        if accepted:
            pose, blocks, cost = trial, trial_blocks, trial_cost
            damping *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
            growth = 2.0
        else:
            damping, growth = damping * growth, growth * 2
        observer(iteration, cost)
        if not accepted and bool(step.abs().max() < config.tolerance):
            return LMResult(pose, blocks, cost, iteration, TerminationReason.CONVERGED)
        if damping > config.max_damping:
            return LMResult(pose, blocks, cost, iteration, TerminationReason.STALLED)
    return LMResult(pose, blocks, cost, config.max_iterations, TerminationReason.MAX_ITERATIONS)


def normal_equations(
    blocks: Sequence[ResidualBlock],
) -> tuple[Float64[Tensor, '6 6'], Float64[Tensor, '6']]:
    """Return J^T J and J^T r, summed over the blocks."""
    A = torch.stack([block.jacobian.T @ block.jacobian for block in blocks]).sum(0)
    g = torch.stack([block.jacobian.T @ block.residual for block in blocks]).sum(0)
    return A, g


def _promise(A: Tensor, g: Tensor, step: Tensor) -> float:
    """Return by how much the linear model says that the cost falls."""
    return -float(step @ (2 * g + A @ step))


def _damped_step(A: Tensor, g: Tensor, damping: float) -> Tensor:
    floor = 1e-6 * A.diagonal().sum() / len(A)
    damped = A + damping * torch.diag(A.diagonal() + floor)
    step = -torch.linalg.lstsq(damped, g[:, None], driver='gelsd').solution[:, 0]
    if not torch.isfinite(step).all():
        raise SolverError(ErrorCode.NUMERICAL, 'the normal equations have no finite solution')
    return step


def _limited(step: Tensor, config: LMConfig) -> Tensor:
    # One factor for all six keeps the direction of descent.
    rotation = config.max_rotation / max(float(step[:3].norm()), config.max_rotation)
    translation = config.max_translation / max(float(step[3:].norm()), config.max_translation)
    return step * min(rotation, translation)


def _try(
    linearise: Callable[[Pose], Sequence[ResidualBlock]], pose: Pose
) -> tuple[Pose, Sequence[ResidualBlock], float]:
    try:
        blocks = linearise(pose)
    except SolverError:
        # The step left the field of view: as bad as a step can be, so it is refused.
        return pose, (), float('inf')
    return pose, blocks, _cost(blocks)


def _cost(blocks: Sequence[ResidualBlock]) -> float:
    return float(sum(block.residual.square().sum() for block in blocks))
