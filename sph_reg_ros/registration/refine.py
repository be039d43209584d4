"""From rough poses to one: the solver at every resolution, fewer poses at each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.result import RunnerUp
from sph_reg_ros.registration.search import distinct
from sph_reg_ros.registration.solve import Report, Solver
from sph_reg_ros.solvers import LMResult

COARSE_PROMISE, FINE_PROMISE = 1e-4, 3e-5
"""Share of the cost that a step has to promise: a coarse level has to bring the next one near, the
last one has to end at the optimum."""
SURVIVORS = (2, 1)
"""Distinct optima that go on after the first and after the second level."""


@dataclass(frozen=True)
class Refined:
    """The end of the pyramid.

    Attributes:
        best: the solver's result at the last level.
        level: that level, weighted as the result was found.
        similarity: mean of the views there, every pixel counted alike.
        iterations: steps of all poses at all levels.
        runner_up: the second best optimum; None if only one was found.
    """

    best: LMResult
    level: Level
    similarity: float
    iterations: int
    runner_up: RunnerUp | None


def refine(
    levels: Sequence[Level],
    starts: Float64[Tensor, 'n 4 4'],
    config: RegistrationConfig,
    report: Report,
) -> Refined:
    """Run the solver level by level, each from where the coarser one ended.

    Rivals are compared by a similarity that serves from far away. The one that is left is nearly
    right, so that it can tell where the X-ray shows what the CT lacks: there, pixels count less
    from then on.

    Args:
        levels: the pyramid, coarse to fine.
        starts: rough poses of the first camera; at least one.
        config: settings.
        report: called after every step with the level, the steps so far and the cost.

    Raises:
        SolverError: the CT is in view from no start, or the problem is degenerate.
    """
    solve, runner_up, poses = Solver(config, report), None, list(starts)
    for index, level in enumerate(levels):
        last = level is levels[-1]
        rivals = len(poses) > 1
        if rivals or index == 0:
            results = solve.each(level.for_rivals if rivals else level, poses)
            optima = _distinct_optima(results, level.volume)
            runner_up = _runner_up(optima, level) if rivals else None
            kept = 1 if last else SURVIVORS[min(index, len(SURVIVORS) - 1)]
            poses = [optimum.pose for optimum in optima[:kept]]
        if len(poses) == 1:
            if index > 0 or last:
                promise = FINE_PROMISE if last else COARSE_PROMISE
                weighted = level.reweighted(poses[0])
                best = solve(weighted, poses[0], promise)
                poses = [best.pose]
    return Refined(best, weighted, levels[-1].score(best.pose), solve.steps, runner_up)


def _distinct_optima(results: list[LMResult], volume: AttenuationVolume) -> list[LMResult]:
    poses = torch.stack([result.pose for result in results])
    return [results[index] for index in distinct(poses, volume.centre)]


def _runner_up(optima: list[LMResult], level: Level) -> RunnerUp | None:
    if len(optima) < 2:
        return None
    best, second = (1 - result.cost / (2 * len(level.views)) for result in optima[:2])
    apart = mean_distance_mm(optima[0].pose, optima[1].pose, level.volume.corners)
    return RunnerUp(second, best, float(apart))
