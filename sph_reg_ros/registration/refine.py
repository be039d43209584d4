"""From rough poses to one: the solver at every resolution, fewer poses at each."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.result import RunnerUp
from sph_reg_ros.registration.search import distinct
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.solvers import TerminationReason

COARSE_REDUCTION, FINE_REDUCTION = 1e-4, 3e-5
"""Share of the cost that a step has to be predicted to save: a coarse level has to bring the next
one near, the last one has to end at the optimum."""
SURVIVORS = (2, 1)
"""Distinct optima that go on after the first and after the second level."""


@dataclass(frozen=True)
class Rough:
    """The best of several poses.

    Attributes:
        pose: of the first camera.
        finer: the levels that are left for it, coarse to fine.
        runner_up: the second best optimum; None if only one was found.
    """

    pose: Float64[Tensor, '4 4']
    finer: Sequence[Level]
    runner_up: RunnerUp | None


@dataclass(frozen=True)
class Refined:
    """The end of the pyramid.

    Attributes:
        pose: of the first camera, where the solver ended at the last level.
        termination: why it stopped there.
        level: that level, weighted as the result was found.
        similarity: mean of the views there, every pixel counted alike.
    """

    pose: Float64[Tensor, '4 4']
    termination: TerminationReason
    level: Level
    similarity: float


def solve(levels: Sequence[Level], starts: Float64[Tensor, 'n 4 4'], solver: Solver) -> Rough:
    """Run the solver from all starts, level by level, until one is left.

    Rivals are compared by a similarity that serves from far away.

    Args:
        levels: the pyramid, coarse to fine.
        starts: rough poses of the first camera; at least one.
        solver: of the registration.

    Raises:
        SolverError: the CT is in view from no start, or the problem is degenerate.
    """
    poses, runner_up = starts, None
    for index, level in enumerate(levels):
        ends = solver.scout(level, poses)
        found = [ends.order[row] for row in distinct(ends.poses[ends.order], level.volume.centre)]
        if len(poses) > 1:
            runner_up = _runner_up(level, ends.poses[found], [ends.costs[row] for row in found])
        poses = ends.poses[found[: SURVIVORS[min(index, len(SURVIVORS) - 1)]]]
        if len(poses) == 1:
            break
    return Rough(poses[0], levels[max(index, 1) :] or levels[-1:], runner_up)


def polish(levels: Sequence[Level], pose: Float64[Tensor, '4 4'], solver: Solver) -> Refined:
    """Run the solver from one pose, level by level, each from where the coarser one ended.

    The pose is nearly right, so that it can tell where the X-ray shows what the CT lacks: there,
    pixels count less.

    Args:
        levels: at least one, coarse to fine.
        pose: of the first camera.
        solver: of the registration.

    Raises:
        SolverError: the CT is not in view, or the problem is degenerate.
    """
    for level in levels:
        weighted = level.reweighted(pose)
        least = FINE_REDUCTION if level is levels[-1] else COARSE_REDUCTION
        end = solver(weighted, pose[None], least)
        pose = end.poses[0]
    return Refined(pose, end.terminations[0], weighted, levels[-1].score(pose))


def _runner_up(
    level: Level, poses: Float64[Tensor, 'n 4 4'], costs: Sequence[float]
) -> RunnerUp | None:
    if len(costs) < 2:
        return None
    best, second = (1 - cost / (2 * len(level.views)) for cost in costs[:2])
    apart = mean_distance_mm(poses[0], poses[1], level.volume.corners)
    return RunnerUp(second, best, float(apart))
