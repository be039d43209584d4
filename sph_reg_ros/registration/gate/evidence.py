"""What the checks look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, nan

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import SolverError
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.covariance import pose_covariance, views_alike
from sph_reg_ros.registration.gate.seen import Seen, seen_of
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.level import COARSE_SIMILARITY, Level
from sph_reg_ros.registration.refine import Refined
from sph_reg_ros.registration.solve import Solver, robust_of
from sph_reg_ros.similarity import NormalEquations, sum_of
from sph_reg_ros.similarity.patches import no_overlap
from sph_reg_ros.solvers import TerminationReason

COARSE_PX, MIDDLE_PX = 64, 128
"""Heights at which poses are sought once more: enough for millimetres, far cheaper than the last
level."""
FAR = 1e3
"""Distance (mm) that stands for: nowhere."""
OTHER = 'gradient_ncc'
"""Similarity that was not optimised where the one that rivals are compared by was."""


@dataclass(frozen=True, eq=False)
class Sought:
    """Where the solver led to from several starts.

    Attributes:
        poses: of the first camera; the starts of those that see nothing.
        costs: there; infinite for those.
        distances_mm: mean distances of the targets from where the judged pose has them; FAR alike.
    """

    poses: Float64[Tensor, 'B 4 4']
    costs: Sequence[float]
    distances_mm: Sequence[float]

    def rows_beyond(self, distance_mm: float) -> list[int]:
        """Return the rows that lead farther away than a distance, without those in no view."""
        pairs = enumerate(zip(self.costs, self.distances_mm, strict=True))
        return [row for row, (cost, mm) in pairs if cost < inf and mm > distance_mm]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A pose, the X-rays, and what the solver said of it.

    Attributes:
        levels: the pyramid of the registration, coarse to fine, without a prior.
        finest: the last one, weighted as the pose was found.
        pose: of the first camera (mm), to be judged.
        initial: pose that the registration started from, None if networks gave it.
        termination: why the solver stopped.
        views: normal equations of each view at the pose, with gradients of patches, without a
            prior: one that counted as evidence would confirm itself.
        config: settings of the registration.
        target_points: points of the target that is named, CT coordinates (mm); None: the whole
            region.
    """

    levels: Sequence[Level]
    finest: Level
    pose: Float64[Tensor, '4 4']
    initial: Float64[Tensor, '4 4'] | None
    termination: TerminationReason
    views: Sequence[NormalEquations]
    config: RegistrationConfig
    target_points: Float64[Tensor, 'n 3'] | None = None

    @classmethod
    def of_result(
        cls,
        levels: Sequence[Level],
        refined: Refined,
        initial: Float64[Tensor, '4 4'] | None,
        config: RegistrationConfig,
        target_points: Float64[Tensor, 'n 3'] | None = None,
    ) -> 'Evidence':
        """Take over where the solver ended at the last level; raises SolverError NO_OVERLAP."""
        finest, pose = refined.level.without_prior, refined.pose
        views = finest.of_views(pose[None], robust_of(config), patches=True, seen=True)
        if not all(bool(view.valid) for view in views):
            raise no_overlap()
        levels = [level.without_prior for level in levels]
        return cls(levels, finest, pose, initial, refined.termination, views, config, target_points)

    @classmethod
    def of_pose(
        cls,
        levels: Sequence[Level],
        pose: Float64[Tensor, '4 4'],
        initial: Float64[Tensor, '4 4'] | None,
        config: RegistrationConfig,
    ) -> 'Evidence':
        """Judge any pose as if the solver had converged there; raises SolverError NO_OVERLAP."""
        weighted = levels[-1].without_prior.reweighted(pose)
        ended = Refined(pose, TerminationReason.CONVERGED, weighted, nan)
        return cls.of_result(levels, ended, initial, config)

    @cached_property
    def finest_held_out(self) -> Level:
        """Return the last level, with the similarity that was not optimised."""
        return self._held_out(self.levels[-1])

    @cached_property
    def coarse(self) -> Level:
        """Return the level of about COARSE_PX, with the similarity that was not optimised."""
        return self._near(COARSE_PX)

    @cached_property
    def middle(self) -> Level:
        """Return the level of about MIDDLE_PX, with the similarity that was not optimised."""
        return self._near(MIDDLE_PX)

    @cached_property
    def middle_optimised(self) -> Level:
        """Return the level of about MIDDLE_PX, weighted as the pose was found."""
        return self.nearest(MIDDLE_PX).reweighted(self.pose)

    @cached_property
    def coarsest(self) -> Level:
        """Return the first level, with the similarity that was not optimised."""
        return self._held_out(self.levels[0])

    def _near(self, height: int) -> Level:
        return self._held_out(self.nearest(height))

    def nearest(self, height: int) -> Level:
        """Return the level of about a height, with the similarity that was optimised."""
        return min(self.levels, key=lambda level: abs(level.height - height))

    def _held_out(self, level: Level) -> Level:
        if self.config.similarity == COARSE_SIMILARITY:
            return level.with_similarity(OTHER)
        return level.coarse_similarity

    @cached_property
    def targets(self) -> Float64[Tensor, 'n 3']:
        """Return the points whose errors count, CT coordinates (mm)."""
        if self.target_points is not None:
            return self.target_points
        return target_points(self.finest.volume)

    @cached_property
    def seen(self) -> Seen:
        """Return how much of the CT the X-rays show, and where."""
        return seen_of(self.finest, self.pose)

    @cached_property
    def covariance(self) -> Float64[Tensor, '6 6']:
        """Return that of the pose (`covariance.pose_covariance`)."""
        return pose_covariance(self.views, views_alike(self.finest.camera_from_first))

    @cached_property
    def errors(self) -> TargetErrors:
        """Return what errors of the pose mean at the targets."""
        level = self.finest
        return TargetErrors.seen_by(
            level.views, self.pose, self.covariance, level.volume.centre, self.targets
        )

    def sought(
        self, level: Level, starts: Float64[Tensor, 'B 4 4'], min_reduction: float, steps: int
    ) -> Sought:
        """Return where the solver leads from starts.

        Args:
            level: where to compare.
            starts: poses of the first camera.
            min_reduction: share of the cost that a step has to be predicted to save.
            steps: most steps.
        """
        try:
            found = Solver(self.config)(level, starts, min_reduction, steps)
        except SolverError:
            return Sought(starts, (inf,) * len(starts), [FAR] * len(starts))
        distances = mean_distance_mm(found.poses, self.pose, self.targets).tolist()
        pairs = zip(found.costs, distances, strict=True)
        return Sought(found.poses, found.costs, [mm if cost < inf else FAR for cost, mm in pairs])

    @cached_property
    def remaining_step(self) -> Float64[Tensor, '4 4']:
        """Return the pose that one more Gauss-Newton step would lead to."""
        return self.step_by(self.views)

    def step_by(self, views: Sequence[NormalEquations]) -> Float64[Tensor, '4 4']:
        """Return the pose that a Gauss-Newton step by some views leads to."""
        step = gauss_newton_step(sum_of(views))
        return self.finest.move(self.pose[None], step[None])[0]


def gauss_newton_step(equations: NormalEquations) -> Float64[Tensor, 'n']:
    """Return the step to the minimum of the linear model of a pose.

    NaN where nothing is in view: that passes no check.
    """
    if not equations.valid:
        return torch.full_like(equations.gradient[0], nan)
    return least_squares_step(equations.hessian[0], equations.gradient[0])


def least_squares_step(
    hessian: Float64[Tensor, 'n n'], gradient: Float64[Tensor, 'n']
) -> Float64[Tensor, 'n']:
    """Return the step that makes a gradient vanish, the shortest if there are several."""
    return -torch.linalg.lstsq(hessian, gradient[:, None], driver='gelsd').solution[:, 0]
