"""X-rays and CT at one resolution: similarities and normal equations at rows of poses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.moved import moved
from sph_reg_ros.geometry.se3 import TWIST_LENGTH_MM
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.prior import PosePrior
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.similarity import (
    ImageSimilarity,
    NormalEquations,
    Robust,
    prepare_similarity,
    sum_of,
)
from sph_reg_ros.similarity.robust import is_robust
from sph_reg_ros.similarity.rows import by_tensor, on_host

COARSE_SIMILARITY = 'local_ncc'
"""What poses far from each other are compared by: a fitted intensity curve would let wrong poses
look right where an instrument covers much, the patches that it does not cover still tell."""
PIXELS_AT_A_TIME = 2**17
"""Of many renderings: so much is done in some hundredths of a second, and reported in between."""
REMEMBERED = 2
"""Batches of poses whose renderings are kept: the solver's best pose is mostly in one of them."""


def _unheard(level: 'Level') -> None:
    """Report to nobody."""


@dataclass(frozen=True, eq=False)
class Renderings:
    """A batch of poses of the first camera with what each view shows there.

    Attributes:
        poses: camera_from_ct of the first camera.
        views: image and Jacobian of each view, in its own camera's axes.
    """

    poses: Float64[Tensor, 'B 4 4']
    views: tuple[tuple[Float[Tensor, 'B H W'], Float[Tensor, 'B H W 6']], ...]

    def of_pose(self, pose: Float64[Tensor, '4 4']) -> 'Renderings | None':
        """Return the row of a pose, None if there is none."""
        rows = (row for row, known in enumerate(self.poses) if torch.equal(known, pose))
        return next(map(self.row, rows), None)

    def row(self, number: int) -> 'Renderings':
        """Return one pose with what is shown there."""
        only = slice(number, number + 1)
        views = tuple((image[only], jacobian[only]) for image, jacobian in self.views)
        return Renderings(self.poses[only], views)


