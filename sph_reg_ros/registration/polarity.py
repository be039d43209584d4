"""Is an X-ray a negative of what it was taken for?

An image without air in it does not tell, but the CT does: searched for around the initial pose, or
everywhere, it looks more like the X-ray of the right polarity. Both polarities of one image bend
its intensities in opposite directions, and the similarity by patches does not fit a curve that
could turn them.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ImageError, SolverError
from sph_reg_ros.registration.global_search import hypotheses
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.solve import Solver
from sph_reg_ros.registration.view import View

HEIGHT_PX, STARTS = 64, 2
MIN_GAIN = 0.05
"""Similarity that the negative must have more: of 42 X-rays of six CTs, as counts and as displays
show them, upright and negative, the right one had 0.09 to 0.55 more."""
NEGATIVE = (
    'the X-ray is a negative: it fits the CT with dark air, and was taken so; set image.bright_air '
    'to false (command line: --invert) to save the time of finding out'
)


def inverted_views(
    request: RegistrationRequest,
    poses: Float64[Tensor, 'n 4 4'],
    backend: str,
    on_work: Callable[[Level], None],
) -> tuple[bool, ...]:
    """Return for each view whether the CT looks more like its negative.

    Args:
        request: views without a negative are not looked at.
        poses: further poses of the first camera that may be right.
        backend: renderer.
        on_work: see Level; may raise to stop.
    """
    negatives = tuple(map(negative_of, request.views))
    taken = _similarities(request, poses, backend, on_work)
    turned = _similarities(replace(request, views=negatives), poses, backend, on_work)
    return tuple(
        other is not view and b > a + MIN_GAIN
        for view, other, a, b in zip(request.views, negatives, taken, turned, strict=True)
    )


def negative_of(view: View) -> View:
    """Return the negative of a view; itself if it has none, or none that could be used."""
    try:
        return view if view.negative is None else view.negative()
    except ImageError:
        return view


def _similarities(
    request: RegistrationRequest,
    poses: Float64[Tensor, 'n 4 4'],
    backend: str,
    on_work: Callable[[Level], None],
) -> list[float]:
    """Return the best similarity that each view by itself finds."""
    rough = build_level(request, request.config.levels[0], backend, on_work)
    level = build_level(request, HEIGHT_PX, backend, on_work)
    solve = Solver(request.config)
    found = []
    for number in range(len(request.views)):
        # The coarse similarity keeps the sign of intensities.
        alone = rough.of_view(number).coarse_similarity
        starts = torch.cat([poses, hypotheses(alone, request, STARTS)])
        found.append(_best(level.of_view(number).coarse_similarity, starts, solve))
    return found


def _best(level: Level, starts: Float64[Tensor, 'n 4 4'], solve: Solver) -> float:
    try:
        result = solve.scout(level, starts)
    except SolverError:
        return -1.0
    # |r|^2 = 2 (1 - similarity).
    return 1 - min(result.costs) / 2
