"""X-rays that look more like the CT as negatives of what they were taken for."""

from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import CancelledError, ErrorCode, SolverError
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.networks_first import by_networks_or_search, warned
from sph_reg_ros.registration.polarity import NEGATIVE, inverted_views, negative_of
from sph_reg_ros.registration.reasons import OF_DOUBTS, InputDoubt
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult
from sph_reg_ros.rendering.render import resolve_backend

POLARITY_OPEN = 'the time was over before it was found out whether the X-ray is a negative'


def after_failure(
    error: SolverError, request: RegistrationRequest, course: Course, verified: bool
) -> RegistrationResult:
    """Return what negatives lead to after X-rays as they were taken led to no pose.

    Raises:
        SolverError: the error, with what may be its reason, if no X-ray looks like a negative.
    """
    turned = turned_over(request, [], course)
    if turned is None or _overrules(turned, request):
        # The CT may be the reason, or the polarity.
        negative = () if turned is None else (OF_DOUBTS[InputDoubt.INVERTED_IMAGE][1],)
        text = '; '.join(map(str, (error, *request.volume.doubts, *negative)))
        raise SolverError(error.code, text) from error
    found = by_networks_or_search(turned, Course(course.pass_on), verified)
    return warned(found, NEGATIVE)


def after_doubt(
    found: RegistrationResult, request: RegistrationRequest, course: Course
) -> RegistrationResult:
    """Return what negatives lead to after X-rays as they were taken led to no VERIFIED pose."""
    try:
        return _doubted(found, request, course)
    except CancelledError as error:
        if error.code != ErrorCode.TIMEOUT:
            raise
        return warned(found, POLARITY_OPEN)


def _doubted(
    found: RegistrationResult, request: RegistrationRequest, course: Course
) -> RegistrationResult:
    """Return what becomes of X-rays that were not VERIFIED if some of them are negatives."""
    turned = turned_over(request, [found.camera_from_ct[0]], course)
    if turned is None:
        return found
    if _overrules(turned, request):
        return replace(found, doubts=(*found.doubts, InputDoubt.INVERTED_IMAGE))
    try:
        again = by_networks_or_search(turned, Course(course.pass_on), verified=True)
    except SolverError:
        return replace(found, doubts=(*found.doubts, InputDoubt.INVERTED_IMAGE))
    seconds = {'as it was taken first': sum(found.timings_s.values()), **again.timings_s}
    return replace(
        warned(again, NEGATIVE),
        timings_s=seconds,
        iterations=found.iterations + again.iterations,
    )


def turned_over(
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
