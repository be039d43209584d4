"""What the checks look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import SolverError
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.covariance import pose_covariance, views_alike
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.level import RIVALS_SIMILARITY, Level
from sph_reg_ros.registration.refine import Refined
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.similarity import ResidualBlock
from sph_reg_ros.solvers import LMResult, RobustKernel, TerminationReason, normal_equations
from sph_reg_ros.solvers.linearisation import Point

COARSE_PX, MIDDLE_PX = 64, 128
"""Heights at which poses are sought once more: enough for millimetres, far cheaper than the last
level."""
OTHER = 'gradient_ncc'
"""Similarity that was not optimised where the one that rivals are compared by was."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """A pose, the X-rays, and what the solver said of it.

    Attributes:
        levels: the pyramid of the registration, coarse to fine, without a prior.
        finest: the last one, weighted as the pose was found.
        pose: of the first camera (mm), to be judged.
        initial: pose that the registration started from, None if networks gave it.
        termination: why the solver stopped.
        blocks: residuals of each view at the pose, as they were optimised.
        information: half the second derivative of their cost.
        config: settings of the registration.
    """

    levels: Sequence[Level]
    finest: Level
    pose: Float64[Tensor, '4 4']
    initial: Float64[Tensor, '4 4'] | None
    termination: TerminationReason
    blocks: Sequence[ResidualBlock]
    information: Float64[Tensor, '6 6']
    config: RegistrationConfig

    @classmethod
    def of_result(
        cls,
        levels: Sequence[Level],
        refined: Refined,
        initial: Float64[Tensor, '4 4'] | None,
        config: RegistrationConfig,
    ) -> 'Evidence':
        """Take over where the solver ended at the last level, but for a prior.

        A prior that counted as evidence would confirm itself.
        """
        result, finest = refined.best, refined.level.without_prior
        blocks, information = result.blocks, result.information
        if finest is not refined.level:
            kernel = RobustKernel(config.robust_kernel)
            at_pose = Point.at(result.pose, finest.linearise, kernel)
            blocks, information = at_pose.weighted_blocks(), at_pose.information()
        return cls(
            [level.without_prior for level in levels],
            finest,
            result.pose,
            initial,
            result.termination,
            blocks,
            information,
            config,
        )

    @classmethod
    def of_pose(
        cls,
        levels: Sequence[Level],
        pose: Float64[Tensor, '4 4'],
        initial: Float64[Tensor, '4 4'] | None,
        config: RegistrationConfig,
    ) -> 'Evidence':
        """Judge any pose as if the solver had converged there; raises SolverError NO_OVERLAP."""
        levels = [level.without_prior for level in levels]
        finest = levels[-1].reweighted(pose)
        blocks = finest.linearise(pose)
        information, reason = normal_equations(blocks)[0], TerminationReason.CONVERGED
        return cls(levels, finest, pose, initial, reason, blocks, information, config)

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
    def coarsest(self) -> Level:
        """Return the first level, with the similarity that was not optimised."""
        return self._held_out(self.levels[0])

    def _near(self, height: int) -> Level:
        return self._held_out(min(self.levels, key=lambda level: abs(level.height - height)))

    def _held_out(self, level: Level) -> Level:
        return level.for_rivals if self.config.similarity != RIVALS_SIMILARITY else level.by(OTHER)

    @cached_property
    def targets(self) -> Float64[Tensor, '14 3']:
        """Return the points whose errors count, CT coordinates (mm)."""
        return target_points(self.finest.volume)

    @cached_property
    def covariance(self) -> Float64[Tensor, '6 6']:
        """Return that of the pose (`covariance.pose_covariance`)."""
        repeats = views_alike(self.finest.camera_from_first)
        return pose_covariance(self.blocks, self.information, repeats)

    def sought(
        self, level: Level, start: Float64[Tensor, '4 4'], promise: float, steps: int
    ) -> LMResult | None:
        """Return where the solver leads from a start; None where nothing is in view.

        Args:
            level: where to compare.
            start: pose of the first camera.
            promise: share of the cost that a step has to promise.
            steps: most steps.
        """
        solve = Solver(self.config, lambda *_: None)
        try:
            return solve(level, start, promise, steps)
        except SolverError:
            return None

    @cached_property
    def remaining_step(self) -> Float64[Tensor, '4 4']:
        """Return the pose that one more Gauss-Newton step would lead to."""
        return self.step_by(self.blocks)

    def step_by(self, blocks: Sequence[ResidualBlock]) -> Float64[Tensor, '4 4']:
        """Return the pose that a Gauss-Newton step by some residuals at the pose leads to."""
        A, g = normal_equations(blocks)
        step = -torch.linalg.lstsq(A, g[:, None], driver='gelsd').solution[:, 0]
        return self.finest.move(self.pose, step)
