"""The whole method on one screen."""

from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import CancelledError, ErrorCode, SolverError
from sph_reg_ros.registration.course import Course, Observer
from sph_reg_ros.registration.gate.evidence import Evidence
from sph_reg_ros.registration.gate.verify import NOT_VERIFIED, verify
from sph_reg_ros.registration.global_search import hypotheses
from sph_reg_ros.registration.learned_initialisation import (
    refined_by_networks,
    regressed,
    spherical_level,
)
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.polarity import NEGATIVE, inverted_views, negative_of
from sph_reg_ros.registration.pyramid import build_level, camera_from_first
from sph_reg_ros.registration.reasons import OF_DOUBTS, InputDoubt
from sph_reg_ros.registration.refine import polish, solve
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.registration.visibility import require_in_view, require_source_outside
from sph_reg_ros.rendering.render import resolve_backend

Begun = tuple[float, list[Level], Float64[Tensor, 'n 4 4']]
"""Similarity at the initial pose, the pyramid, rough poses."""
DEPTH_WARNING = 'one view only: depth along the beam is far less certain than the other directions'
WITHOUT = 'method image instead of spherical: '
NETWORKS_ASTRAY = 'networks led to a pose that failed the checks; a search found this one'
OUT_OF_TIME = 'the time was over before a search could find a better pose'
POLARITY_OPEN = 'the time was over before it was found out whether the X-ray is a negative'
SEARCHED_IN_VAIN = 'a search found no better pose that passes the checks'
SHOWS_NOTHING = 'the CT shows nothing from any direction: check the CT and the camera'


def register(
    request: RegistrationRequest, observer: Observer | None = None, *, verified: bool = True
) -> RegistrationResult:
    """Find the pose at which the rendered CT looks like the X-rays.

    Without initial pose and networks, a search over all view directions finds a start. It gets a
    try also where networks lead to no VERIFIED pose, around the initial one if there is one:
    networks know only views such as they were trained on. What it finds is returned if it is
    VERIFIED and looks better.

    Where the pose is not VERIFIED and an X-ray looks more like the CT as a negative, it is
    registered as one, or named as the reason if its polarity was given.

    Args:
        request: CT, X-rays, initial pose, settings.
        observer: called before every rendering and after every solver step, through the checks,
            too; raise CancelledError in it to stop. With the code TIMEOUT, a pose that was checked
            is returned even so, although what was to be tried after it was not.
        verified: False leaves the pose UNVERIFIED and saves the time of the checks, and of the
            search after networks.

    Raises:
        ConfigError: the renderer cannot run here, or the levels are too coarse for the checks.
        PoseError: POSE_INVALID if the source lies inside the CT at the initial pose.
        SolverError: the CT is not in view, or the problem is degenerate.
        CancelledError: the observer asked to stop.
    """
    request = request.placed()
    _require_source_outside_ct(request)
    if verified:
        request.config.require_checkable()
    course = Course(observer)
    try:
        found = _as_taken(request, course, verified)
    except SolverError as error:
        turned = _turned_over(request, [], course)
        if turned is None or _overrules(turned, request):
            # The CT may be the reason, or the polarity.
            negative = () if turned is None else (OF_DOUBTS[InputDoubt.INVERTED_IMAGE][1],)
            text = '; '.join(map(str, (error, *request.volume.doubts, *negative)))
            raise SolverError(error.code, text) from error
        return _warned(_as_taken(turned, Course(course.pass_on), verified), NEGATIVE)
    if found.verdict == Verdict.VERIFIED or not verified:
        return found
    try:
        return _doubted(found, request, course)
    except CancelledError as error:
        if error.code != ErrorCode.TIMEOUT:
            raise
        return _warned(found, POLARITY_OPEN)


def _doubted(
    found: RegistrationResult, request: RegistrationRequest, course: Course
) -> RegistrationResult:
    """Return what becomes of X-rays that were not VERIFIED if some of them are negatives."""
    turned = _turned_over(request, [found.camera_from_ct[0]], course)
    if turned is None:
        return found
    if _overrules(turned, request):
        return replace(found, doubts=(*found.doubts, InputDoubt.INVERTED_IMAGE))
    try:
        again = _as_taken(turned, Course(course.pass_on), verified=True)
    except SolverError:
        return replace(found, doubts=(*found.doubts, InputDoubt.INVERTED_IMAGE))
    seconds = {'as it was taken first': sum(found.timings_s.values()), **again.timings_s}
    return replace(
        _warned(again, NEGATIVE),
        timings_s=seconds,
        iterations=found.iterations + again.iterations,
    )


