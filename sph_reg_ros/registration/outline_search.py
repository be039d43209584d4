"""Opaque bodies found from a rough start, and followed from X-ray to X-ray, by their outlines.

From ten degrees off, outlines lie on edges of something else: several starts are tried, and the one
whose outline is an edge all along wins. Right poses explain 0.7 to 0.9 of it, wrong ones half.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.registration.outline_fit import (
    OutlineEvidence,
    OutlineLevel,
    Poses,
    evidence_of,
    fit_outlines,
    shares_explained,
)
from sph_reg_ros.registration.view import View, cameras_from_first
from sph_reg_ros.rendering.outline import Edges

COARSE_MM, MIDDLE_MM, FINE_MM = 1.2, 0.6, 0.3
"""Sizes of pixels at the body."""
FAR_PX, NEAR_PX, CLOSE_PX = 14.0, 10.0, 6.0
"""How far edges may be off at these levels."""
COMPARED_PX = 8.0
"""How far off a stronger edge speaks against a pose."""
OUTWARD = 0.5
"""By how much of their width all edges of a view may lie too far out, or too far in."""
DISTINCT_MM = 2.0


@dataclass(frozen=True)
class OutlineSearch:
    """How opaque bodies are looked for.

    Attributes:
        starts: rough poses of each body, the given one among them.
        survivors: best distinct ones of those that go on to the middle level.
        seed: of the random starts.
    """

    starts: int = 16
    survivors: int = 5
    seed: int = 0


@dataclass(frozen=True, eq=False)
class OutlineFit:
    """Where an opaque body was found.

    Attributes:
        pose: in the first camera.
        evidence: what speaks for it.
        explained: mean share of its outline that is an edge, at the middle level.
        rival_explained: the same of the second best distinct pose; 0 if there is none.
        rival_mm: mean distance of the body's box between both.
    """

    pose: Float64[Tensor, '4 4']
    evidence: OutlineEvidence
    explained: float
    rival_explained: float = 0.0
    rival_mm: float = 0.0


def find_outlines(
    views: Sequence[View],
    bodies: Sequence[Edges],
    starts: Poses,
    widths: Sequence[Float64[Tensor, '6']],
    on_work: Callable[[], None] = lambda: None,
    search: OutlineSearch | None = None,
) -> list[OutlineFit]:
    """Find opaque bodies near rough poses.

    Args:
        views: X-rays with `fixed_from_camera` if several; clipped pixels not masked.
        bodies: their meshes.
        starts: rough poses in the first camera.
        widths: standard deviations of their errors, rotation (rad) and shift (mm), camera axes.
        on_work: called before each piece of work; may raise to stop.
        search: settings.

    Raises:
        BodyError: BODY_OUT_OF_VIEW if a body's start is behind the source or not in the images.
    """
    search = search or OutlineSearch()
    coarse, middle, fine = (
        outline_level(views, bodies, starts, size) for size in (COARSE_MM, MIDDLE_MM, FINE_MM)
    )
    found = [
        _searched(coarse, middle, body, start, width, on_work, search)
        for body, start, width in zip(bodies, starts, widths, strict=True)
    ]
    poses = [ranked[0][1] for ranked in found]
    poses = fit_outlines(middle, bodies, poses, COMPARED_PX, 4)
    poses = fit_outlines(fine, bodies, poses, CLOSE_PX, 12, 0.7)
    evidence = evidence_of(fine, bodies, poses, CLOSE_PX, OUTWARD)
    shares = shares_explained(middle, bodies, poses, COMPARED_PX, 1.0)
    fits = []
    for index, (pose, ranked) in enumerate(zip(poses, found, strict=True)):
        rival = ranked[1] if len(ranked) > 1 else (0.0, pose)
        apart = mean_distance_mm(bodies[index], pose, rival[1])
        fits.append(OutlineFit(pose, evidence[index], _mean(shares[index]), rival[0], apart))
    return fits


def follow_outlines(
    views: Sequence[View], bodies: Sequence[Edges], poses: Poses
) -> list[OutlineFit]:
    """Find opaque bodies in the next X-rays of a sequence, near where they are expected."""
    middle = outline_level(views, bodies, poses, MIDDLE_MM)
    poses = fit_outlines(middle, bodies, poses, NEAR_PX, 10)
    evidence = evidence_of(middle, bodies, poses, COMPARED_PX, OUTWARD)
    return [
        OutlineFit(pose, seen, _mean(seen.explained))
        for pose, seen in zip(poses, evidence, strict=True)
    ]


def outline_level(
    views: Sequence[View], bodies: Sequence[Edges], poses: Poses, pixel_mm: float
) -> OutlineLevel:
    """Return the X-rays with pixels of about a size (mm) at the bodies."""
    others = cameras_from_first(views)
    depths = []
    for view, other in zip(views, others, strict=True):
        centres = torch.stack(
            [
                se3.transform_points(other @ pose, torch.from_numpy(body.centre)[None])[0]
                for body, pose in zip(bodies, poses, strict=True)
            ]
        )
        _require_in_view(centres, view)
        depths.append(float(centres[:, 2].mean()))
    return OutlineLevel.of_views(views, others, depths, pixel_mm)


def mean_distance_mm(body: Edges, pose: Tensor, other: Tensor) -> float:
    """Return the mean distance of the body's box corners between two poses."""
    low, high = (torch.from_numpy(f(0)) for f in (body.vertices.min, body.vertices.max))
    corners = torch.cartesian_prod(*torch.stack([low, high], 1))
    moved = (se3.transform_points(T, corners) for T in (pose, other))
    first, second = moved
    return float((first - second).norm(dim=1).mean())


