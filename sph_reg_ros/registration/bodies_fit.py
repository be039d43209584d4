"""The solver for several bodies at once, level by level.

The last level compares what lies close around the bodies: instruments, scatter and an intensity
curve that has to serve lungs and bones alike would turn them by degrees. What is left of the CT is
found by whole X-rays once they have settled, since bodies that have moved have pulled at its pose.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.body import Body
from sph_reg_ros.registration.bodies_level import BodiesLevel, Link
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.covariance import cluster_robust, views_alike
from sph_reg_ros.registration.view import View, cameras_from_first, shrink
from sph_reg_ros.similarity import NormalEquations, prepare_similarity
from sph_reg_ros.solvers import LMConfig, LMResult, TerminationReason, levenberg_marquardt

COARSEST_PX = 48
"""On smaller images a body is a few pixels, and goes astray."""
COARSE_PRIOR = 30.0
"""By how much more priors between bodies weigh before the last level: what the X-rays show beside
the CT, such as an instrument, would carry bodies off; in the end it may not hold them back."""
CLOSE_MM = 8.0
"""What the last level compares around bodies. Of disturbed chest X-rays 5 mm found as many."""
LAST_ROUNDS = 2
"""Weights of pixels are those of where the bodies were before: once they have moved, again."""
MIN_REDUCTION = 3e-6
"""Share of the cost that a step has to be predicted to save: one body is a small part of it."""
REST = 0
"""Number of what is left of the CT, if there is any."""
Poses = Float64[Tensor, 'n 4 4']


@dataclass(frozen=True, eq=False)
class BodiesProblem:
    """What is in the X-rays, in the order of the poses: the rest first, if there is one.

    Attributes:
        volumes: at full resolution.
        views: X-rays.
        links: priors between them.
        has_rest: whether the first is what is left of a CT.
        config: settings.
        backend: renderer.
        distance_mm: about how far they are from the first source.
        on_work: told the height of the images before each piece of work; may raise to stop.
    """

    volumes: tuple[AttenuationVolume, ...]
    views: tuple[View, ...]
    links: tuple[Link, ...]
    has_rest: bool
    config: RegistrationConfig
    backend: str
    distance_mm: float
    on_work: Callable[[int], None] = lambda height: None

    @property
    def parts(self) -> list[int]:
        """Return the numbers of the bodies, without the rest."""
        return list(range(int(self.has_rest), len(self.volumes)))

    def level(self, height: int, similarity: str | None = None) -> BodiesLevel:
        """Return X-rays shrunk to at most `height` rows, with bodies to match."""
        views = tuple(shrink(view, min(height, view.camera.height)) for view in self.views)
        focal_length = max(view.camera.focal_length for view in views)
        volumes = [volume.coarsened(self.distance_mm / focal_length) for volume in self.volumes]
        name = similarity or self.config.similarity
        return BodiesLevel(
            tuple(volumes),
            views,
            tuple(prepare_similarity(name, view.line_integrals, view.mask) for view in views),
            cameras_from_first(views),
            self.links,
            self.backend,
            partial(self.on_work, height),
        )

    def heights(self) -> list[int]:
        """Return the rows of the levels, coarse to fine, no finer than the X-rays."""
        tallest = max(view.camera.height for view in self.views)
        heights = sorted({min(height, tallest) for height in self.config.levels})
        return [height for height in heights if height >= COARSEST_PX] or heights[-1:]


def links_of(bodies: Sequence[Body], has_rest: bool) -> tuple[Link, ...]:
    """Return the priors between bodies; one without a parent hangs on the rest, if there is one."""
    names = {body.name: number + has_rest for number, body in enumerate(bodies)}
    links = []
    for body in bodies:
        if body.parent is None and not has_rest:
            continue
        if body.parent is not None and body.parent not in names:
            continue  # A metal parent: it is found without the others.
        parent = 0 if body.parent is None else names[body.parent]
        ct_from_parent = torch.eye(4, dtype=torch.float64)
        if body.parent is not None:
            ct_from_parent = bodies[parent - has_rest].ct_from_body
        pivot = body.volume.centre
        if body.prior.pivot_mm is not None:
            pivot = torch.tensor(body.prior.pivot_mm, dtype=torch.float64)
        widths = [body.prior.rotation_rad] * 3 + [body.prior.translation_mm] * 3
        links.append(
            Link(
                names[body.name],
                parent,
                se3.inverse(ct_from_parent) @ body.ct_from_body,
                pivot,
                torch.tensor(widths, dtype=torch.float64),
            )
        )
    return tuple(links)


@dataclass(frozen=True, eq=False)
class SolvedBodies:
    """Where bodies and rest were found, and the last levels, weighted as they were found.

    Attributes:
        poses: in the first camera.
        termination: why the solver stopped there.
        whole: all of the X-rays.
        close: what lies close around the bodies; the same without a rest.
    """

    poses: Poses
    termination: TerminationReason
    whole: BodiesLevel
    close: BodiesLevel


def solve_bodies(problem: BodiesProblem, poses: Poses) -> SolvedBodies:
    """Run the solver level by level from one set of poses.

    All bodies move at once: one after the other ends at the same poses, in twice the time.

    Args:
        problem: bodies and X-rays.
        poses: of the first camera, to start from.

    Raises:
        SolverError: nothing is in view, or the problem is degenerate.
    """
    *coarser, last = problem.heights()
    if not problem.has_rest:
        end, level = solve_by_whole_xrays(problem, poses)
        return SolvedBodies(end.poses[0], end.terminations[0], level, level)
    if coarser:
        poses = solve_by_whole_xrays(problem, poses, coarser)[0].poses[0]
    whole = problem.level(last)
    for _ in range(LAST_ROUNDS):
        close = whole.close_around(problem.parts, poses, CLOSE_MM, problem.config.similarity)
        close = close.reweighted(poses)
        end = run_solver(problem, close, poses, problem.parts)
        weighted = whole.reweighted(end.poses[0])
        poses = run_solver(problem, weighted, end.poses[0], [REST]).poses[0]
    return SolvedBodies(poses, end.terminations[0], weighted, close)


def solve_by_whole_xrays(
    problem: BodiesProblem, poses: Poses, heights: Sequence[int] = ()
) -> tuple[LMResult, BodiesLevel]:
    """Move the bodies, but not the rest, by all that X-rays show.

    Args:
        problem: bodies and X-rays.
        poses: of the first camera, to start from.
        heights: of the levels; all if none is given.

    Returns:
        The end at the last of these levels, and that level, weighted as it was found.

    Raises:
        SolverError: nothing is in view, or the problem is degenerate.
    """
    all_heights = problem.heights()
    for height in heights or all_heights:
        level = problem.level(height)
        if height in all_heights[-2:]:
            level = level.reweighted(poses)
        if height != all_heights[-1] and problem.has_rest:
            level = level.with_heavier_links(COARSE_PRIOR)
        end = run_solver(problem, level, poses, problem.parts)
        poses = end.poses[0]
    return end, level


def run_solver(
    problem: BodiesProblem,
    level: BodiesLevel,
    poses: Poses,
    free: Sequence[int],
    max_iterations: int = 30,
    min_reduction: float = MIN_REDUCTION,
) -> LMResult:
    """Return where the solver ends at one level, if those with the numbers `free` may move."""
    config = problem.config

    def linearise(rows: Tensor, widths: Tensor | None) -> NormalEquations:
        return level.linearise(rows, free)

    def move(rows: Tensor, xi: Tensor) -> Tensor:
        return level.move(rows, xi, free)

    settings = LMConfig(
        max_iterations=min(config.max_iterations, max_iterations),
        min_predicted_reduction=min_reduction,
        max_rotation=config.max_rotation_step_rad,
        max_translation=config.max_translation_step_mm / TWIST_LENGTH_MM,
    )
    return levenberg_marquardt(linearise, move, poses[None], settings)


def covariances(level: BodiesLevel, poses: Poses) -> list[Float64[Tensor, '6 6']]:
    """Return the covariance (rad, mm) of each body and of the rest, by the X-rays alone."""
    views = level.without_links().of_views(poses[None], patches=True)
    joint = cluster_robust(views, views_alike(level.camera_from_first))
    units = torch.tensor([1.0] * 3 + [TWIST_LENGTH_MM] * 3, dtype=torch.float64)
    found = []
    for number in range(len(poses)):
        part = slice(6 * number, 6 * number + 6)
        found.append(joint[part, part] * torch.outer(units, units))
    return found
