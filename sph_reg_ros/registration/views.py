"""The pyramid: X-rays averaged over pixels, and a CT averaged over voxels to match."""

from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.request import RegistrationRequest, View
from sph_reg_ros.similarity import prepare_similarity

_SMALLER: WeakKeyDictionary[AttenuationVolume, dict[tuple[int, int, int], AttenuationVolume]] = (
    WeakKeyDictionary()
)


def build_level(request: RegistrationRequest, height: int, backend: str) -> Level:
    """Return the X-rays shrunk to at most `height` rows, with a CT to match."""
    poses = tuple(camera_from_first(view, request.views[0]) for view in request.views)
    views = tuple(shrink(view, min(height, view.camera.height)) for view in request.views)
    name = request.config.similarity
    similarities = tuple(
        prepare_similarity(name, view.line_integrals.cpu(), view.mask) for view in views
    )
    distance = se3.transform_points(
        request.initial_camera_from_ct, request.volume.centre[None]
    ).norm()
    pixel_mm = float(distance) / max(view.camera.focal_length for view in views)
    volume = _coarsened(request.volume, pixel_mm)
    return Level(volume, views, similarities, poses, backend, request.prior)


def camera_from_first(view: View, first: View) -> Float64[Tensor, '4 4']:
    """Return the pose of the first view's camera in another's (mm)."""
    if view.fixed_from_camera is None or first.fixed_from_camera is None or view is first:
        return torch.eye(4, dtype=torch.float64)
    return se3.inverse(view.fixed_from_camera.double()) @ first.fixed_from_camera.double()


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
    block = volume.block_of(pixel_mm)
    if max(block) == 1:
        return volume
    known = _SMALLER.setdefault(volume, {})
    if block not in known:
        known[block] = volume.downsampled(block)
    return known[block]