def _searched(
    coarse: OutlineLevel,
    middle: OutlineLevel,
    body: Edges,
    start: Float64[Tensor, '4 4'],
    widths: Float64[Tensor, '6'],
    on_work: Callable[[], None],
    search: OutlineSearch,
) -> list[tuple[float, Tensor]]:
    """Return distinct poses of the middle level with the share that they explain, best first."""
    generator = torch.Generator().manual_seed(search.seed)
    unit = torch.randn(search.starts - 1, 6, dtype=torch.float64, generator=generator)
    near = se3.apply_twist(
        unit * widths, start.expand(len(unit), 4, 4), torch.from_numpy(body.centre)
    )
    ends = []
    for pose in (start, *near):
        on_work()
        (end,) = fit_outlines(coarse, [body], [pose], FAR_PX, 10, 1.5)
        ends.append((_explained(coarse, body, end), end))
    refined = []
    for _, pose in _distinct(body, ends)[: search.survivors]:
        on_work()
        (end,) = fit_outlines(middle, [body], [pose], NEAR_PX, 10)
        refined.append((_explained(middle, body, end), end))
    return _distinct(body, refined)


def _explained(level: OutlineLevel, body: Edges, pose: Tensor) -> float:
    return _mean(shares_explained(level, [body], [pose], COMPARED_PX, 1.0)[0])


def _distinct(body: Edges, ends: list[tuple[float, Tensor]]) -> list[tuple[float, Tensor]]:
    kept: list[tuple[float, Tensor]] = []
    for share, pose in sorted(ends, key=lambda end: -end[0]):
        if all(mean_distance_mm(body, pose, other) > DISTINCT_MM for _, other in kept):
            kept.append((share, pose))
    return kept


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares)


def _require_in_view(centres: Float64[Tensor, 'n 3'], view: View) -> None:
    pixels = view.camera.project(centres)
    size = torch.tensor([view.camera.width, view.camera.height])
    inside = (centres[:, 2] > 0) & ((pixels > 0) & (pixels < size)).all(1)
    if not bool(inside.all()):
        raise BodyError(
            ErrorCode.BODY_OUT_OF_VIEW,
            f'body {int((~inside).nonzero()[0]) + 1} is not in view where it is expected',
        )
