"""Several bodies in the X-rays: the whole CT first, then its parts and implants, each by itself.

Parts of the CT are found by line integrals, all at once: the image is their sum and the rest.
Opaque bodies are found by their outlines, since metal saturates an X-ray.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.imaging.bodies.body import Bodies, Body
from sph_reg_ros.registration.attempt import depth_warnings
from sph_reg_ros.registration.bodies_fit import (
    BodiesProblem,
    covariances,
    links_of,
    solve_bodies,
)
from sph_reg_ros.registration.bodies_gate import (
    MIDDLE_PX,
    PartEvidence,
    judge_body,
    judge_outline,
    part_similarity,
    patches_of,
    seek_bodies_again,
)
from sph_reg_ros.registration.bodies_level import Link
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.gate.bound import imager_error
from sph_reg_ros.registration.gate.each_view import largest
from sph_reg_ros.registration.gate.patches import PatchAgreement
from sph_reg_ros.registration.gate.reproducibility import Again
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate.targets import target_points
from sph_reg_ros.registration.gate.verify import NOT_VERIFIED, verdict_of
from sph_reg_ros.registration.outline_fit import beside
from sph_reg_ros.registration.outline_search import find_outlines
from sph_reg_ros.registration.part_search import PartSearch, find_part, start_prior
from sph_reg_ros.registration.prior import PosePrior, search_deviations
from sph_reg_ros.registration.region import around_projections
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import BodyResult, RegistrationResult, Verification
from sph_reg_ros.registration.view import cameras_from_first, in_each_camera
from sph_reg_ros.rendering.outline import Edges
from sph_reg_ros.rendering.render import resolve_backend
from sph_reg_ros.solvers import TerminationReason

METAL_MARGIN_PX = 2
"""Around what metal hides, as far as its blur reaches."""
REST = -1
"""Number of what is left of the CT, beside those of the bodies."""


@dataclass(frozen=True, eq=False)
class _Found:
    """Where a body was found, and how much the X-rays look like it there, 1 at most."""

    pose: Float64[Tensor, '4 4']
    covariance: Float64[Tensor, '6 6']
    centre_mm: Float64[Tensor, '3']
    similarity: float
    termination: TerminationReason
    verification: Verification


def _bodies_around(
    request: RegistrationRequest,
    bodies: Bodies,
    camera_from_ct: Float64[Tensor, '4 4'],
    course: Course,
    verified: bool,
    search: PartSearch | None = None,
) -> tuple[dict[int, _Found], tuple[BodyResult, ...]]:
    """Find bodies where the whole CT has been found, and the rest of it once more.

    Args:
        request: X-rays and settings.
        bodies: to be found; the result has their order.
        camera_from_ct: pose of the whole CT in the first camera, or what stands for it if there is
            no CT: bodies are expected where they lay in it, give or take their priors.
        course: of the registration.
        verified: whether to run the checks.
        search: for parts of no CT.

    Metal comes first: in what it hides, no other body is looked for.

    Raises:
        BodyError: BODY_OUT_OF_VIEW.
        SolverError: the problem is degenerate.
        CancelledError: the observer asked to stop.
    """
    starts = _starts(request, bodies, camera_from_ct)
    for body, start in zip(bodies, starts, strict=True):
        _require_in_view(request, body, start)
    parts = [n for n, body in enumerate(bodies.bodies) if body.mesh is None or not body.is_metal]
    opaque = [n for n in range(len(bodies)) if n not in parts]
    found: dict[int, _Found] = {}
    if opaque:
        found |= _opaque(request, bodies, opaque, starts, camera_from_ct, course, verified)
        request = _beside(request, bodies, {n: found[n].pose for n in opaque})
    if parts:
        parts_search = search or PartSearch.of(request.config)
        found |= _parts(
            request, bodies, parts, starts, camera_from_ct, course, verified, parts_search
        )
    if REST in found:
        camera_from_ct = found[REST].pose
    results = (_result(request, body, found[n], camera_from_ct) for n, body in enumerate(bodies))
    return found, tuple(results)


def _starts(
    request: RegistrationRequest, bodies: Bodies, camera_from_ct: Float64[Tensor, '4 4']
) -> list[Float64[Tensor, '4 4']]:
    given = request.initial_bodies or [None] * len(bodies)
    return [
        camera_from_ct @ body.ct_from_body if pose is None else pose.double()
        for body, pose in zip(bodies, given, strict=True)
    ]


def _parts(
    request: RegistrationRequest,
    bodies: Bodies,
    numbers: Sequence[int],
    starts: Sequence[Tensor],
    camera_from_ct: Float64[Tensor, '4 4'],
    course: Course,
    verified: bool,
    search: PartSearch,
) -> dict[int, _Found]:
    """Return those that are found by line integrals, and the rest as number REST."""
    near = starts
    if bodies.rest is None:
        request, near, links, leads = _searched(request, bodies, numbers, starts, course, search)
    chosen = [bodies.bodies[n] for n in numbers]
    rest = [] if bodies.rest is None else [bodies.rest]
    volumes = [*rest, *(body.volume for body in chosen)]
    problem = BodiesProblem(
        tuple(volumes),
        request.views,
        links_of(chosen, True) if rest else links,
        bool(rest),
        request.config,
        resolve_backend(request.config.backend, volumes[0]),
        request.distance_mm,
        lambda height: course.report(f'{height} px'),
    )
    poses = torch.stack([camera_from_ct] * len(rest) + [near[n] for n in numbers])
    course.begin('refine {}')
    solved = solve_bodies(problem, poses)
    poses = solved.poses
    course.lap('bodies')
    course.begin('verify {}')
    spreads = covariances(solved.close, poses)
    if rest:
        spreads[0] = covariances(solved.whole, poses)[0]
    again = seek_bodies_again(problem, poses) if verified else None
    middle, scores = problem.level(MIDDLE_PX), solved.whole.scores(poses)
    similarity = sum(scores) / len(scores)

    def evidence(place: int) -> PatchAgreement | PartEvidence:
        if rest:
            return patches_of(middle, poses, place)
        margin_mm = search.close_margin_mm
        return PartEvidence(part_similarity(problem, poses, place, margin_mm), leads[place])

    found = {}
    for place, n in enumerate([REST] * len(rest) + list(numbers)):
        pose, verification = poses[place], NOT_VERIFIED
        if again is not None:
            volume = volumes[place]
            errors = TargetErrors.seen_by(
                request.views, pose, spreads[place], volume.centre, target_points(volume)
            )
            verification = judge_body(
                errors,
                spreads[place],
                solved.termination,
                Again(errors.to(again.from_here[place]), (errors.to(again.from_away[place]),)),
                evidence(place),
                None if n == REST else _prior_distance(request, bodies, n, starts[n], pose),
                imager_error(request.views, errors, request.config.imager_trust),
                request.config,
            )
        centre = volumes[place].centre
        found[n] = _Found(
            pose, spreads[place], centre, similarity, solved.termination, verification
        )
    course.lap('verify bodies')
    return found


def _searched(
    request: RegistrationRequest,
    bodies: Bodies,
    numbers: Sequence[int],
    starts: Sequence[Tensor],
    course: Course,
    search: PartSearch,
) -> tuple[RegistrationRequest, list[Tensor], tuple[Link, ...], list[float]]:
    """Find each body by itself, since nothing says where they are but the initial pose.

    Returns:
        The request with X-rays cut to what lies close around the bodies, at the last two levels;
        their poses in the order of all bodies; the initial pose as a measurement of each; and by
        how much each is more similar than at the second best pose.
    """
    poses, links, leads = list(starts), [], []
    margin_mm = search.close_margin_mm
    for place, n in enumerate(numbers):
        body = bodies.bodies[n]
        alone = replace(request, volume=body.volume, initial_camera_from_ct=starts[n], bodies=None)
        expected = start_prior(alone)
        links.append(
            Link(place, None, starts[n], body.volume.centre, expected.deviations, expected.weight)
        )
        found = find_part(alone, search, course)
        poses[n], rival = found.camera_from_ct[0], found.runner_up
        leads.append(1.0 if rival is None else rival.best_similarity - rival.similarity)
    volumes = [bodies.bodies[n].volume for n in numbers]
    views = tuple(
        around_projections(view, volumes, [other @ poses[n] for n in numbers], margin_mm)
        for view, other in zip(request.views, cameras_from_first(request.views), strict=True)
    )
    config = replace(request.config, levels=request.config.levels[-2:])
    return replace(request, views=views, config=config), poses, tuple(links), leads


def _opaque(
    request: RegistrationRequest,
    bodies: Bodies,
    numbers: Sequence[int],
    starts: Sequence[Tensor],
    camera_from_ct: Float64[Tensor, '4 4'],
    course: Course,
    verified: bool,
) -> dict[int, _Found]:
    """Return those that are found by their outlines."""
    chosen = [bodies.bodies[n] for n in numbers]
    edges = [_outline_of(body) for body in chosen]
    course.begin('search')
    widths = [_widths(request, bodies, body) for body in chosen]
    fits = find_outlines(request.views, edges, [starts[n] for n in numbers], widths, course.report)
    found = {}
    for n, body, outline, fit in zip(numbers, chosen, edges, fits, strict=True):
        centre, verification = torch.from_numpy(outline.centre), NOT_VERIFIED
        if verified:
            distance = _prior_distance(request, bodies, n, starts[n], fit.pose)
            errors = TargetErrors.seen_by(
                request.views,
                fit.pose,
                fit.evidence.covariance,
                centre,
                target_points(body.volume),
            )
            imager = imager_error(request.views, errors, request.config.imager_trust)
            verification = judge_outline(fit, errors, distance, imager, request.config)
        settled = TerminationReason.CONVERGED
        found[n] = _Found(
            fit.pose, fit.evidence.covariance, centre, fit.explained, settled, verification
        )
    course.lap('outlines')
    return found


def _beside(
    request: RegistrationRequest, bodies: Bodies, opaque: dict[int, Tensor]
) -> RegistrationRequest:
    """Return the request with X-rays that leave out what metal hides: no bone shows there."""
    outlines = [_outline_of(bodies.bodies[n]) for n in opaque]
    return replace(
        request, views=beside(request.views, outlines, list(opaque.values()), METAL_MARGIN_PX)
    )


def _outline_of(body: Body) -> Edges:
    assert body.mesh is not None
    return Edges.of_mesh(body.mesh.vertices, body.mesh.faces)


def _widths(request: RegistrationRequest, bodies: Bodies, body: Body) -> Float64[Tensor, '6']:
    """Return how far off a body's start may be: by its prior, or with no CT, that of the pose.

    Standard deviations of rotation (rad) and shift (mm), camera axes.
    """
    if bodies.rest is None:
        return search_deviations(request.config)
    widths = [body.prior.rotation_rad] * 3 + [body.prior.translation_mm] * 3
    return torch.tensor(widths, dtype=torch.float64)


def _prior_distance(
    request: RegistrationRequest, bodies: Bodies, number: int, start: Tensor, pose: Tensor
) -> float | None:
    """Return the squared distance of a body from where it is expected; None if that was given."""
    if request.initial_bodies is not None and request.initial_bodies[number] is not None:
        return None
    body = bodies.bodies[number]
    pivot = body.volume.centre
    if body.prior.pivot_mm is not None:
        pivot = torch.tensor(body.prior.pivot_mm, dtype=torch.float64)
    prior = PosePrior(start, _widths(request, bodies, body).clamp(min=1e-9), 1.0)
    return prior.squared_distance(pose, pivot)


def _require_in_view(request: RegistrationRequest, body: Body, start: Tensor) -> None:
    placed = zip(request.views, in_each_camera(start, request.views), strict=True)
    for number, (view, pose) in enumerate(placed, 1):
        corners = se3.transform_points(pose, body.volume.corners)
        size = torch.tensor([view.camera.width, view.camera.height])
        pixels = view.camera.project(corners)
        low, high = pixels.amin(0), pixels.amax(0)
        if not (bool((corners[:, 2] > 0).all()) and bool(((high > 0) & (low < size)).all())):
            raise BodyError(
                ErrorCode.BODY_OUT_OF_VIEW,
                f'body {body.name} is not in view in X-ray {number} where it is expected: check '
                'the initial pose, or leave the body out',
            )


def _result(
    request: RegistrationRequest,
    body: Body,
    found: _Found,
    camera_from_ct: Float64[Tensor, '4 4'],
) -> BodyResult:
    ct_from_now = se3.inverse(camera_from_ct) @ found.pose
    moved = ct_from_now @ se3.inverse(body.ct_from_body)
    centre = found.centre_mm[None]
    shift = se3.transform_points(ct_from_now, centre) - se3.transform_points(
        body.ct_from_body, centre
    )
    return BodyResult(
        name=body.name,
        frame=body.frame,
        camera_from_body=in_each_camera(found.pose, request.views),
        moved_from_rest=moved,
        covariance=found.covariance,
        centre_mm=found.centre_mm,
        rotation_rad=float(so3.log(moved[:3, :3]).norm()),
        translation_mm=float(shift.norm()),
        verification=found.verification,
    )


def without_rest(
    request: RegistrationRequest,
    course: Course,
    verified: bool,
    search: PartSearch | None = None,
) -> RegistrationResult:
    """Return the result of bodies that are in no CT: its own figures are those of the first body.

    Raises:
        PoseError: POSE_INVALID without an initial pose, which bodies are expected around.
    """
    request, bodies = request.placed(), request.bodies
    assert bodies is not None
    found, results = _bodies_around(request, bodies, request.start, course, verified, search)
    first, body = results[0], bodies.bodies[0]
    ct_from_body_inverse = se3.inverse(body.ct_from_body)
    return RegistrationResult(
        camera_from_ct=tuple(pose @ ct_from_body_inverse for pose in first.camera_from_body),
        covariance=first.covariance,
        centre_lps_mm=se3.transform_points(body.ct_from_body, first.centre_mm[None])[0],
        termination=found[0].termination,
        similarity_before=math.nan,
        similarity_after=found[0].similarity,
        iterations=0,
        timings_s=dict(course.laps),
        verification=first.verification,
        warnings=depth_warnings(len(request.views), request.config),
        backend=resolve_backend(request.config.backend, body.volume),
        method=request.config.method,
        similarity=request.config.similarity,
        runner_up=None,
        doubts=request.doubts,
        device=str(body.volume.device),
        bodies=results,
    )


def with_bodies(
    whole: RegistrationResult, request: RegistrationRequest, course: Course, verified: bool
) -> RegistrationResult:
    """Return the result of the rest of the CT with that of each body of the request.

    Bodies that have moved have pulled at the pose of the whole CT. That of the rest has to pass the
    checks of both.
    """
    assert request.bodies is not None
    pose = whole.camera_from_ct[0]
    found, results = _bodies_around(request, request.bodies, pose, course, verified)
    result = replace(whole, bodies=results, timings_s={**whole.timings_s, **course.laps})
    rest = found.get(REST)
    if rest is None:
        return result
    return replace(
        result,
        camera_from_ct=in_each_camera(rest.pose, request.views),
        covariance=rest.covariance,
        centre_lps_mm=rest.centre_mm,
        verification=_both(whole.verification, rest.verification) if verified else NOT_VERIFIED,
    )


def _both(first: Verification, second: Verification) -> Verification:
    """Return the checks of both; those of the second have names of their own."""
    named = (replace(check, name=f'rest_{check.name}') for check in second.checks)
    checks = (*first.checks, *named)
    estimate, bound = (
        ErrorParts.combined(largest, parts)
        for parts in ((first.estimate, second.estimate), (first.bound, second.bound))
    )
    return replace(
        second, verdict=verdict_of(checks), checks=checks, estimate=estimate, bound=bound
    )
