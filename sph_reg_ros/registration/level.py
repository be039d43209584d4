"""X-rays and CT at one resolution: similarity, residuals and their derivative at a pose."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.prior import PosePrior
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.along_rays import without_motion_along_rays
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.rendering.sampling import unit_directions
from sph_reg_ros.similarity import ImageSimilarity, ResidualBlock, prepare_similarity
from sph_reg_ros.similarity.robust import RobustKernel, robust_cost

RIVALS_SIMILARITY = 'local_ncc'
"""What rivals are compared by: a fitted intensity curve would let wrong poses look right where an
instrument covers much, the patches that it does not cover still tell."""
PIXELS_AT_A_TIME = 2**17
"""Of many renderings: so much is done in some hundredths of a second, and reported in between."""
REMEMBERED = 2
"""Poses whose renderings are kept: the solver's best and the one it has tried last."""

Rendering = tuple[Float[Tensor, 'H W'], Float[Tensor, 'H W 6']]


def _unheard(level: 'Level') -> None:
    """Report to nobody."""


@dataclass(frozen=True, eq=False)
class Level:
    """X-rays and CT at one resolution.

    The unknown is the pose of the first camera; the others follow it rigidly.

    Attributes:
        volume: CT, no finer than the images can show.
        views: X-rays at this resolution.
        similarities: what compares a rendering with each X-ray.
        camera_from_first: pose of the first camera in each view's camera.
        backend: renderer.
        prior: what is known of the first camera's pose beside the views.
        on_work: called with the level before each piece of work on a view: to render it, to compare
            it, to derive either; may raise to stop. That is what takes the time of a registration
            and of its checks.
        recent: poses rendered last, newest at the end, with the rendering of each view.
    """

    volume: AttenuationVolume
    views: tuple[View, ...]
    similarities: tuple[ImageSimilarity, ...]
    camera_from_first: tuple[Float64[Tensor, '4 4'], ...]
    backend: str
    prior: PosePrior | None = None
    on_work: Callable[['Level'], None] = _unheard
    recent: list[tuple[Tensor, list[Rendering]]] = field(default_factory=list, repr=False)

    @property
    def height(self) -> int:
        """Return the rows of the first view."""
        return self.views[0].camera.height

    @cached_property
    def for_rivals(self) -> 'Level':
        """Return the level with the similarity that compares poses far from each other best."""
        return self.by(RIVALS_SIMILARITY)

    @property
    def without_prior(self) -> 'Level':
        """Return the level with the X-rays as all that is known; itself if they are."""
        return self if self.prior is None else replace(self, prior=None)

    def by(self, similarity: str) -> 'Level':
        """Return the level with another similarity, by its name."""
        self.on_work(self)
        similarities = tuple(
            prepare_similarity(similarity, view.line_integrals.cpu(), view.mask)
            for view in self.views
        )
        return replace(self, similarities=similarities)

    def linearise(self, first_from_ct: Float64[Tensor, '4 4']) -> list[ResidualBlock]:
        """Return the residuals of each view, and of a prior, by a twist in first-camera axes."""
        blocks = []
        for index, (image, jacobian) in enumerate(self.renderings(first_from_ct)):
            block = self.residuals(index, image, jacobian)
            # A twist about the anatomy centre is the same motion in all cameras, in other axes.
            R = self.camera_from_first[index][:3, :3].to(block.jacobian.dtype)
            if index > 0:
                block = replace(block, jacobian=block.jacobian @ torch.block_diag(R, R))
            blocks.append(block)
        if self.prior is not None:
            blocks.append(self.prior.residuals(first_from_ct, self.volume.centre, len(self.views)))
        return blocks

    def residuals(
        self, index: int, image: Float[Tensor, 'H W'], jacobian: Float[Tensor, 'H W p']
    ) -> ResidualBlock:
        """Return the residuals of a rendering of one view, and their derivative."""
        self.on_work(self)
        return self.similarities[index].residuals(image, jacobian)

    def move(
        self, first_from_ct: Float64[Tensor, '4 4'], xi: Float64[Tensor, '6']
    ) -> Float64[Tensor, '4 4']:
        """Return the pose after a step xi = (omega, v / TWIST_LENGTH_MM)."""
        twist = torch.cat([xi[:3], xi[3:] * TWIST_LENGTH_MM])
        return se3.apply_twist(twist, first_from_ct, self.volume.centre)

    def scores(self, first_from_ct: Float64[Tensor, 'B 4 4']) -> Float64[Tensor, 'B']:
        """Return the mean similarity of the views at each pose, -1 if a rendering is constant."""
        of_views = []
        for index, view in enumerate(self.views):
            poses = self.camera_from_first[index] @ first_from_ct
            images = self.images(poses, view.camera).float()
            of_views.append(self.similarities[index].score(images).double())
        scores = torch.stack(of_views)
        return torch.where((scores > -1).all(0), scores.mean(0), -1.0)

    def images(
        self, camera_from_ct: Float64[Tensor, 'B 4 4'], camera: Camera
    ) -> Float[Tensor, 'B H W']:
        """Return renderings of the CT at many poses of a camera, on the CPU."""
        at_a_time = max(1, PIXELS_AT_A_TIME // (camera.height * camera.width))
        parts = []
        for poses in camera_from_ct.split(at_a_time):
            self.on_work(self)
            rendered = render(self.volume, poses, camera.K, camera.size, backend=self.backend)
            parts.append(rendered.cpu())
        return torch.cat(parts)

    def score(self, first_from_ct: Float64[Tensor, '4 4']) -> float:
        """Return the mean similarity of the views at a pose that may just have been rendered."""
        scores = [
            float(similarity.score(image[None]))
            for similarity, (image, _) in zip(
                self.similarities, self.renderings(first_from_ct), strict=True
            )
        ]
        return sum(scores) / len(scores) if min(scores) > -1 else -1.0

    def cost(self, first_from_ct: Float64[Tensor, '4 4']) -> float:
        """Return the sum of squared residuals at a pose, as LMResult.cost counts it."""
        blocks, none = self.linearise(first_from_ct), RobustKernel.NONE
        return sum(float(robust_cost(block, none, torch.ones(()))) for block in blocks)

    def reweighted(self, first_from_ct: Float64[Tensor, '4 4']) -> 'Level':
        """Return the level with low weights where the X-rays show what the CT lacks.

        Judged at a pose that is nearly right.
        """
        renderings = self.renderings(first_from_ct)
        self.on_work(self)
        similarities = tuple(
            similarity.reweighted(image)
            for similarity, (image, _) in zip(self.similarities, renderings, strict=True)
        )
        return replace(self, similarities=similarities)

    def renderings(self, first_from_ct: Float64[Tensor, '4 4']) -> list[Rendering]:
        """Return image and Jacobian of each view, in its own camera's axes."""
        for pose, known in self.recent:
            if torch.equal(pose, first_from_ct):
                return known
        found = [
            self._render(view, rays, camera_from_first @ first_from_ct)
            for view, rays, camera_from_first in zip(
                self.views, self._rays, self.camera_from_first, strict=True
            )
        ]
        self.recent.append((first_from_ct, found))
        del self.recent[:-REMEMBERED]
        return found

    @cached_property
    def _rays(self) -> tuple[Float64[Tensor, 'H W 3'], ...]:
        return tuple(unit_directions(view.camera.K, view.camera.size) for view in self.views)

    def _render(self, view: View, rays: Tensor, camera_from_ct: Tensor) -> Rendering:
        self.on_work(self)
        image, jacobian = render_with_jacobian(
            self.volume, camera_from_ct, view.camera.K, view.camera.size, backend=self.backend
        )
        centre = se3.transform_points(camera_from_ct, self.volume.centre[None])[0]
        smooth = without_motion_along_rays(jacobian.cpu(), centre, rays, TWIST_LENGTH_MM)
        return image.cpu(), smooth