def _turned_over(
    request: RegistrationRequest,
    found: list[Float64[Tensor, '4 4']],
    course: Course,
) -> RegistrationRequest | None:
    """Return the request with negatives where those look more like the CT; None if none does.

    Args:
        request: with X-rays as they were taken.
        found: the pose that they led to, if they did.
        course: of the registration so far.
    """
    if all(view.negative is None for view in request.views):
        return None
    start = request.initial_camera_from_ct
    poses = [torch.empty(0, 4, 4, dtype=torch.float64), *(pose[None] for pose in found)]
    if start is not None:
        poses.append(start[None])
    backend = resolve_backend(request.config.backend, request.volume)
    course.begin('polarity {}')
    inverted = inverted_views(request, torch.cat(poses), backend, course.on_work)
    if not any(inverted):
        return None
    views = zip(request.views, inverted, strict=True)
    return replace(request, views=tuple(negative_of(v) if is_so else v for v, is_so in views))


def _overrules(turned: RegistrationRequest, request: RegistrationRequest) -> bool:
    """Return whether a view was turned over whose polarity was given."""
    views = zip(request.views, turned.views, strict=True)
    return any(view.polarity_given and view is not other for view, other in views)


def _as_taken(request: RegistrationRequest, course: Course, verified: bool) -> RegistrationResult:
    obstacle = why_no_networks(request)
    if not obstacle:
        return _by_networks_first(request, course, verified)
    found = _registered(request, 'image', course, verified)
    return found if request.config.method == 'image' else _warned(found, WITHOUT + obstacle)


def _by_networks_first(
    request: RegistrationRequest, course: Course, verified: bool
) -> RegistrationResult:
    try:
        found = _registered(request, 'spherical', course, verified)
    except SolverError as error:
        course.again()
        searched = _registered(request, 'image', course, verified)
        return _warned(searched, f'{WITHOUT}{error}')
    if found.verdict == Verdict.VERIFIED or not verified:
        return found
    return _searched_instead(found, request, course)


def _searched_instead(
    doubted: RegistrationResult, request: RegistrationRequest, course: Course
) -> RegistrationResult:
    """Return what a search finds if it is VERIFIED and looks better, else the doubted result.

    A pose may be doubted only because it is far from an initial pose that is wrong. Then a search
    around that must not bring up a pose that looks worse.
    """
    found, why_not = None, SEARCHED_IN_VAIN
    try:
        course.again()
        found = _registered(request, 'image', course, verified=True)
    except SolverError:
        pass
    except CancelledError as error:
        if error.code != ErrorCode.TIMEOUT:
            raise
        why_not = OUT_OF_TIME
        course.lap('broken off')
    if (
        found is None
        or found.verdict != Verdict.VERIFIED
        or not _looks_better(found, doubted, request)
    ):
        return replace(_warned(doubted, why_not), timings_s=dict(course.laps))
    return replace(
        _warned(found, NETWORKS_ASTRAY), iterations=doubted.iterations + found.iterations
    )


def _looks_better(
    found: RegistrationResult, other: RegistrationResult, request: RegistrationRequest
) -> bool:
    """Return whether the X-rays look more like the CT at one pose than at another.

    Both are compared at one level. `similarity_after` of two registrations may be of differently
    coarsened CTs: how coarse depends on how far away the CT was at the start.
    """
    pose = found.camera_from_ct[0]
    here = replace(request, initial_camera_from_ct=pose)
    level = build_level(here, request.config.levels[-1], found.backend)
    scores = level.scores(torch.stack([pose, other.camera_from_ct[0]]))
    return bool(scores[0] > scores[1])


def _registered(
    request: RegistrationRequest, method: str, course: Course, verified: bool
) -> RegistrationResult:
    config = request.config
    backend = resolve_backend(config.backend, request.volume)
    begin = _by_search if method == 'image' else _by_networks
    before, levels, starts = begin(request, backend, course)
    course.begin('refine {}')
    solver = Solver(config, course.on_step)
    rough = solve(levels, starts, solver)
    refined = polish(rough.finer, rough.pose, solver)
    course.lap('refine')
    evidence = Evidence.of_result(levels, refined, _expected(request), config)
    verification = NOT_VERIFIED
    if verified:
        course.begin('verify {}', 1 - refined.similarity, solver.steps)
        verification = verify(evidence)
    course.lap('verify')
    return RegistrationResult(
        camera_from_ct=tuple(T @ refined.pose for T in levels[-1].camera_from_first),
        covariance=evidence.covariance,
        centre_lps_mm=levels[-1].volume.centre,
        termination=refined.termination,
        similarity_before=before,
        similarity_after=refined.similarity,
        iterations=solver.steps,
        timings_s=dict(course.laps),
        verification=verification,
        warnings=request.volume.doubts + ((DEPTH_WARNING,) if len(request.views) == 1 else ()),
        backend=levels[-1].backend,
        method=method,
        similarity=config.similarity,
        runner_up=rough.runner_up,
        doubts=_doubts(request),
        device=str(request.volume.mu.device),
    )


