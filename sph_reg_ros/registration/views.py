"""One level of the pyramid: X-rays and CT at a resolution, and their residuals at a pose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.request import RegistrationRequest, View
from sph_reg_ros.rendering.render import TWIST_LENGTH_MM, render, render_with_jacobian
from sph_reg_ros.similarity import ResidualBlock, ncc, ncc_residual

_SMALLER: WeakKeyDictionary[AttenuationVolume, dict[tuple[int, int, int], AttenuationVolume]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True)
class Level:
    """X-rays and CT at one resolution.

    The unknown is the pose of the first camera; the others follow it rigidly.

    Attributes:
        volume: CT, no finer than the images can show.
        views: X-rays at this resolution.
        camera_from_first: pose of the first camera in each view's camera.
        backend: renderer.
    """

    volume: AttenuationVolume
    views: tuple[View, ...]
    camera_from_first: tuple[Float64[Tensor, '4 4'], ...]
    backend: str

    def linearise(self, first_from_ct: Float64[Tensor, '4 4']) -> list[ResidualBlock]:
        """Return each view's residuals and their derivative by a twist in first-camera axes."""
        return [
            self._linearise_view(view, camera_from_first, first_from_ct)
            for view, camera_from_first in zip(self.views, self.camera_from_first, strict=True)
        ]

    def move(
        self, first_from_ct: Float64[Tensor, '4 4'], xi: Float64[Tensor, '6']
    ) -> Float64[Tensor, '4 4']:
        """Return the pose after a step xi = (omega, v / TWIST_LENGTH_MM)."""
        twist = torch.cat([xi[:3], xi[3:] * TWIST_LENGTH_MM])
        return se3.apply_twist(twist, first_from_ct, self.volume.centre)

    def similarity(self, first_from_ct: Float64[Tensor, '4 4']) -> float:
        """Return the mean normalised cross-correlation of the views."""
        values = []
        for view, camera_from_first in zip(self.views, self.camera_from_first, strict=True):
            camera_from_ct = camera_from_first @ first_from_ct
            K, size = view.camera.K, view.camera.size
            image = render(self.volume, camera_from_ct, K, size, backend=self.backend)
            values.append(ncc(view.line_integrals, image, view.mask))
        return sum(values) / len(values)

    def _linearise_view(
        self, view: View, camera_from_first: Tensor, first_from_ct: Tensor
    ) -> ResidualBlock:
        K, size = view.camera.K, view.camera.size
        image, jacobian = render_with_jacobian(
            self.volume, camera_from_first @ first_from_ct, K, size, backend=self.backend
        )
        block = ncc_residual(view.line_integrals, image, jacobian, view.mask)
        # A twist about the anatomy centre is the same motion in all cameras, seen in other axes.
        R = camera_from_first[:3, :3]
        return replace(block, jacobian=block.jacobian @ torch.block_diag(R, R).double())


def build_level(request: RegistrationRequest, height: int, backend: str) -> Level:
    """Return the X-rays shrunk to at most `height` rows, with a CT to match."""
    first_from_fixed = _first_from_fixed(request.views)
    camera_from_first = tuple(
        torch.eye(4, dtype=torch.float64)
        if index == 0
        else se3.inverse(first_from_fixed @ _fixed_from_camera(view))
        for index, view in enumerate(request.views)
    )
    views = tuple(shrink(view, min(height, view.camera.height)) for view in request.views)
    distance = se3.transform_points(
        request.initial_camera_from_ct, request.volume.centre[None]
    ).norm()
    pixel_mm = float(distance) / max(view.camera.focal_length for view in views)
    return Level(_coarsened(request.volume, pixel_mm), views, camera_from_first, backend)


def shrink(view: View, height: int) -> View:
    """Return a view averaged over blocks of pixels to `height` rows, aspect ratio kept."""
    if height == view.camera.height:
        return view
    width = max(1, round(view.camera.width * height / view.camera.height))
    usable = torch.ones_like(view.line_integrals) if view.mask is None else view.mask.float()
    weight = _mean_over_blocks(usable, height, width)
    total = _mean_over_blocks(view.line_integrals * usable, height, width)
    mask: Bool[Tensor, 'H W'] | None = None if view.mask is None else weight > 0.5
    camera: Camera = view.camera.rescale(height, width)
    return View(total / weight.clamp(min=1e-6), camera, mask, view.fixed_from_camera)


def _mean_over_blocks(image: Tensor, height: int, width: int) -> Tensor:
    return torch.nn.functional.interpolate(image[None, None], (height, width), mode='area')[0, 0]


def _coarsened(volume: AttenuationVolume, pixel_mm: float) -> AttenuationVolume:
    """Return the CT averaged to voxels of about a pixel's size at the anatomy, cached."""
    i, j, k = (max(1, int(pixel_mm / spacing)) for spacing in volume.spacing_mm)
    if max(i, j, k) == 1:
        return volume
    known = _SMALLER.setdefault(volume, {})
    if (i, j, k) not in known:
        known[i, j, k] = volume.downsampled((i, j, k))
    return known[i, j, k]


def _first_from_fixed(views: Sequence[View]) -> Float64[Tensor, '4 4']:
    return se3.inverse(_fixed_from_camera(views[0]))


def _fixed_from_camera(view: View) -> Float64[Tensor, '4 4']:
    if view.fixed_from_camera is None:
        return torch.eye(4, dtype=torch.float64)
    return view.fixed_from_camera.double()
