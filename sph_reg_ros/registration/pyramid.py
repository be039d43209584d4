"""The pyramid: X-rays averaged over pixels, and a CT averaged over voxels to match."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.course import Course
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.view import cameras_from_first, shrink
from sph_reg_ros.similarity import prepare_similarity

_SMALLER: WeakKeyDictionary[AttenuationVolume, dict[tuple[int, int, int], AttenuationVolume]] = (
    WeakKeyDictionary()
)


def build_pyramid(request: RegistrationRequest, backend: str, course: Course) -> list[Level]:
    """Return the levels, coarse to fine, ending no finer than the X-rays."""
    tallest = max(view.camera.height for view in request.views)
    heights = sorted({min(height, tallest) for height in request.config.levels})
    levels = []
    for height in heights:
        course.report()
        levels.append(build_level(request, height, backend, course.on_work))
    return levels


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
    poses = cameras_from_first(request.views)
    views = tuple(shrink(view, min(height, view.camera.height)) for view in request.views)
    name = request.config.similarity
    similarities = tuple(prepare_similarity(name, view.line_integrals, view.mask) for view in views)
    volume = coarsened(request, max((view.camera for view in views), key=_focal_length))
    return Level(volume, views, similarities, poses, backend, request.prior, on_work)


def coarsened(request: RegistrationRequest, camera: Camera) -> AttenuationVolume:
    """Return the CT averaged to voxels of about a pixel's size at the anatomy, cached."""
    volume = request.volume
    block = volume.block_of(request.distance_mm / camera.focal_length)
    if max(block) == 1:
        return volume
    known = _SMALLER.setdefault(volume, {})
    if block not in known:
        known[block] = volume.downsampled(block)
    return known[block]


def _focal_length(camera: Camera) -> float:
    return camera.focal_length