def _doubts(request: RegistrationRequest) -> tuple[InputDoubt, ...]:
    not_hounsfield = request.volume.hounsfield_doubts
    return request.doubts + ((InputDoubt.CT_NOT_HOUNSFIELD,) if not_hounsfield else ())


def why_no_networks(request: RegistrationRequest) -> str:
    """Return why the start is searched for, or '' if networks give it."""
    if request.config.method == 'image':
        return 'method image was asked for'
    if request.networks is None:
        return 'there are no networks for this CT'
    misfits = (request.networks.misfit(view.camera) for view in request.views)
    return next(filter(None, misfits), '')


def _by_networks(request: RegistrationRequest, backend: str, course: Course) -> Begun:
    """Return what networks make of the X-rays, and of the initial pose if there is one."""
    networks = request.networks
    assert networks is not None
    starts = regressed(request, networks)
    around = replace(request, initial_camera_from_ct=starts[0])
    if request.initial_camera_from_ct is None:
        request = around
    else:
        starts = torch.cat([starts, request.start[None]])
    course.lap('regress')
    course.begin('networks {}')
    # How fine a CT has to be depends on where it is: an initial pose may be far off.
    level = spherical_level(around, networks, backend, course.on_work)
    starts = refined_by_networks(level, starts, request, course.on_step)
    course.lap('networks')
    course.begin('prepare')
    levels = _pyramid(replace(request, initial_camera_from_ct=starts[0]), backend, course)
    course.lap('prepare')
    return _score_before(levels, request.start), levels, starts


def _by_search(request: RegistrationRequest, backend: str, course: Course) -> Begun:
    """Return the initial pose with what a search around it adds, or what one anywhere finds."""
    levels = _pyramid(request, backend, course)
    course.lap('prepare')
    if request.initial_camera_from_ct is None:
        course.begin('search')
        found = hypotheses(levels[0].coarse_similarity, request)
        course.lap('search')
        if len(found) == 0:
            raise SolverError(ErrorCode.NO_OVERLAP, SHOWS_NOTHING)
        return _score_before(levels, found[0]), levels, found
    before, initial = _score_before(levels, request.start), request.start[None]
    if before == -1:
        _require_start_in_view(levels[0], request)
    found = initial[:0]
    if request.config.starts > 0:
        course.begin('search', 1 - before)
        found = hypotheses(levels[0].coarse_similarity, request)
    course.lap('search')
    if before > -1:
        return before, levels, torch.cat([initial, found])
    return before, levels, found if len(found) else initial


def _expected(request: RegistrationRequest) -> Float64[Tensor, '4 4'] | None:
    """Return the pose that the result ought to be near; None if nothing is known of it."""
    if request.prior is not None:
        return request.prior.camera_from_ct
    return request.initial_camera_from_ct


def _pyramid(request: RegistrationRequest, backend: str, course: Course) -> list[Level]:
    """Return the levels, coarse to fine, ending no finer than the X-rays."""
    tallest = max(view.camera.height for view in request.views)
    heights = sorted({min(height, tallest) for height in request.config.levels})
    levels = []
    for height in heights:
        course.report()
        levels.append(build_level(request, height, backend, course.on_work))
    return levels


def _score_before(levels: list[Level], start: Float64[Tensor, '4 4']) -> float:
    """Return the similarity at the initial pose; -1 if the CT is not in view."""
    # A level at which a rendering costs next to nothing, but not the one that sees least.
    return float(levels[min(1, len(levels) - 1)].scores(start[None]))


def _require_source_outside_ct(request: RegistrationRequest) -> None:
    if request.initial_camera_from_ct is None:
        return
    for number, view in enumerate(request.views, 1):
        pose = camera_from_first(view, request.views[0]) @ request.start
        require_source_outside(request.volume, pose, f'X-ray {number}')


def _require_start_in_view(level: Level, request: RegistrationRequest) -> None:
    for number, view in enumerate(request.views):
        pose = level.camera_from_first[number] @ request.start
        require_in_view(request.volume, pose, view.camera, f'X-ray {number + 1}')


def _warned(result: RegistrationResult, warning: str) -> RegistrationResult:
    return replace(result, warnings=(*result.warnings, warning))
