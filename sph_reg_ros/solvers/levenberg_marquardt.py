"""Levenberg-Marquardt for rows of poses at once, each with its own damping and its own end."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.similarity.normal_equations import NormalEquations
from sph_reg_ros.similarity.patches import no_overlap
from sph_reg_ros.similarity.rows import by_tensor
from sph_reg_ros.solvers.linear_system import damped_steps, predicted_reduction
from sph_reg_ros.solvers.settings import LMConfig, StoppingRule, TerminationReason
from sph_reg_ros.solvers.stopping import StepSpread

Poses = Float64[Tensor, 'B 4 4']
Linearise = Callable[[Poses, Tensor | None], NormalEquations]
Move = Callable[[Poses, Float64[Tensor, 'B n']], Poses]
Observer = Callable[[int, float], None]
Flags = Bool[Tensor, 'B']


@dataclass(frozen=True)
class LMResult:
    """Where the solver ended, row by row in the order of the starts.

    Attributes:
        poses: the best pose that each row found; they have a graph if the solver was told to be
            differentiable. The start of a row that failed.
        information: half the second derivative of the (robust) cost there, by Gauss and Newton;
            J^T W J without a kernel.
        costs: weighted sums of squared residuals there, without a robust kernel; infinite for a row
            that failed.
        iterations: steps tried by each row.
        terminations: why each row stopped; FAILED if its start is not usable.
    """

    poses: Poses
    information: Float64[Tensor, 'B n n']
    costs: tuple[float, ...]
    iterations: tuple[int, ...]
    terminations: tuple[TerminationReason, ...]

    @property
    def order(self) -> list[int]:
        """Return the rows that did not fail, lowest cost first."""
        usable = [row for row, cost in enumerate(self.costs) if cost < inf]
        return sorted(usable, key=lambda row: self.costs[row])


def levenberg_marquardt(
    linearise: Linearise,
    move: Move,
    initial: Poses,
    config: LMConfig,
    observer: Observer = lambda iteration, cost: None,
) -> LMResult:
    """Minimise the weighted sum of squared residuals, or a robust one, from each of B poses.

    Damping follows the gain ratio (Nielsen 1999; Madsen, Nielsen, Tingleff 2004, algorithm 3.16)
    with Marquardt's scaling by the diagonal. With a robust kernel every step solves reweighted
    least squares, and the gain ratio compares true robust costs, both with the kernel widths of the
    pose that the step starts from. Rows do not influence each other; one that has ended is not
    linearised any more. The host reads once a step.

    Args:
        linearise: the normal equations at poses, of any number of unknowns, given the kernel widths
            of the poses that the steps start from (None at the start and without a kernel). No step
            is taken to where they are not valid.
        move: the poses after steps xi.
        initial: where to start.
        config: settings.
        observer: called after every step with (steps of all rows so far, lowest cost of the rows
            that took it, without the robust kernel); may raise to stop.

    Raises:
        SolverError: no start is usable: NO_OVERLAP if the first one is not in view, NUMERICAL if
            its residuals are not finite or tell nothing about the pose.
    """
    with torch.set_grad_enabled(config.differentiable and torch.is_grad_enabled()):
        return _Search(linearise, move, initial, config).run(observer)


@dataclass(frozen=True)
class _Rows:
    """The rows that go on: best poses, the problem there, the damping of steps and its growth."""

    poses: Poses
    equations: NormalEquations
    damping: Tensor
    growth: Float64[Tensor, 'B 1']


@dataclass(frozen=True)
class _Plan:
    """The next steps, what the model promises of them, and whether none promises enough."""

    steps: Float64[Tensor, 'B n']
    predicted: Float64[Tensor, 'B']
    is_settled: Flags


class _Search:
    def __init__(self, linearise: Linearise, move: Move, initial: Poses, config: LMConfig) -> None:
        self.linearise, self.move, self.config = linearise, move, config
        equations = linearise(initial, None)
        growth = torch.full_like(equations.cost, 2.0)[:, None]
        damping = torch.as_tensor(config.initial_damping).to(growth).reshape(1, -1)
        self.rows = _Rows(initial, equations, damping.expand(len(growth), -1), growth)
        self.caps = growth.new_tensor([config.max_rotation, config.max_translation])
        self.plan = self._planned()
        self.spread = StepSpread(config.min_step_spread, config.step_units)
        self.numbers = list(range(len(initial)))
        self.ends: dict[int, tuple[Tensor, Tensor, float, int, TerminationReason]] = {}

    def run(self, observer: Observer) -> LMResult:
        start, tried, iteration = self.rows.equations, 0, 0
        self._retire(iteration, [(TerminationReason.FAILED, ~_is_usable(start))])
        if not self.numbers and all(end[-1] is TerminationReason.FAILED for end in self._in_order):
            raise _failure(start)
        while self.numbers:
            iteration, tried = iteration + 1, tried + len(self.numbers)
            ends = self._try()
            self.plan = self._planned()
            observer(tried, min(self._retire(iteration, ends)))
        poses, information, costs, iterations, reasons = zip(*self._in_order, strict=True)
        return LMResult(torch.stack(poses), torch.stack(information), costs, iterations, reasons)

    @property
    def _in_order(self) -> list[tuple[Tensor, Tensor, float, int, TerminationReason]]:
        return [self.ends[number] for number in sorted(self.ends)]

    def _planned(self) -> _Plan:
        equations, damping = self.rows.equations, self.rows.damping
        H, g, config = equations.hessian, equations.gradient, self.config
        free, undamped = damped_steps(H, g, torch.stack([damping, torch.zeros_like(damping)]))
        steps = _capped(free, self.caps)
        predicted, most = predicted_reduction(H, g, torch.stack([steps, undamped]))
        least = equations.cost * config.min_predicted_reduction
        if config.stopping_rule is not StoppingRule.PREDICTED_REDUCTION:
            least = torch.full_like(least, -inf)
        return _Plan(steps, predicted, most <= least)

    def _try(self) -> list[tuple[TerminationReason, Flags]]:
        """Go to where steps lead if the cost falls enough, and adapt the damping of each row."""
        rows, steps, predicted = self.rows, self.plan.steps, self.plan.predicted
        poses = self.move(rows.poses, steps)
        robust = rows.equations.robust
        there = self.linearise(poses, None if robust is None else robust.widths)
        gain = ((rows.equations.cost - there.compared_cost) / predicted).clamp(min=0)
        accepted = (predicted > 0) & (gain > self.config.min_gain) & _is_usable(there)
        shrunk = rows.damping * (1 - (2 * gain - 1) ** 3).clamp(min=1 / 3)[:, None]
        moved = _Rows(poses, there, shrunk, torch.full_like(rows.growth, 2.0))
        stayed = replace(rows, damping=rows.damping * rows.growth, growth=rows.growth * 2)
        self.rows = by_tensor(partial(_chosen, accepted), moved, stayed)
        tiny = steps.detach().abs().amax(-1) < self.config.tolerance
        converged = tiny & (predicted > 0) & ~accepted
        if self.config.stopping_rule is StoppingRule.STEP_SPREAD:
            self.spread.add(steps.detach(), accepted)
            converged = converged | self.spread.is_small()
        stalled = self.rows.damping.detach().amax(-1) > self.config.max_damping
        return [(TerminationReason.CONVERGED, converged), (TerminationReason.STALLED, stalled)]

    def _retire(self, iteration: int, ends: list[tuple[TerminationReason, Flags]]) -> list[float]:
        """Note what became of rows that have ended, and go on without; return the costs of all.

        Args:
            iteration: steps that the rows have tried.
            ends: reasons to end, the first one counts.
        """
        is_last, rows = iteration >= self.config.max_iterations, self.rows
        if not is_last:
            ends = [*ends, (TerminationReason.CONVERGED, self.plan.is_settled)]
        figures = torch.stack([rows.equations.plain_cost.detach(), *(flags for _, flags in ends)])
        costs, *flags = figures.tolist()
        kept = []
        for row, number in enumerate(self.numbers):
            reasons = [ends[k][0] for k, of_rows in enumerate(flags) if of_rows[row]]
            if not reasons and not is_last:
                kept.append(row)
                continue
            reason = next(iter(reasons), TerminationReason.MAX_ITERATIONS)
            cost = inf if reason is TerminationReason.FAILED else costs[row]
            information = rows.equations.information[row]
            self.ends[number] = (rows.poses[row], information, cost, iteration, reason)
        if 0 < len(kept) < len(self.numbers):
            index = torch.tensor(kept, device=figures.device)
            self.rows, self.plan = (by_tensor(lambda t: t[index], p) for p in (rows, self.plan))
            self.spread.keep(index)
        self.numbers = [self.numbers[row] for row in kept]
        return costs


def _chosen(mask: Flags, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _is_usable(equations: NormalEquations) -> Flags:
    """Return where something is in view and tells something about the pose."""
    trace = equations.hessian.detach().diagonal(dim1=-2, dim2=-1).sum(-1)
    return equations.valid & (trace > 0)


def _failure(equations: NormalEquations) -> SolverError:
    if bool(equations.valid[0]):
        return SolverError(
            ErrorCode.NUMERICAL, 'the residuals tell nothing about the pose: J^T W J is zero'
        )
    if bool(equations.cost[0].isnan()):
        return SolverError(ErrorCode.NUMERICAL, 'the residuals or their derivatives are not finite')
    return no_overlap()


def _capped(steps: Float64[Tensor, 'B n'], caps: Float64[Tensor, '2']) -> Float64[Tensor, 'B n']:
    """Shorten steps to the caps of each body's rotation and translation."""
    bodies = steps[:, : steps.shape[1] // 6 * 6].reshape(len(steps), -1, 2, 3).norm(dim=-1)
    # One factor for all unknowns of a row keeps the direction of descent.
    return steps / (bodies / caps).amax((1, 2)).clamp(min=1)[:, None]
