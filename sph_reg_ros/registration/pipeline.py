"""The whole method on one screen."""

from collections.abc import Callable
from time import perf_counter

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.registration.covariance import pose_covariance
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.refine import refine
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Progress, RegistrationResult
from sph_reg_ros.registration.search import propose
from sph_reg_ros.registration.verify import verify
from sph_reg_ros.registration.views import build_level
from sph_reg_ros.registration.visibility import require_in_view
from sph_reg_ros.rendering.render import resolve_backend

Observer = Callable[[Progress], None]
DEPTH_WARNING = 'one view only: depth along the beam is far less certain than the other directions'


def register(request: RegistrationRequest, observer: Observer | None = None) -> RegistrationResult:
    """Find the pose at which the rendered CT looks like the X-rays.

    Args:
        request: CT, X-rays, initial pose, settings.
        observer: called after every solver step and all through the search; raise CancelledError
            in it to stop.

    Raises:
        ConfigError: the renderer cannot run here.
        SolverError: the CT is not in view, or the problem is degenerate.
        CancelledError: the observer asked to stop.
    """
    clock, config = _Clock(), request.config
    levels = _prepare(request)
    clock.lap('prepare')
    before, starts = _initialise(levels, request, clock.ticker('search', observer))
    clock.lap('search')
    refined = refine(levels, starts, config, clock.reporter(observer))
    clock.lap('refine')
    best = refined.best
    covariance = pose_covariance(best.blocks, best.information)
    verdict, checks = verify(
        best.termination, refined.similarity, covariance, config.min_similarity
    )
    clock.lap('verify')
    return RegistrationResult(
        camera_from_ct=tuple(T @ best.pose for T in levels[-1].camera_from_first),
        covariance=covariance,
        centre_lps_mm=levels[-1].volume.centre,
        termination=best.termination,
        similarity_before=before,
        similarity_after=refined.similarity,
        iterations=refined.iterations,
        timings_s=clock.laps,
        checks=checks,
        verdict=verdict,
        warnings=(DEPTH_WARNING,) if len(request.views) == 1 else (),
        backend=levels[-1].backend,
        method=config.method,
        similarity=config.similarity,
        runner_up=refined.runner_up,
    )


def _prepare(request: RegistrationRequest) -> list[Level]:
    """Return the pyramid, coarse to fine, ending no finer than the X-rays."""
    backend = resolve_backend(request.config.backend, request.volume)
    tallest = max(view.camera.height for view in request.views)
    heights = sorted({min(height, tallest) for height in request.config.levels})
    return [build_level(request, height, backend) for height in heights]


def _initialise(
    levels: list[Level], request: RegistrationRequest, tick: Callable[[float], None]
) -> tuple[float, Float64[Tensor, 'n 4 4']]:
    """Return the similarity at the initial pose, and that pose with what a search adds to it."""
    initial = request.initial_camera_from_ct.double()[None]
    # A level at which a rendering costs next to nothing, but not the one that sees least.
    before = float(levels[min(1, len(levels) - 1)].scores(initial))
    if before == -1:
        for number, view in enumerate(request.views):
            pose = levels[0].camera_from_first[number] @ initial[0]
            require_in_view(request.volume, pose, view.camera, f'X-ray {number + 1}')
    found = initial[:0]
    if request.config.starts > 0:
        rivals = levels[0].for_rivals
        found = propose(rivals, initial[0], request.config, lambda: tick(1 - before))
    if before > -1:
        return before, torch.cat([initial, found])
    return before, found if len(found) else initial


class _Clock:
    def __init__(self) -> None:
        self.start = self.last = perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.laps[name], self.last = now - self.last, now

    def ticker(self, stage: str, observer: Observer | None) -> Callable[[float], None]:
        """Return what reports that a stage without solver steps goes on, and at which loss."""

        def tick(loss: float) -> None:
            if observer is not None:
                observer(Progress(stage, 0, loss, loss, perf_counter() - self.start))

        return tick

    def reporter(self, observer: Observer | None) -> Callable[[Level, int, float], None]:
        """Return a solver observer that turns the cost into 1 - similarity."""
        best: dict[str, float] = {}

        def report(level: Level, iteration: int, cost: float) -> None:
            stage = f'refine {level.height} px'
            # |r|^2 = 2 (1 - similarity) a view.
            loss = cost / 2 / len(level.views)
            best[stage] = min(best.get(stage, loss), loss)
            if observer is not None:
                elapsed = perf_counter() - self.start
                observer(Progress(stage, iteration, loss, best[stage], elapsed))

        return report