@dataclass(frozen=True, eq=False)
class Level:
    """X-rays and CT at one resolution.

    The unknown is the pose of the first camera; the others follow it rigidly.

    Attributes:
        volume: CT, no finer than the images can show.
        views: X-rays at this resolution.
        similarities: what compares renderings with each X-ray.
        camera_from_first: pose of the first camera in each view's camera.
        backend: renderer.
        prior: what is known of the first camera's pose beside the views.
        on_work: called with the level before each piece of work on a view: to render it, to compare
            it, to derive either; may raise to stop. That is what takes the time of a registration
            and of its checks.
        render_cache: batches rendered last, newest at the end; levels that differ in the similarity
            share it.
    """

    volume: AttenuationVolume
    views: tuple[View, ...]
    similarities: tuple[ImageSimilarity, ...]
    camera_from_first: tuple[Float64[Tensor, '4 4'], ...]
    backend: str
    prior: PosePrior | None = None
    on_work: Callable[['Level'], None] = _unheard
    render_cache: list[Renderings] = field(default_factory=list, repr=False)

    @property
    def height(self) -> int:
        """Return the rows of the first view."""
        return self.views[0].camera.height

    @cached_property
    def coarse_similarity(self) -> 'Level':
        """Return the level with the similarity that compares poses far from each other best."""
        return self.with_similarity(COARSE_SIMILARITY)

    @property
    def without_prior(self) -> 'Level':
        """Return the level with the X-rays as all that is known; itself if they are."""
        return self if self.prior is None else replace(self, prior=None)

    def with_similarity(self, similarity: str) -> 'Level':
        """Return the level with another similarity, by its name."""
        self.on_work(self)
        similarities = tuple(
            prepare_similarity(similarity, view.line_integrals, view.mask) for view in self.views
        )
        return replace(self, similarities=similarities)

    def of_view(self, number: int) -> 'Level':
        """Return the level with one view only."""
        only = slice(number, number + 1)
        return replace(
            self,
            views=self.views[only],
            similarities=self.similarities[only],
            camera_from_first=self.camera_from_first[only],
            render_cache=[],
        )

    def linearise(
        self,
        first_from_ct: Float64[Tensor, 'B 4 4'],
        robust: Robust | None = None,
        *,
        seen: bool = False,
    ) -> NormalEquations:
        """Return the normal equations of all views and of a prior, by twists in first-camera axes.

        Args:
            first_from_ct: poses.
            robust: kernel of the residuals, widths [B, views], one more with a prior.
            seen: whether to look if poses have been rendered before.
        """
        parts = []
        for rows in self._batches(len(first_from_ct)):
            of_rows = robust
            if robust is not None and robust.widths is not None:
                of_rows = replace(robust, widths=robust.widths[rows])
            parts.append(sum_of(self.of_views(first_from_ct[rows], of_rows, seen=seen)))
        return parts[0] if len(parts) == 1 else by_tensor(lambda *t: torch.cat(t), *parts)

    def of_views(
        self,
        first_from_ct: Float64[Tensor, 'B 4 4'],
        robust: Robust | None = None,
        *,
        patches: bool = False,
        seen: bool = False,
    ) -> list[NormalEquations]:
        """Return the normal equations of each view, and of a prior.

        Args:
            first_from_ct: no more poses than may be rendered at a time.
            robust: as in `linearise`.
            patches: whether gradients of patches are wanted.
            seen: as in `linearise`.
        """
        renderings = self.renderings(first_from_ct, seen=seen)
        found = []
        for index, (images, jacobians) in enumerate(renderings.views):
            self.on_work(self)
            equations = self.equations(
                index, images, jacobians, _of_part(robust, index), patches=patches
            )
            if index > 0:
                # A twist about the anatomy centre is the same motion in all cameras, in other axes.
                R = self.camera_from_first[index][:3, :3]
                equations = equations.of_unknowns(torch.block_diag(R, R))
            found.append(equations)
        if self.prior is not None:
            centre, own = self.volume.centre, _of_part(robust, len(self.views))
            found.append(
                self.prior.normal_equations(first_from_ct, centre, len(self.views), own, patches)
            )
        return found

    @cached_property
    def _placed(self) -> tuple[ImageSimilarity, ...]:
        """Return the similarities as they take renderings, on the device of the CT."""
        return tuple(part.on(self.volume.device) for part in self.similarities)

    def equations(
        self,
        index: int,
        images: Float[Tensor, 'B H W'],
        jacobians: Float[Tensor, 'B H W n'],
        robust: Robust | None = None,
        *,
        patches: bool = False,
    ) -> NormalEquations:
        """Return the normal equations of renderings of a view, on the host."""
        if is_robust(robust):
            # Medians of residuals, one rendering after the other: nothing for a GPU.
            similarity = self.similarities[index]
            return similarity.normal_equations(images.cpu(), jacobians.cpu(), robust, patches)
        return on_host(self._placed[index].normal_equations(images, jacobians, None, patches))

    def move(
        self, first_from_ct: Float64[Tensor, 'B 4 4'], xi: Float64[Tensor, 'B 6']
    ) -> Float64[Tensor, 'B 4 4']:
        """Return the poses after steps xi = (omega, v / TWIST_LENGTH_MM)."""
        twist = torch.cat([xi[..., :3], xi[..., 3:] * TWIST_LENGTH_MM], -1)
        return moved(first_from_ct, twist, self.volume.centre)

    def scores(self, first_from_ct: Float64[Tensor, 'B 4 4']) -> Float64[Tensor, 'B']:
        """Return the mean similarity of the views at each pose, -1 if a rendering is constant."""
        of_views = []
        for index, view in enumerate(self.views):
            poses = self.camera_from_first[index] @ first_from_ct
            images = self.images(poses, view.camera).float()
            of_views.append(self._placed[index].score(images).double().cpu())
        return _mean_of(of_views)

    def images(
        self, camera_from_ct: Float64[Tensor, 'B 4 4'], camera: Camera
    ) -> Float[Tensor, 'B H W']:
        """Return renderings of the CT at many poses of a camera, on the CT's device."""
        parts = []
        for rows in self._batches(len(camera_from_ct), camera):
            self.on_work(self)
            poses = camera_from_ct[rows]
            rendered = render(
                self.volume,
                poses,
                camera.K,
                camera.size,
                backend=self.backend,
                scan_depth_mm=camera.scan_depth_mm,
            )
            parts.append(rendered)
        return torch.cat(parts)

    def score(self, first_from_ct: Float64[Tensor, '4 4']) -> float:
        """Return the mean similarity of the views at a pose that may have been rendered."""
        renderings = self.renderings(first_from_ct[None], seen=True)
        pairs = zip(self._placed, renderings.views, strict=True)
        return float(_mean_of([similarity.score(images) for similarity, (images, _) in pairs]))

    def reweighted(self, first_from_ct: Float64[Tensor, '4 4']) -> 'Level':
        """Return the level with low weights where the X-rays show what the CT lacks.

        Judged at a pose that is nearly right.
        """
        renderings = self.renderings(first_from_ct[None], seen=True)
        self.on_work(self)
        similarities = tuple(
            similarity.reweighted(images[0].cpu())
            for similarity, (images, _) in zip(self.similarities, renderings.views, strict=True)
        )
        return replace(self, similarities=similarities)

    def renderings(
        self, first_from_ct: Float64[Tensor, 'B 4 4'], *, seen: bool = False
    ) -> Renderings:
        """Return images and Jacobians of each view; `seen` as in `linearise`."""
        known = [self._known(pose) if seen else None for pose in first_from_ct]
        found = [row for row in known if row is not None]
        if len(found) == len(known):
            return found[0] if len(found) == 1 else _joined(first_from_ct, found)
        unknown = [number for number, row in enumerate(known) if row is None]
        new = first_from_ct[unknown] if found else first_from_ct
        views = zip(self.views, self.camera_from_first, strict=True)
        made = Renderings(new, tuple(self._render(view, other @ new) for view, other in views))
        if found:
            rows = (made.row(number) for number in range(len(new)))
            made = _joined(first_from_ct, [row or next(rows) for row in known])
        self.render_cache.append(made)
        del self.render_cache[:-REMEMBERED]
        return made

    def _known(self, first_from_ct: Float64[Tensor, '4 4']) -> Renderings | None:
        """Return what was rendered at a pose, None if that is forgotten."""
        found = (known.of_pose(first_from_ct) for known in reversed(self.render_cache))
        return next(filter(None, found), None)

    def _render(
        self, view: View, camera_from_ct: Float64[Tensor, 'B 4 4']
    ) -> tuple[Tensor, Tensor]:
        self.on_work(self)
        return render_with_jacobian(
            self.volume,
            camera_from_ct,
            view.camera.K,
            view.camera.size,
            backend=self.backend,
            scan_depth_mm=view.camera.scan_depth_mm,
        )

    def _batches(self, poses: int, camera: Camera | None = None) -> Iterator[slice]:
        """Yield rows that may be rendered at a time, by one camera or by that of each view."""
        cameras = [view.camera for view in self.views] if camera is None else [camera]
        most = max(1, PIXELS_AT_A_TIME // max(camera.height * camera.width for camera in cameras))
        for first in range(0, poses, most):
            yield slice(first, first + most)


def _joined(poses: Float64[Tensor, 'B 4 4'], rows: Sequence[Renderings]) -> Renderings:
    """Return a batch of renderings of a pose each."""
    views = []
    for of_view in zip(*(row.views for row in rows), strict=True):
        images, jacobians = zip(*of_view, strict=True)
        # In memory, derivatives by one unknown are images.
        planes = torch.cat([jacobian.movedim(-1, 1) for jacobian in jacobians])
        views.append((torch.cat(images), planes.movedim(1, -1)))
    return Renderings(poses, tuple(views))


def _of_part(robust: Robust | None, index: int) -> Robust | None:
    if robust is None or robust.widths is None:
        return robust
    return replace(robust, widths=robust.widths[:, index : index + 1])


def _mean_of(scores: Sequence[Float[Tensor, 'B']]) -> Float64[Tensor, 'B']:
    """Return the mean of the views' scores, -1 where one of them is."""
    of_views = torch.stack([score.double() for score in scores])
    return torch.where((of_views > -1).all(0), of_views.mean(0), -1.0)
