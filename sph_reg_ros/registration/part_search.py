"""The search for a CT that holds only a part of what the X-rays show, such as one bone.

The rest of the X-ray is no error of the pose, and there is more of it than of the part: the solver
finds its way from a few millimetres only, and a similarity over a fixed region likes to push the
part out of it, along the beam above all. So many starts are tried on one region, how far off the
initial pose can be counts as a measurement, and the last word is spoken close around the part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import SolverError
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.registration.attempt import attempt
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.prior import PosePrior, search_deviations
from sph_reg_ros.registration.pyramid import build_level
from sph_reg_ros.registration.region import around_projection
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult, RunnerUp
from sph_reg_ros.registration.view import in_each_camera
from sph_reg_ros.rendering.render import resolve_backend

WIDE_RAD = 0.15
"""Standard deviation of the initial pose's rotation from which 300 samples are too few: of 11
starts 20 degrees and 20 mm off a real wrist, they lost three that 1500 found."""


@dataclass(frozen=True)
class PartSearch:
    """How a part is looked for.

    Attributes:
        margin_mm: how far the part's silhouette may be off at the start.
        close_margin_mm: what is compared around it in the end.
        samples: random poses that are compared with the X-rays.
        refined: best of them that the solver refines at the coarsest level.
        survivors: best distinct ones of those that are compared close around the part.
        finished: best of those that are refined at the finest level.
        seed: of the random poses.
    """

    margin_mm: float = 16.0
    close_margin_mm: float = 5.0
    samples: int = 300
    refined: int = 24
    survivors: int = 6
    finished: int = 2
    seed: int = 0

    @classmethod
    def of(cls, config: RegistrationConfig) -> 'PartSearch':
        """Return a thorough search for an initial pose that may be far off, else a quick one."""
        if config.search_rotation_rad < WIDE_RAD:
            return cls()
        return cls(margin_mm=24.0, samples=1500, refined=48, survivors=10)


# The 99.9 % quantile of chi squared with six degrees of freedom.
_FARTHEST = 22.5
# Similarity that one standard deviation, squared, is worth: it settles what the X-ray leaves open.
PRIOR = 2e-3
# Poses closer than this lead to the same optimum.
_NEAREST = 0.5
DISTINCT_MM = 2.0
"""Poses whose corners are closer on average are one optimum."""


def find_part(
    request: RegistrationRequest, search: PartSearch, course: Course
) -> RegistrationResult:
    """Find a part of the anatomy in X-rays that show more; nothing is checked.

    Args:
        request: CT of the part, air around it; whole X-rays; initial pose. The config's search_*
            say how far that may be off, and a single view's depth stays near it; its levels are
            rows of the region around the part.
        search: settings of the search.
        course: of the registration; stages come again for every pose that is tried.

    Raises:
        PoseError: POSE_INVALID without initial pose: X-rays that show more do not tell a part.
        SolverError: the part is not in view at the initial pose.
        CancelledError: the observer asked to stop.
    """
    initial = request.start
    request = replace(request, prior=start_prior(request))
    near = _cut(request, initial, search.margin_mm)
    levels = request.config.levels
    poses = _refined(near, _sampled(near, search, course), levels[0], course)
    # Judged by one region, a pose that leaves it wins: from here each is judged by its own.
    results = [
        _close(request, pose, search, levels[-2:-1] or levels, course)
        for pose in poses[: search.survivors]
    ]
    results.sort(key=lambda result: -_merit(request, result))
    runner_up = _runner_up(request, results)
    poses = [result.camera_from_ct[0] for result in results[: search.finished]]
    results = [_close(request, pose, search, levels[-2:], course) for pose in poses]
    best = max(results, key=lambda result: _merit(request, result))
    return replace(best, runner_up=runner_up)


def _runner_up(
    request: RegistrationRequest, results: Sequence[RegistrationResult]
) -> RunnerUp | None:
    """Return the second best of distinct poses, best first; None if there is one only."""
    best, points = results[0], request.volume.corners
    for other in results[1:]:
        apart = mean_distance_mm(best.camera_from_ct[0], other.camera_from_ct[0], points)
        if apart > DISTINCT_MM:
            return RunnerUp(other.similarity_after, best.similarity_after, float(apart))
    return None


def _close(
    request: RegistrationRequest,
    pose: Float64[Tensor, '4 4'],
    search: PartSearch,
    levels: tuple[int, ...],
    course: Course,
) -> RegistrationResult:
    """Refine at some levels, comparing only what lies close around the part at `pose`."""
    close = _cut(replace(request, initial_camera_from_ct=pose), pose, search.close_margin_mm)
    config = replace(request.config, method='image', starts=0, levels=levels)
    return _attempt(replace(close, config=config), course)


def _attempt(request: RegistrationRequest, course: Course) -> RegistrationResult:
    return attempt(request, 'image', Course(course.pass_on), verified=False)


def start_prior(request: RegistrationRequest) -> PosePrior:
    """Return how far the initial pose may be off, as a measurement."""
    return PosePrior(request.start, search_deviations(request.config), PRIOR)


def _cut(
    request: RegistrationRequest, camera_from_ct: Float64[Tensor, '4 4'], margin_mm: float
) -> RegistrationRequest:
    """Return the request with all views cut to the part at a pose in the first camera."""
    placed = zip(request.views, in_each_camera(camera_from_ct, request.views), strict=True)
    views = tuple(around_projection(view, request.volume, T, margin_mm) for view, T in placed)
    return replace(request, views=views)


def _sampled(request: RegistrationRequest, search: PartSearch, course: Course) -> list[Tensor]:
    """Return the initial pose and the best of random poses around it."""
    config, initial = request.config, request.start
    generator = torch.Generator().manual_seed(search.seed)
    unit = torch.randn(search.samples, 6, dtype=torch.float64, generator=generator)
    poses = se3.apply_twist(
        unit * search_deviations(config),
        initial.expand(search.samples, 4, 4),
        request.volume.centre,
    )
    backend = resolve_backend(config.backend, request.volume)
    course.begin('search')
    scores = build_level(request, config.levels[0], backend, course.on_work).scores(poses)
    best = scores.argsort(descending=True)[: search.refined]
    return [initial, *poses[best]]


def _refined(
    request: RegistrationRequest, poses: list[Tensor], height: int, course: Course
) -> list[Tensor]:
    """Return where the solver ends from each pose at one level, most similar first.

    Poses farther from the initial one than its error can be are left out, unless all are.
    """
    config = replace(request.config, method='image', starts=0, levels=(height,), max_iterations=10)
    results = []
    for pose in poses:
        try:
            asked = replace(request, initial_camera_from_ct=pose, config=config)
            results.append(_attempt(asked, course))
        except SolverError:
            continue
    if not results:
        return poses
    results.sort(key=lambda result: -_merit(request, result))
    ended = [result.camera_from_ct[0] for result in results]
    initial = request.start
    near = [pose for pose in ended if _distance(request, pose, initial) < _FARTHEST] or ended
    distinct: list[Tensor] = []
    for pose in near:
        if all(_distance(request, pose, other) > _NEAREST for other in distinct):
            distinct.append(pose)
    return distinct


def _merit(request: RegistrationRequest, result: RegistrationResult) -> float:
    """Return the similarity, less what a pose is unlikely by the initial pose's error."""
    assert request.prior is not None
    unlikely = request.prior.squared_distance(result.camera_from_ct[0], request.volume.centre)
    return result.similarity_after - request.prior.weight * unlikely


def _distance(request: RegistrationRequest, pose: Tensor, other: Tensor) -> float:
    """Return the squared Mahalanobis distance of two poses by the config's search."""
    assert request.prior is not None
    around = replace(request.prior, camera_from_ct=other)
    return around.squared_distance(pose, request.volume.centre)
