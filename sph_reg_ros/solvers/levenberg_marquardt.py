"""Levenberg-Marquardt over stacked residual blocks, on a pose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import SolverError
from sph_reg_ros.similarity.residual import ResidualBlock
from sph_reg_ros.solvers.linearisation import Linearise, Point, Pose, cost_of
from sph_reg_ros.solvers.normal_equations import damped_step, promise
from sph_reg_ros.solvers.settings import LMConfig, StoppingRule, TerminationReason
from sph_reg_ros.solvers.stopping import StepSpread

Move = Callable[[Pose, Float64[Tensor, '6']], Pose]
Observer = Callable[[int, float], None]


@dataclass(frozen=True)
class LMResult:
    """Where the solver ended.

    Attributes:
        pose: the best pose found; has a graph if the solver was told to be differentiable.
        blocks: residuals and Jacobian there; weights include those of the robust kernel.
        cost: weighted sum of squared residuals there, without the robust kernel.
        iterations: steps tried.
        termination: why it stopped.
        information: half the second derivative [6, 6] of the (robust) cost there, by Gauss and
            Newton; J^T W J without a kernel.
    """

    pose: Pose
    blocks: Sequence[ResidualBlock]
    cost: float
    iterations: int
    termination: TerminationReason
    information: Float64[Tensor, '6 6']


def levenberg_marquardt(
    linearise: Linearise,
    move: Move,
    initial: Pose,
    config: LMConfig,
    observer: Observer = lambda iteration, cost: None,
) -> LMResult:
    """Minimise the weighted sum of squared residuals, or a robust one, over a pose.

    Damping follows the gain ratio (Nielsen 1999; Madsen, Nielsen, Tingleff 2004, algorithm 3.16)
    with Marquardt's scaling by the diagonal. With a robust kernel every step solves reweighted
    least squares, and the gain ratio compares true robust costs, both with the kernel widths of the
    pose that the step starts from.

    Args:
        linearise: residuals and their Jacobian at a pose.
        move: the pose after a step xi.
        initial: where to start.
        config: settings.
        observer: called after every step with (iteration, cost without the robust kernel); may
            raise to stop.

    Raises:
        SolverError: NUMERICAL if the residuals at the start are not finite or tell nothing about
            the pose; whatever `linearise` raises there.
    """
    with torch.set_grad_enabled(config.differentiable and torch.is_grad_enabled()):
        return _Search(linearise, move, initial, config).run(observer)


class _Search:
    def __init__(self, linearise: Linearise, move: Move, initial: Pose, config: LMConfig) -> None:
        self.linearise, self.move, self.config = linearise, move, config
        self.here = Point.at(initial, linearise, config.kernel)
        self.damping, self.growth = config.initial_damping, 2.0
        self.spread = StepSpread(config.min_step_spread, config.step_units)

    def run(self, observer: Observer) -> LMResult:
        for iteration in range(1, self.config.max_iterations + 1):
            free = damped_step(self.here.A, self.here.g, self.damping)
            if self._promises_nothing(free):
                return self._end(iteration - 1, TerminationReason.CONVERGED)
            step = _capped(free, self.config)
            accepted = self._try(step)
            observer(iteration, self.here.plain_cost)
            reason = self._reason_to_stop(step.detach(), accepted)
            if reason is not None:
                return self._end(iteration, reason)
        return self._end(self.config.max_iterations, TerminationReason.MAX_ITERATIONS)

    def _try(self, step: Tensor) -> bool:
        """Go to where the step leads if the cost falls enough there, and adapt the damping."""
        here = self.here
        there, cost = self._look(self.move(here.pose, step))
        promised = promise(here.A, here.g, step)
        gain = (here.cost - cost) / promised
        if there is None or not (promised.item() > 0 and gain.item() > self.config.min_gain):
            self.damping, self.growth = self.damping * self.growth, self.growth * 2
            return False
        self.here, self.growth = there, 2.0
        self.damping = self.damping * (1 - (2 * gain - 1) ** 3).clamp(min=1 / 3)
        self.spread.add(step)
        return True

    def _look(self, pose: Pose) -> tuple[Point | None, Tensor]:
        """Return the point and its cost by the kernel widths that hold here."""
        try:
            there = Point.at(pose, self.linearise, self.config.kernel)
        except SolverError:
            # The step left the field of view: as bad as a step can be, so it is refused.
            return None, self.here.cost
        return there, cost_of(there.blocks, self.config.kernel, self.here.widths)

    def _promises_nothing(self, step: Tensor) -> bool:
        if self.config.stopping_rule is not StoppingRule.PROMISE:
            return False
        A, g, step = (value.detach() for value in (self.here.A, self.here.g, step))
        least = self.config.min_promise * self.here.cost.detach()
        # The undamped step promises more than any other: mostly there is no need to ask for it.
        return bool(promise(A, g, step) <= least and promise(A, g, damped_step(A, g, 0.0)) <= least)

    def _reason_to_stop(self, step: Tensor, accepted: bool) -> TerminationReason | None:
        if not accepted and bool(step.abs().max() < self.config.tolerance):
            return TerminationReason.CONVERGED
        if self.config.stopping_rule is StoppingRule.STEP_SPREAD and self.spread.is_small():
            return TerminationReason.CONVERGED
        if float(torch.as_tensor(self.damping).detach().max()) > self.config.max_damping:
            return TerminationReason.STALLED
        return None

    def _end(self, iterations: int, reason: TerminationReason) -> LMResult:
        point = self.here
        blocks, information = point.weighted_blocks(), point.information()
        return LMResult(point.pose, blocks, point.plain_cost, iterations, reason, information)


def _capped(step: Float64[Tensor, '6'], config: LMConfig) -> Float64[Tensor, '6']:
    # One factor for all six keeps the direction of descent.
    over_rotation = step[:3].norm() / config.max_rotation
    over_translation = step[3:].norm() / config.max_translation
    over = torch.maximum(over_rotation, over_translation)
    return step / over if over.item() > 1 else step
