"""The solver as a registration uses it: capped steps, counted and reported."""

from collections.abc import Callable, Sequence

from torch import Tensor

from sph_reg_ros.errors import SolverError
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.level import Level
from sph_reg_ros.solvers import LMConfig, LMResult, RobustKernel, levenberg_marquardt

ROUGH_PROMISE = 1e-3
"""Share of the cost that a step has to promise where rivals only have to be told apart."""
SCOUT_ITERATIONS = 8
"""Steps of a pose that has rivals: what is not near a good optimum by then hardly will be."""

Report = Callable[[Level, int, float], None]


class Solver:
    """The solver of a registration, with a count of its steps.

    Attributes:
        steps: of all poses at all levels so far.
    """

    def __init__(self, config: RegistrationConfig, report: Report) -> None:
        """Take settings, and what is told the level, the steps so far and the cost of each."""
        self._config, self._report = config, report
        self.steps = 0

    def __call__(
        self, level: Level, pose: Tensor, promise: float, max_iterations: int | None = None
    ) -> LMResult:
        """Return where the solver ends.

        Args:
            level: where to compare.
            pose: of the first camera, to start from.
            promise: share of the cost that a step has to promise.
            max_iterations: the config's if None.

        Raises:
            SolverError: the CT is not in view, or the problem is degenerate.
        """
        config, before = self._config, self.steps
        limit = max_iterations or config.max_iterations
        settings = LMConfig(
            min_promise=promise,
            max_iterations=min(limit, config.max_iterations),
            max_rotation=config.max_rotation_step_rad,
            max_translation=config.max_translation_step_mm / TWIST_LENGTH_MM,
            kernel=RobustKernel(config.robust_kernel),
        )

        def observe(iteration: int, cost: float) -> None:
            self.steps = before + iteration
            self._report(level, self.steps, cost)

        return levenberg_marquardt(level.linearise, level.move, pose, settings, observe)

    def each(self, level: Level, poses: Sequence[Tensor]) -> list[LMResult]:
        """Return the results, lowest cost first, without those that see nothing of the CT.

        Raises:
            SolverError: of the first start, if none has a result.
        """
        results, failures = [], []
        limit = SCOUT_ITERATIONS if len(poses) > 1 else None
        for pose in poses:
            try:
                results.append(self(level, pose, ROUGH_PROMISE, limit))
            except SolverError as error:
                failures.append(error)
        if not results:
            raise failures[0]
        return sorted(results, key=lambda result: result.cost)
