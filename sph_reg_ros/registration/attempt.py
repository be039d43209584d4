"""The whole method on one screen: from a request to a judged pose."""

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.moved_parts import moved_parts
from sph_reg_ros.registration.gate.verify import NOT_VERIFIED, verify
from sph_reg_ros.registration.hypotheses import hypotheses
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.next_view import is_too_uncertain, suggest_view
from sph_reg_ros.registration.pyramid import build_pyramid
from sph_reg_ros.registration.reasons import InputDoubt
from sph_reg_ros.registration.refine import Refined, polish, solve
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.registration.target_gate import with_target, without_moved
from sph_reg_ros.rendering.render import resolve_backend

FINER_LEVELS = 2
"""Of the pyramid, where a pose that was nearly right is found once more."""


def attempt(
    request: RegistrationRequest, method: str, course: Course, verified: bool
) -> RegistrationResult:
    """Find a pose by one method, and judge it.

    Args:
        request: what `register` was asked, or the same with negatives.
        method: spherical (networks give the start) or image (a search does).
        course: of the registration.
        verified: whether to run the checks.

    Raises:
        ConfigError: the renderer cannot run here.
        SolverError: the CT is not in view, or the problem is degenerate.
    """
    config = request.config
    start = hypotheses(request, method, resolve_backend(config.backend, request.volume), course)
    course.begin('refine {}')
    solver = Solver(config, course.on_step)
    rough = solve(start.pyramid, start.poses, solver)
    best = polish(rough.finer, rough.pose, solver)
    course.lap('refine')
    evidence = _evidence(start.pyramid, best, request)
    verification = NOT_VERIFIED
    if verified:
        course.begin('verify {}', 1 - best.similarity, solver.steps)
        moved = moved_parts(evidence)
        still = without_moved(request, moved, best.pose)
        if still is not request:
            pyramid = build_pyramid(still, best.level.backend, course)
            best, request = polish(pyramid[-FINER_LEVELS:], best.pose, solver), still
            evidence = _evidence(pyramid, best, request)
        verification = verify(evidence, moved)
    course.lap('verify')
    result = RegistrationResult(
        camera_from_ct=tuple(T @ best.pose for T in best.level.camera_from_first),
        covariance=evidence.covariance,
        centre_lps_mm=best.level.volume.centre,
        termination=best.termination,
        similarity_before=start.similarity,
        similarity_after=best.similarity,
        iterations=solver.steps,
        timings_s=dict(course.laps),
        verification=verification,
        warnings=request.volume.doubts + depth_warnings(len(request.views), config),
        backend=best.level.backend,
        method=method,
        similarity=config.similarity,
        runner_up=rough.runner_up,
        doubts=_doubts(request),
        device=str(request.volume.device),
    )
    if not verified:
        return result
    if request.target is not None:
        result = with_target(result, request, request.target, course)
    if is_too_uncertain(result.verification):
        suggested = suggest_view(evidence, result.verification)
        course.lap('next view')
        result = replace(result, next_view=suggested, timings_s=dict(course.laps))
    return result


def _evidence(levels: Sequence[Level], best: Refined, request: RegistrationRequest) -> Evidence:
    points = None if request.target is None else request.target.points
    return Evidence.of_result(levels, best, _expected(request), request.config, points)


def depth_warnings(views: int, config: RegistrationConfig) -> tuple[str, ...]:
    """Return what a result of one view has to say of its depth; nothing for several views."""
    if views > 1:
        return ()
    share = config.imager_trust.focal_length
    known = f'known within {100 * share:g} %' if share else 'exact'
    return (
        'one view only: depth along the beam is far less certain than the other directions, and '
        f'rests on the focal length, which is taken for {known} (calibration)',
    )


def _doubts(request: RegistrationRequest) -> tuple[InputDoubt, ...]:
    not_hounsfield = request.volume.hounsfield_doubts
    return request.doubts + ((InputDoubt.CT_NOT_HOUNSFIELD,) if not_hounsfield else ())


def _expected(request: RegistrationRequest) -> Float64[Tensor, '4 4'] | None:
    """Return the pose that the result ought to be near; None if nothing is known of it."""
    if request.prior is not None:
        return request.prior.camera_from_ct
    return request.initial_camera_from_ct
