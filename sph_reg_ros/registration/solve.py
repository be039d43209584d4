"""The solver as a registration uses it: capped steps, counted and reported."""

from collections.abc import Callable

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.level import Level
from sph_reg_ros.similarity import NormalEquations, Robust, RobustKernel
from sph_reg_ros.solvers import LMConfig, LMResult, levenberg_marquardt

ROUGH_REDUCTION = 1e-3
"""Predicted reduction of the cost, as a share of it, that is worth a step where rivals only have to
be told apart."""
SCOUT_ITERATIONS = 8
"""Steps of a pose that has rivals: what is not near a good optimum by then hardly will be."""

Report = Callable[[Level, int, float], None]


class Solver:
    """The solver of a registration, with a count of its steps.

    Attributes:
        steps: of all poses at all levels so far.
    """

    def __init__(self, config: RegistrationConfig, report: Report = lambda *_: None) -> None:
        """Take settings, and what is told the level, the steps so far and the cost after each."""
        self._config, self._report = config, report
        self.steps = 0

    def __call__(
        self,
        level: Level,
        poses: Float64[Tensor, 'B 4 4'],
        min_reduction: float,
        max_iterations: int | None = None,
    ) -> LMResult:
        """Return where the solver ends from each pose.

        Args:
            level: where to compare.
            poses: of the first camera, to start from.
            min_reduction: share of the cost that a step has to be predicted to save.
            max_iterations: the config's if None.

        Raises:
            SolverError: the CT is in view from no pose, or the problem is degenerate.
        """
        config, before = self._config, self.steps
        settings = LMConfig(
            min_predicted_reduction=min_reduction,
            max_iterations=min(max_iterations or config.max_iterations, config.max_iterations),
            max_rotation=config.max_rotation_step_rad,
            max_translation=config.max_translation_step_mm / TWIST_LENGTH_MM,
        )

        def linearise(rows: Tensor, widths: Tensor | None) -> NormalEquations:
            return level.linearise(rows, robust_of(config, widths), seen=rows is poses)

        def observe(steps: int, cost: float) -> None:
            self.steps = before + steps
            self._report(level, self.steps, cost)

        return levenberg_marquardt(linearise, level.move, poses, settings, observe)

    def scout(self, level: Level, poses: Float64[Tensor, 'B 4 4']) -> LMResult:
        """Return where rivals lead to roughly, compared by the similarity for that if several."""
        if len(poses) == 1:
            return self(level, poses, ROUGH_REDUCTION)
        return self(level.coarse_similarity, poses, ROUGH_REDUCTION, SCOUT_ITERATIONS)


def robust_of(config: RegistrationConfig, widths: Tensor | None = None) -> Robust | None:
    """Return the robust kernel of a config, None if there is none."""
    kernel = RobustKernel(config.robust_kernel)
    return None if kernel is RobustKernel.NONE else Robust(kernel, widths)
