"""Where to start: the initial pose, what a search finds, what networks make of the X-rays."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.global_search import hypotheses as searched
from sph_reg_ros.registration.learned_initialisation import (
    refined_by_networks,
    regressed,
    spherical_level,
)
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.pyramid import build_pyramid
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.visibility import require_in_view

SHOWS_NOTHING = 'the CT shows nothing from any direction: check the CT and the camera'


@dataclass(frozen=True)
class Hypotheses:
    """Rough poses, and what they are refined on.

    Attributes:
        pyramid: the levels, coarse to fine; the CT is as fine as its distance asks for.
        poses: of the first camera, at least one.
        similarity: at the initial pose, at a coarse level; -1 if the CT is not in view there.
    """

    pyramid: list[Level]
    poses: Float64[Tensor, 'n 4 4']
    similarity: float


def hypotheses(
    request: RegistrationRequest, method: str, backend: str, course: Course
) -> Hypotheses:
    """Return where to start by a method: rows of one batch.

    Raises:
        SolverError: the CT is not in view.
    """
    return (_by_search if method == 'image' else _by_networks)(request, backend, course)


def _by_networks(request: RegistrationRequest, backend: str, course: Course) -> Hypotheses:
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
    levels = build_pyramid(replace(request, initial_camera_from_ct=starts[0]), backend, course)
    course.lap('prepare')
    return Hypotheses(levels, starts, _score_before(levels, request.start))


def _by_search(request: RegistrationRequest, backend: str, course: Course) -> Hypotheses:
    """Return the initial pose with what a search around it adds, or what one anywhere finds."""
    levels = build_pyramid(request, backend, course)
    course.lap('prepare')
    if request.initial_camera_from_ct is None:
        course.begin('search')
        found = searched(levels[0].coarse_similarity, request)
        course.lap('search')
        if len(found) == 0:
            raise SolverError(ErrorCode.NO_OVERLAP, SHOWS_NOTHING)
        return Hypotheses(levels, found, _score_before(levels, found[0]))
    before, initial = _score_before(levels, request.start), request.start[None]
    if before == -1:
        _require_start_in_view(levels[0], request)
    found = initial[:0]
    if request.config.starts > 0:
        course.begin('search', 1 - before)
        found = searched(levels[0].coarse_similarity, request)
    course.lap('search')
    if before > -1:
        return Hypotheses(levels, torch.cat([initial, found]), before)
    return Hypotheses(levels, found if len(found) else initial, before)


def _score_before(levels: list[Level], start: Float64[Tensor, '4 4']) -> float:
    """Return the similarity at the initial pose; -1 if the CT is not in view."""
    # A level at which a rendering costs next to nothing, but not the one that sees least.
    return float(levels[min(1, len(levels) - 1)].scores(start[None]))


def _require_start_in_view(level: Level, request: RegistrationRequest) -> None:
    for number, view in enumerate(request.views):
        pose = level.camera_from_first[number] @ request.start
        require_in_view(request.volume, pose, view.camera, f'X-ray {number + 1}')
