"""Reference renderer in plain torch: any float type, any device, twice differentiable.

Trilinear interpolation is gathered by hand because torch's 3D grid_sample has no forward-mode
derivative and is not twice differentiable everywhere.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.rendering.sampling import (
    SampleRange,
    padded_index_from_camera,
    sample_range,
    unit_rays,
)

_SAMPLES_AT_ONCE = 2_000_000


def render(
    volume: AttenuationVolume,
    camera_from_ct: Float[Tensor, 'B 4 4'],
    K: Float[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
    scan_depth_mm: float = 0.0,
) -> Float[Tensor, 'B H W']:
    """Render line integrals in the dtype of `camera_from_ct`."""
    images = []
    for pose in camera_from_ct:
        scene = _Scene(volume, pose, K, size, step_mm, scan_depth_mm)
        images.append(torch.cat([scene.image(rays) for rays in scene.chunks()]).reshape(size))
    return torch.stack(images)


def render_with_jacobian(
    volume: AttenuationVolume,
    camera_from_ct: Float[Tensor, 'B 4 4'],
    K: Float[Tensor, '3 3'],
    size: tuple[int, int],
    step_mm: float | None,
    scan_depth_mm: float = 0.0,
) -> tuple[Float[Tensor, 'B H W'], Float[Tensor, 'B H W 6']]:
    """Render line integrals and their derivative by (omega rad, v mm), see `jacobian_from_sums`."""
    images, jacobians = [], []
    for pose in camera_from_ct:
        scene = _Scene(volume, pose, K, size, step_mm, scan_depth_mm)
        centre = se3.transform_points(pose, volume.centre[None].to(pose))[0]
        for rays in scene.chunks():
            image, G, H = scene.image_and_gradient_sums(rays)
            images.append(image)
            jacobians.append(jacobian_from_sums(G, H, rays.directions, centre - rays.sources))
    shape = (len(camera_from_ct), *size)
    return torch.cat(images).reshape(shape), torch.cat(jacobians).reshape(*shape, 6)


def jacobian_from_sums(
    G: Float[Tensor, 'n 3'],
    H: Float[Tensor, 'n 3'],
    directions: Float[Tensor, 'n 3'],
    centre: Float[Tensor, 'n 3'],
) -> Float[Tensor, 'n 6']:
    """Return d(line integral)/d(omega, v) of a left twist about `centre`, all in camera axes.

    With g = grad V and the sample y = t c, a twist moves the anatomy by omega x (y - centre) + v
    and the density seen at y by minus that: dI/dv = -G and dI/domega = -(c x H - centre x G), with
    the ray sums G = sum g ds and H = sum t g ds. The centre is measured from the ray's source.
    """
    omega = torch.linalg.cross(centre, G) - torch.linalg.cross(directions, H)
    return torch.cat([omega, -G], -1)


class _Rays(NamedTuple):
    directions: Float[Tensor, 'n 3']
    sources: Float[Tensor, 'n 3']


class _Scene:
    def __init__(
        self,
        volume: AttenuationVolume,
        camera_from_ct: Float[Tensor, '4 4'],
        K: Float[Tensor, '3 3'],
        size: tuple[int, int],
        step_mm: float | None,
        scan_depth_mm: float,
    ) -> None:
        dtype, device = camera_from_ct.dtype, volume.device
        padded = volume.zero_padded.to(dtype)
        self.values = padded.flatten()
        self.dims = torch.tensor(padded.shape[::-1], device=device)
        self.strides = torch.tensor(
            [1, padded.shape[2], padded.shape[1] * padded.shape[2]], device=device
        )
        self.index_from_camera = padded_index_from_camera(volume, camera_from_ct).to(device)
        directions, sources_y = unit_rays(K.cpu().double(), size, scan_depth_mm)
        self.directions = directions.reshape(-1, 3).to(dtype).to(device)
        self.sources = torch.zeros_like(self.directions)
        self.sources[:, 1] = sources_y.flatten().to(self.sources)
        self.samples: SampleRange = sample_range(
            volume, camera_from_ct.double().cpu(), step_mm, float(sources_y.abs().max())
        )
        self.t = (torch.arange(self.samples.first, self.samples.last, device=device) + 0.5).to(
            dtype
        ) * self.samples.step_mm

    def chunks(self) -> Iterator['_Rays']:
        """Split the rays so that one chunk's samples fit in memory."""
        most = max(1, _SAMPLES_AT_ONCE // max(1, len(self.t)))
        parts = zip(self.directions.split(most), self.sources.split(most), strict=True)
        return itertools.starmap(_Rays, parts)

    def image(self, rays: '_Rays') -> Float[Tensor, 'n']:
        corners, fraction = self._fetch(rays)
        return _interpolate(corners, fraction).sum(-1) * self.samples.step_mm

    def image_and_gradient_sums(self, rays: '_Rays') -> tuple[Tensor, Tensor, Tensor]:
        """Return the image [n] and the sums G and H [n, 3] in camera axes."""
        corners, fraction = self._fetch(rays)
        step = self.samples.step_mm
        gradient = _gradient(corners, fraction) @ self.index_from_camera[:3, :3]
        G = gradient.sum(1) * step
        H = (gradient * self.t[:, None]).sum(1) * step
        return _interpolate(corners, fraction).sum(-1) * step, G, H

    def _fetch(self, rays: '_Rays') -> tuple[Tensor, Tensor]:
        """Return the eight corner values [n, s, 2, 2, 2] (k, j, i) and the fractions [n, s, 3]."""
        points = rays.sources[:, None] + rays.directions[:, None] * self.t[:, None]
        index = points @ self.index_from_camera[:3, :3].T + self.index_from_camera[:3, 3]
        base = index.detach().floor()
        inside = ((base >= 0) & (base <= self.dims - 2)).all(-1)
        fraction = index - base
        start = (base.long().clamp(min=0).minimum(self.dims - 2) * self.strides).sum(-1)
        steps = torch.tensor([0, 1], device=start.device)
        offsets = (
            steps[:, None, None] * self.strides[2]
            + steps[:, None] * self.strides[1]
            + steps * self.strides[0]
        )
        corners = self.values[start[..., None, None, None] + offsets]
        return corners * inside[..., None, None, None], fraction


def _interpolate(corners: Tensor, fraction: Tensor) -> Tensor:
    x, y, z = fraction.unbind(-1)
    along_x = torch.lerp(corners[..., 0], corners[..., 1], x[..., None, None])
    along_y = torch.lerp(along_x[..., 0], along_x[..., 1], y[..., None])
    return torch.lerp(along_y[..., 0], along_y[..., 1], z)


def _gradient(corners: Tensor, fraction: Tensor) -> Tensor:
    """Return the gradient [..., 3] of the trilinear interpolant by (i, j, k)."""
    x, y, z = fraction.unbind(-1)
    along_x = torch.lerp(corners[..., 0], corners[..., 1], x[..., None, None])
    along_y = torch.lerp(along_x[..., 0], along_x[..., 1], y[..., None])
    dx = corners[..., 1] - corners[..., 0]
    dx = torch.lerp(dx[..., 0], dx[..., 1], y[..., None])
    dy = along_x[..., 1] - along_x[..., 0]
    return torch.stack(
        [
            torch.lerp(dx[..., 0], dx[..., 1], z),
            torch.lerp(dy[..., 0], dy[..., 1], z),
            along_y[..., 1] - along_y[..., 0],
        ],
        -1,
    )
