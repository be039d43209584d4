"""The pyramid: X-rays averaged over pixels, and a CT averaged over voxels to match."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.request import RegistrationRequest, View
from sph_reg_ros.similarity import prepare_similarity

_SMALLER: WeakKeyDictionary[AttenuationVolume, dict[tuple[int, int, int], AttenuationVolume]] = (
    WeakKeyDictionary()
)


def build_level(
    request: RegistrationRequest,
    height: int,
    backend: str,
    on_work: Callable[[Level], None] = lambda level: None,
) -> Level:
    """Return the X-rays shrunk to at most `height` rows, with a CT to match.

    Args:
        request: CT and X-rays.
        height: of the level's images in pixels.
        backend: renderer.
        on_work: see Level.
    """
    poses = tuple(camera_from_first(view, request.views[0]) for view in request.views)
    views = tuple(shrink(view, min(height, view.camera.height)) for view in request.views)
    name = request.config.similarity
    similarities = tuple(
        prepare_similarity(name, view.line_integrals.cpu(), view.mask) for view in views
    )
    volume = coarsened(request, max((view.camera for view in views), key=_focal_length))
    return Level(volume, views, similarities, poses, backend, request.prior, on_work)


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


def seen_by(view: View, camera: Camera) -> View:
    """Return a view as another camera in the same place sees it; what only that one sees is masked.

    Args:
        view: at any resolution; averaged to about that of the camera first.
        camera: the other one.
    """
    ratio = camera.focal_length / view.camera.focal_length
    view = shrink(view, min(view.camera.height, max(1, round(view.camera.height * ratio))))
    usable = torch.ones_like(view.line_integrals) if view.mask is None else view.mask.float()
    # Values behind the mask may be anything.
    inside = torch.where(usable > 0, view.line_integrals, 0.0)
    grid = _where_sampled(camera, view.camera)
    image, weight = torch.nn.functional.grid_sample(
        torch.stack([inside, usable])[None], grid[None], align_corners=False
    )[0]
    return View(image / weight.clamp(min=1e-6), camera, weight > 0.5, view.fixed_from_camera)


def _where_sampled(camera: Camera, seen: Camera) -> Float32[Tensor, 'H W 2']:
    """Return where each pixel of a camera lies in the image of another, as grid_sample counts."""
    v, u = torch.meshgrid(
        torch.arange(camera.height, dtype=torch.float64),
        torch.arange(camera.width, dtype=torch.float64),
        indexing='ij',
    )
    pixels = torch.stack([u, v, torch.ones_like(u)], -1)
    at = (pixels @ torch.linalg.inv(camera.K).T @ seen.K.T)[..., :2]
    return ((2 * at + 1) / torch.tensor([seen.width, seen.height]) - 1).float()


def _mean_over_blocks(image: Tensor, height: int, width: int) -> Tensor:
    return torch.nn.functional.interpolate(image[None, None], (height, width), mode='area')[0, 0]


def coarsened(request: RegistrationRequest, camera: Camera) -> AttenuationVolume:
    """Return the CT averaged to voxels of about a pixel's size at the anatomy, cached."""
    volume = request.volume
    distance = se3.transform_points(request.start, volume.centre[None]).norm()
    block = volume.block_of(float(distance) / camera.focal_length)
    if max(block) == 1:
        return volume
    known = _SMALLER.setdefault(volume, {})
    if block not in known:
        known[block] = volume.downsampled(block)
    return known[block]


def _focal_length(camera: Camera) -> float:
    return camera.focal_length
