"""The face of the registration: one call from X-rays to a judged pose."""

from dataclasses import replace

from sph_reg_ros.errors import SolverError
from sph_reg_ros.registration.bodies import with_bodies, without_rest
from sph_reg_ros.registration.course import Course, Observer
from sph_reg_ros.registration.negatives import after_doubt, after_failure
from sph_reg_ros.registration.networks_first import by_networks_or_search
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.target_gate import about_target
from sph_reg_ros.registration.view import in_each_camera
from sph_reg_ros.registration.visibility import require_source_outside
from sph_reg_ros.rendering.cpu.threads import one_torch_thread


@one_torch_thread()
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

    With bodies, the whole CT is found first, then each body (`registration.bodies`). Where the
    request names a target, verdict and bound are about that alone (`registration.target_gate`).

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
        BodyError: BODY_OUT_OF_VIEW if a body is not in view where it is expected,
            TARGET_OUT_OF_VIEW if the target is not where it was found.
        CancelledError: the observer asked to stop.
    """
    if request.bodies is not None:
        if verified:
            request.config.require_checkable()
        if request.bodies.rest is None:
            found = without_rest(request, Course(observer), verified)
        else:
            alone = replace(request, bodies=None, target=None)
            whole = register(alone, observer, verified=verified)
            found = with_bodies(whole, request, Course(observer), verified)
        return about_target(found, request, Course(observer)) if verified else found
    request = request.placed()
    _require_source_outside_ct(request)
    if verified:
        request.config.require_checkable()
    course = Course(observer)
    try:
        found = by_networks_or_search(request, course, verified)
    except SolverError as error:
        return after_failure(error, request, course, verified)
    if found.verdict == Verdict.VERIFIED or not verified:
        return found
    return after_doubt(found, request, course)


def _require_source_outside_ct(request: RegistrationRequest) -> None:
    if request.initial_camera_from_ct is None:
        return
    for number, pose in enumerate(in_each_camera(request.start, request.views), 1):
        require_source_outside(request.volume, pose, f'X-ray {number}')
