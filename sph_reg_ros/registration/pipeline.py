"""The whole method on one screen."""

from collections.abc import Callable
from time import perf_counter

from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.covariance import pose_covariance
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Progress, RegistrationResult
from sph_reg_ros.registration.verify import verify
from sph_reg_ros.registration.views import Level, build_level
from sph_reg_ros.rendering.render import TWIST_LENGTH_MM, resolve_backend
from sph_reg_ros.solvers import LMConfig, LMResult, levenberg_marquardt

Observer = Callable[[Progress], None]
# A coarse level only has to bring the next one near; the last one has to end at the optimum.
COARSE_PROMISE, FINE_PROMISE = 1e-3, 1e-5
DEPTH_WARNING = 'one view only: depth along the beam is far less certain than the other directions'


def register(request: RegistrationRequest, observer: Observer | None = None) -> RegistrationResult:
    """Find the pose at which the rendered CT looks like the X-rays.

    Args:
        request: CT, X-rays, initial pose, settings.
        observer: called after every solver step; raise CancelledError in it to stop.

    Raises:
        ConfigError: the renderer cannot run here.
        SolverError: the CT is not in view at the initial pose, or the problem is degenerate.
        CancelledError: the observer asked to stop.
    """
    clock = _Clock()
    config = request.config
    levels = _prepare(request)
    clock.lap('prepare')
    before = levels[-1].similarity(request.initial_camera_from_ct)
    refined, iterations = _refine(levels, request, clock, observer)
    clock.lap('refine')
    # |r|^2 = 2 (1 - NCC) for each view.
    after = 1 - refined.cost / (2 * len(request.views))
    covariance = pose_covariance(refined.blocks)
    verdict, checks = verify(refined.termination, after, covariance, config.min_similarity)
    clock.lap('verify')
    return RegistrationResult(
        camera_from_ct=tuple(T @ refined.pose for T in levels[-1].camera_from_first),
        covariance=covariance,
        centre_lps_mm=levels[-1].volume.centre,
        termination=refined.termination,
        similarity_before=before,
        similarity_after=after,
        iterations=iterations,
        timings_s=clock.laps,
        checks=checks,
        verdict=verdict,
        warnings=(DEPTH_WARNING,) if len(request.views) == 1 else (),
        backend=levels[-1].backend,
    )


def _prepare(request: RegistrationRequest) -> list[Level]:
    """Return the pyramid, coarse to fine, ending no finer than the X-rays."""
    backend = resolve_backend(request.config.backend, request.volume)
    tallest = max(view.camera.height for view in request.views)
    heights = sorted({min(height, tallest) for height in request.config.levels})
    return [build_level(request, height, backend) for height in heights]


def _refine(
    levels: list[Level], request: RegistrationRequest, clock: '_Clock', observer: Observer | None
) -> tuple[LMResult, int]:
    """Run the solver level by level, each from where the coarser one ended."""
    pose, iterations = request.initial_camera_from_ct.double(), 0
    for level in levels:
        promise = FINE_PROMISE if level is levels[-1] else COARSE_PROMISE
        solver = _solver_config(request.config, promise)
        report = clock.reporter(level, iterations, observer)
        result = levenberg_marquardt(level.linearise, level.move, pose, solver, report)
        pose, iterations = result.pose, iterations + result.iterations
    return result, iterations


def _solver_config(config: RegistrationConfig, min_promise: float) -> LMConfig:
    return LMConfig(
        min_promise=min_promise,
        max_iterations=config.max_iterations,
        max_rotation=config.max_rotation_step_rad,
        max_translation=config.max_translation_step_mm / TWIST_LENGTH_MM,
    )


class _Clock:
    def __init__(self) -> None:
        self.start = self.last = perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.laps[name], self.last = now - self.last, now

    def reporter(
        self, level: Level, offset: int, observer: Observer | None
    ) -> Callable[[int, float], None]:
        """Return a solver observer that turns the cost into 1 - similarity."""
        stage = f'refine {level.views[0].camera.height} px'
        best = float('inf')

        def report(iteration: int, cost: float) -> None:
            nonlocal best
            # |r|^2 = 2 (1 - NCC) a view.
            loss = cost / 2 / len(level.views)
            best = min(best, loss)
            if observer is not None:
                elapsed = perf_counter() - self.start
                observer(Progress(stage, offset + iteration, loss, best, elapsed))

        return report
