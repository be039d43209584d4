"""Several bodies and X-rays at one resolution: one image, six unknowns a body."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.geometry import se3, so3
from sph_reg_ros.geometry.moved import moved
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.view import View, usable_part
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.similarity import (
    ImageSimilarity,
    NormalEquations,
    ResidualBlock,
    of_blocks,
    prepare_similarity,
    sum_of,
)

BodyPoses = Float64[Tensor, 'B n 4 4']
_FAINT = 0.01
"""Share of a body's darkest line integral that shows it."""
PRIOR_WEIGHT = 1e-5
"""Similarity that one standard deviation, squared, is worth."""


@dataclass(frozen=True, eq=False)
class Link:
    """How far one body may have moved against another.

    Attributes:
        child: number of the body.
        parent: number of the one that it hangs on; None: the first camera, which does not move.
        parent_from_child: [4, 4] where it is expected (mm).
        pivot_mm: what it turns about [3], child coordinates.
        deviations: standard deviations [6] of rotation (rad) and of the pivot (mm), parent axes.
        weight: similarity that one standard deviation, squared, is worth.
    """

    child: int
    parent: int | None
    parent_from_child: Float64[Tensor, '4 4']
    pivot_mm: Float64[Tensor, '3']
    deviations: Float64[Tensor, '6']
    weight: float = PRIOR_WEIGHT


