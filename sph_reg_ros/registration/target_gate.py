"""May a pose be used for the target? It may have moved against the rest of the CT.

The pose is that of the whole CT, or of what of it has not moved. Where the target lies by itself
is found once more, with the rest where it is: by how far it lies off, and by what the X-rays leave
open of that, the pose may be wrong for it. How far it may have moved along the beam, one X-ray
hardly tells: that is as uncertain as the prior of such motions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.imaging.bodies.body import Bodies, MotionPrior
from sph_reg_ros.registration.bodies_fit import (
    BodiesProblem,
    covariances,
    links_of,
    solve_by_whole_xrays,
)
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.gate.bound import bound_of, check_bound
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.gate.verify import verdict_of
from sph_reg_ros.registration.gate_limits import (
    ERROR_PER_SIGMA,
    MAX_TARGET_MOVED_MM,
    MIN_TARGET_VISIBLE,
)
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import (
    Check,
    RegistrationResult,
    Verdict,
    Verification,
)
from sph_reg_ros.registration.target import Target, require_in_view
from sph_reg_ros.registration.view import View, in_each_camera
from sph_reg_ros.rendering.render import resolve_backend

ROTATION_PER_MM = 0.02
"""By how much (rad) a target turns that moves by a millimetre, both as standard deviations."""
MIN_LEFT = 0.4
"""Share of an X-ray that has to be left when what has moved is taken out."""
OF_BOUND = 'tre_p95'
"""What the names of the checks of a bound begin with."""


@dataclass(frozen=True)
class OwnPose:
    """Where the target lies by itself.

    Attributes:
        pose: in the first camera (mm).
        errors: what a motion of the target means for its points, from the pose that is judged.
        covariance: of its motion (rad, mm), about `errors.centre`, by X-rays and prior.
    """

    pose: Float64[Tensor, '4 4']
    errors: TargetErrors
    covariance: Float64[Tensor, '6 6']

    @property
    def moved(self) -> ErrorParts:
        """Return how far it lies off the pose that is judged."""
        return self.errors.to(self.pose)

    @property
    def sigma(self) -> ErrorParts:
        """Return the standard deviation of that."""
        return self.errors.by(self.covariance)

    @property
    def certain_mm(self) -> float:
        """Return how far it has moved, along the beam less what may be chance."""
        along = max(0.0, self.moved.along_mm - self.sigma.along_mm)
        return math.hypot(self.moved.across_mm, along)


def with_target(
    result: RegistrationResult, request: RegistrationRequest, target: Target, course: Course
) -> RegistrationResult:
    """Return a result whose verdict and bound are about the target alone.

    Args:
        result: of the whole CT, judged at the target's points.
        request: what was asked.
        target: of it.
        course: of the registration.

    Raises:
        BodyError: TARGET_OUT_OF_VIEW.
        SolverError: the problem is degenerate.
        CancelledError: the observer asked to stop.
    """
    poses, views = result.camera_from_ct, request.views
    require_in_view(target, poses, [view.camera for view in views])
    shown = min(map(partial(_share_shown, target), poses, views))
    little = (Verdict.UNVERIFIED, ErrorCode.LITTLE_OVERLAP)
    checks = [
        *result.checks,
        Check.at_least('target_visible', shown, MIN_TARGET_VISIBLE, little),
    ]
    verification, estimate = result.verification, result.verification.estimate
    if target.part is not None and request.config.target_motion_mm > 0:
        own = own_pose(poses[0], request, target.part, target, course)
        checks.append(check_target(own))
        estimate = ErrorParts.together((estimate, own.moved, own.sigma))
        verification = replace(verification, along=tuple(own.errors.along.tolist()))
    course.lap('target')
    judged = _judged(verification, checks, estimate, request.config)
    return replace(result, verification=judged, timings_s=dict(course.laps))


def own_pose(
    camera_from_ct: Float64[Tensor, '4 4'],
    request: RegistrationRequest,
    part: Bodies,
    target: Target,
    course: Course,
) -> OwnPose:
    """Find where a target lies by itself; the rest of the CT stays where it is."""
    prior = _motion_prior(request.config)
    (body,), rest = part.bodies, part.rest
    assert rest is not None
    body = replace(body, prior=prior)
    problem = BodiesProblem(
        (rest, body.volume),
        request.views,
        links_of([body], True),
        True,
        request.config,
        resolve_backend(request.config.backend, rest),
        request.distance_mm,
        lambda height: course.report(f'{height} px'),
    )
    course.begin('verify {}')
    end, level = solve_by_whole_xrays(problem, torch.stack([camera_from_ct] * 2))
    poses = end.poses[0]
    by_xrays = ERROR_PER_SIGMA**2 * covariances(level, poses)[1]
    covariance = _with_prior(by_xrays, prior)
    errors = TargetErrors.seen_by(
        request.views, camera_from_ct, covariance, body.volume.centre, target.points
    )
    return OwnPose(poses[1], errors, covariance)


def check_target(own: OwnPose) -> Check:
    """Reject the pose for a target that has moved against the rest of the CT."""
    against = (Verdict.REJECTED, ErrorCode.BODY_MOVED)
    return Check.at_most('target_moved_mm', own.certain_mm, MAX_TARGET_MOVED_MM, against)


def about_target(
    result: RegistrationResult, request: RegistrationRequest, course: Course
) -> RegistrationResult:
    """Return a result with bodies whose verdict is about the target, if one is named."""
    if request.target is None:
        return result
    if request.target.part is None:
        return about_body(result, request, request.target)
    return with_target(result, request.placed(), request.target, course)


def about_body(
    result: RegistrationResult, request: RegistrationRequest, target: Target
) -> RegistrationResult:
    """Return a result whose verdict and bound are about one of its bodies.

    The pose of the patient is that of the rest: for the body it is as wrong as that has moved.
    """
    body = next(body for body in result.bodies if body.name == target.name)
    found, pose = body.verification, result.camera_from_ct[0]
    if request.bodies is None or request.bodies.rest is None:
        return replace(result, verification=found)
    middle, along = target.points.mean(0), torch.tensor(found.along, dtype=torch.float64)
    moved = TargetErrors(pose, middle, target.points, along).to(pose @ body.moved_from_rest)
    against = (Verdict.REJECTED, ErrorCode.BODY_MOVED)
    size_mm = moved.asked(found.verdict_for)
    checks = [
        *found.checks,
        Check.at_most('target_moved_mm', size_mm, MAX_TARGET_MOVED_MM, against),
    ]
    estimate = ErrorParts.together((found.estimate, moved))
    return replace(result, verification=_judged(found, checks, estimate, request.config))


def without_moved(
    request: RegistrationRequest, moved: Sequence[MovedPart], camera_from_ct: Tensor
) -> RegistrationRequest:
    """Return a request without what has moved elsewhere than at its target.

    What is left tells where the rest of the CT is. The request itself if it names no target, or if
    too little would be left.
    """
    target, views = request.target, list(request.views)
    if target is None:
        return request
    poses = in_each_camera(camera_from_ct, request.views)
    for number in {part.view for part in moved}:
        view = views[number]
        usable = view.usable.cpu()
        left = usable.clone()
        for part in moved:
            if part.view == number:
                left[part.pixels(view.camera.size)] = False
        left |= usable & target.silhouette(poses[number], view.camera)
        if int(left.sum()) < MIN_LEFT * int(usable.sum()):
            return request
        views[number] = replace(view, mask=left)
    return replace(request, views=tuple(views)) if moved else request


def _judged(
    verification: Verification,
    checks: Sequence[Check],
    estimate: ErrorParts,
    config: RegistrationConfig,
) -> Verification:
    """Return a verification with other checks and another estimate, and the bound of that."""
    bound = bound_of(estimate)
    others = (check for check in checks if not check.name.startswith(OF_BOUND))
    checks = (*others, *check_bound(bound, config))
    return replace(
        verification,
        verdict=verdict_of(checks),
        checks=checks,
        estimate=estimate,
        bound=bound,
    )


def _share_shown(target: Target, pose: Float64[Tensor, '4 4'], view: View) -> float:
    """Return how much of a target's shadow a view shows."""
    shadow = target.silhouette(pose, view.camera)
    return float((shadow & view.usable.cpu()).sum() / shadow.sum().clamp(min=1))


def _motion_prior(config: RegistrationConfig) -> MotionPrior:
    shift_mm = config.target_motion_mm
    return MotionPrior(ROTATION_PER_MM * shift_mm, shift_mm)


def _with_prior(covariance: Float64[Tensor, '6 6'], prior: MotionPrior) -> Float64[Tensor, '6 6']:
    """Return the covariance of a motion by X-rays and prior together."""
    widths = [prior.rotation_rad] * 3 + [prior.translation_mm] * 3
    scale = torch.tensor(widths, dtype=torch.float64)
    identity = torch.eye(6, dtype=torch.float64)
    if not bool((covariance.diagonal() > 0).all()):
        # Not seen at all: only the prior says where it is.
        return identity * torch.outer(scale, scale)
    # In units of the prior, so that neither rad nor mm is a small number.
    relative = covariance / torch.outer(scale, scale)
    return relative @ torch.linalg.inv(relative + identity) * torch.outer(scale, scale)
