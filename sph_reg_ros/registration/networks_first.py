"""Networks first where there are any for the CT, and a search where they lead nowhere."""

from dataclasses import replace

import torch

from sph_reg_ros.errors import CancelledError, ErrorCode, SolverError
from sph_reg_ros.registration.attempt import attempt
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, Verdict

WITHOUT = 'method image instead of spherical: '
NETWORKS_ASTRAY = 'networks led to a pose that failed the checks; a search found this one'
OUT_OF_TIME = 'the time was over before a search could find a better pose'
SEARCHED_IN_VAIN = 'a search found no better pose that passes the checks'


def by_networks_or_search(
    request: RegistrationRequest, course: Course, verified: bool
) -> RegistrationResult:
    """Return what networks lead to, or a search if there are none or they lead nowhere.

    What a search finds after networks is returned if it is VERIFIED and looks better.

    Raises:
        ConfigError: the renderer cannot run here.
        SolverError: the CT is not in view, or the problem is degenerate.
        CancelledError: the observer asked to stop.
    """
    obstacle = why_no_networks(request)
    if not obstacle:
        return _by_networks_first(request, course, verified)
    found = attempt(request, 'image', course, verified)
    return found if request.config.method == 'image' else warned(found, WITHOUT + obstacle)


def why_no_networks(request: RegistrationRequest) -> str:
    """Return why the start is searched for, or '' if networks give it."""
    if request.config.method == 'image':
        return 'method image was asked for'
    if request.networks is None:
        return 'there are no networks for this CT'
    misfits = (request.networks.misfit(view.camera) for view in request.views)
    return next(filter(None, misfits), '')


def _by_networks_first(
    request: RegistrationRequest, course: Course, verified: bool
) -> RegistrationResult:
    try:
        found = attempt(request, 'spherical', course, verified)
    except SolverError as error:
        course.again()
        searched = attempt(request, 'image', course, verified)
        return warned(searched, f'{WITHOUT}{error}')
    if found.verdict == Verdict.VERIFIED or not verified:
        return found
    return searched_instead(found, request, course)


def searched_instead(
    doubted: RegistrationResult, request: RegistrationRequest, course: Course
) -> RegistrationResult:
    """Return what a search finds if it is VERIFIED and looks better, else the doubted result.

    A pose may be doubted only because it is far from an initial pose that is wrong. Then a search
    around that must not bring up a pose that looks worse.
    """
    found, why_not = None, SEARCHED_IN_VAIN
    try:
        course.again()
        found = attempt(request, 'image', course, verified=True)
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
        return replace(warned(doubted, why_not), timings_s=dict(course.laps))
    return replace(warned(found, NETWORKS_ASTRAY), iterations=doubted.iterations + found.iterations)


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


def warned(result: RegistrationResult, warning: str) -> RegistrationResult:
    """Return a result with one more warning."""
    return replace(result, warnings=(*result.warnings, warning))