@dataclass(frozen=True, eq=False)
class BodiesLevel:
    """X-rays and bodies; a pose is [n, 4, 4], that of each body in the first camera.

    Attributes:
        volumes: of the bodies, no finer than the images can show.
        views: X-rays at this resolution.
        similarities: what compares renderings with each X-ray.
        camera_from_first: pose of the first camera in each view's camera.
        links: priors between bodies.
        backend: renderer.
        on_work: called before each rendering and comparison; may raise to stop.
        seen: last image of each body without derivative, with its pose, by body and view.
    """

    volumes: tuple[AttenuationVolume, ...]
    views: tuple[View, ...]
    similarities: tuple[ImageSimilarity, ...]
    camera_from_first: tuple[Float64[Tensor, '4 4'], ...]
    links: tuple[Link, ...]
    backend: str
    on_work: Callable[[], None] = lambda: None
    seen: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def with_similarity(self, name: str) -> 'BodiesLevel':
        """Return the level with another similarity, by its name."""
        found = tuple(prepare_similarity(name, v.line_integrals, v.mask) for v in self.views)
        return replace(self, similarities=found)

    def without_links(self) -> 'BodiesLevel':
        """Return the level with the X-rays as all that is known."""
        return replace(self, links=())

    def with_heavier_links(self, times: float) -> 'BodiesLevel':
        """Return the level with priors that weigh so many times as much."""
        heavier = (replace(link, weight=times * link.weight) for link in self.links)
        return replace(self, links=tuple(heavier))

    def reweighted(self, poses: Float64[Tensor, 'n 4 4']) -> 'BodiesLevel':
        """Return the level with low weights where the X-rays show what the bodies lack."""
        pairs = zip(self.similarities, range(len(self.views)), strict=True)
        found = tuple(one.reweighted(self.image(poses, view)) for one, view in pairs)
        return replace(self, similarities=found)

    def close_around(
        self,
        bodies: Sequence[int],
        poses: Float64[Tensor, 'n 4 4'],
        margin_mm: float,
        similarity: str,
    ) -> 'BodiesLevel':
        """Return the level with what X-rays show of some bodies and a margin around them.

        A view that shows none of them is left as it is.
        """
        views = []
        for index, view in enumerate(self.views):
            images = torch.stack([self.image_of(poses, index, body) for body in bodies])
            shown = images > _FAINT * images.amax((1, 2), keepdim=True)
            placed = self.camera_from_first[index] @ poses
            centres = [
                se3.transform_points(placed[body], self.volumes[body].centre[None])[0, 2]
                for body in bodies
            ]
            depth_mm = sum(map(float, centres)) / len(centres)
            reach = max(1, round(margin_mm * view.camera.focal_length / depth_mm))
            near = torch.nn.functional.max_pool2d(
                shown.any(0)[None].float(), 2 * reach + 1, 1, reach
            )[0]
            mask = near > 0 if view.mask is None else (near > 0) & view.mask
            views.append(usable_part(replace(view, mask=mask)) if bool(shown.any()) else view)
        return replace(self, views=tuple(views), seen={}).with_similarity(similarity)

    def scores(self, poses: Float64[Tensor, 'n 4 4']) -> list[float]:
        """Return the similarity of each view at poses."""
        images = (self.image(poses, view).float()[None] for view in range(len(self.views)))
        pairs = zip(self.similarities, images, strict=True)
        return [float(similarity.score(image)[0]) for similarity, image in pairs]

    def image(self, poses: Float64[Tensor, 'n 4 4'], view: int) -> Float[Tensor, 'H W']:
        """Return the sum of the bodies' line integrals in a view."""
        images = [self.image_of(poses, view, body) for body in range(len(poses))]
        return torch.stack(images).sum(0)

    def image_of(
        self, poses: Float64[Tensor, 'n 4 4'], view: int, body: int
    ) -> Float[Tensor, 'H W']:
        """Return the line integrals of one body in a view."""
        self.on_work()
        there = self.camera_from_first[view] @ poses[body]
        return self._unmoved(body, view, there[None])[0].cpu()

    def linearise(self, poses: BodyPoses, only: Sequence[int] | None = None) -> NormalEquations:
        """Return the normal equations of all views and links, by a twist a body.

        Args:
            poses: rows of poses.
            only: bodies whose columns are wanted; all if None.
        """
        parts = self.of_views(poses, only=only)
        if self.links:
            blocks = [_linked(self.links, row, len(self.views), self.volumes) for row in poses]
            parts.append(_columns(of_blocks(blocks, 6 * len(self.volumes)), only))
        return sum_of(parts)

    def of_views(
        self, poses: BodyPoses, *, only: Sequence[int] | None = None, patches: bool = False
    ) -> list[NormalEquations]:
        """Return the normal equations of each view."""
        chosen = range(len(self.volumes)) if only is None else only
        found = []
        for index in range(len(self.views)):
            images, jacobians = self._rendered(poses, index, chosen)
            self.on_work()
            equations = self.similarities[index].normal_equations(images, jacobians, None, patches)
            if index > 0:
                R = self.camera_from_first[index][:3, :3]
                equations = equations.of_unknowns(torch.block_diag(*[R] * (2 * len(chosen))))
            found.append(equations)
        return found

    def _rendered(
        self, poses: BodyPoses, view: int, chosen: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        camera, other = self.views[view].camera, self.camera_from_first[view]
        total, columns = torch.zeros(len(poses), *camera.size), []
        for body, volume in enumerate(self.volumes):
            there = other @ poses[:, body]
            arguments = (volume, there, camera.K, camera.size)
            self.on_work()
            if body in chosen:
                image, jacobian = render_with_jacobian(*arguments, backend=self.backend)
                columns.append(jacobian.cpu())
            else:
                image = self._unmoved(body, view, there)
            total += image.cpu()
        return total, torch.cat(columns, -1)

    def _unmoved(self, body: int, view: int, poses: Float64[Tensor, 'B 4 4']) -> Tensor:
        known = self.seen.get((body, view))
        if known is None or not torch.equal(known[0], poses):
            camera = self.views[view].camera
            volume = self.volumes[body]
            image = render(volume, poses, camera.K, camera.size, backend=self.backend)
            known = self.seen[body, view] = (poses, image)
        return known[1]

    def move(
        self, poses: BodyPoses, xi: Float64[Tensor, 'B m'], only: Sequence[int] | None = None
    ) -> BodyPoses:
        """Return the poses after a step (omega, v / TWIST_LENGTH_MM) of each chosen body."""
        after = poses.clone()
        for place, body in enumerate(range(len(self.volumes)) if only is None else only):
            part = xi[:, 6 * place : 6 * place + 6]
            twist = torch.cat([part[:, :3], part[:, 3:] * TWIST_LENGTH_MM], -1)
            after[:, body] = moved(poses[:, body], twist, self.volumes[body].centre)
        return after


def _columns(equations: NormalEquations, only: Sequence[int] | None) -> NormalEquations:
    if only is None:
        return equations
    identity = torch.eye(equations.gradient.shape[-1], dtype=torch.float64)
    return equations.of_unknowns(identity[:, [6 * body + k for body in only for k in range(6)]])


def _linked(
    links: Sequence[Link],
    poses: Float64[Tensor, 'n 4 4'],
    views: int,
    volumes: Sequence[AttenuationVolume],
) -> ResidualBlock:
    """Return six residuals a link; a view's own cost is twice what its similarity lacks to 1."""
    n, residuals, rows = len(poses), [], []
    camera = torch.eye(4, dtype=torch.float64)
    for link in links:
        child = poses[link.child]
        parent = camera if link.parent is None else poses[link.parent]
        motion = se3.inverse(parent) @ child @ se3.inverse(link.parent_from_child)
        pivot = se3.transform_points(link.parent_from_child, link.pivot_mm[None])[0]
        turn = so3.log(motion[:3, :3])
        displacement = torch.cat([turn, motion[:3, :3] @ pivot + motion[:3, 3] - pivot])
        scale = (2 * max(views, 1) * link.weight) ** 0.5 / link.deviations
        R = parent[:3, :3].T
        at = se3.transform_points(child, link.pivot_mm[None])[0]
        J = torch.zeros(6, 6 * n, dtype=torch.float64)
        for body, sign in ((link.child, 1.0), (link.parent, -1.0)):
            if body is None:
                continue
            centre = se3.transform_points(poses[body], volumes[body].centre[None])[0]
            J[:3, 6 * body : 6 * body + 3] = sign * so3.left_jacobian_inverse(turn) @ R
            J[3:, 6 * body : 6 * body + 3] = -sign * R @ so3.hat(at - centre)
            J[3:, 6 * body + 3 : 6 * body + 6] = sign * TWIST_LENGTH_MM * R
        residuals.append(scale * displacement)
        rows.append(scale[:, None] * J)
    residual = torch.cat(residuals)
    return ResidualBlock(residual, torch.cat(rows), torch.arange(len(residual)))
