"""The part of an X-ray where the CT can be, for a CT that holds only some of what the X-ray shows.

A CT of one bone says nothing about the rest of the image. Cut to the bone's surroundings, a view
is registered at a resolution that suits the bone, and what lies far from it is not compared.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.view import View, usable_part
from sph_reg_ros.rendering.render import render

_SILHOUETTE_PX = 96
"""Size at which the silhouette is drawn; it is widened by far more than such a pixel."""
_FAINT = 0.01
"""Share of the darkest line integral below which a ray misses the anatomy."""


def around_projections(
    view: View,
    volumes: Sequence[AttenuationVolume],
    camera_from_volume: Sequence[Float64[Tensor, '4 4']],
    margin_mm: float,
) -> View:
    """Return the view cut and masked to where several volumes project, as `around_projection`."""
    pairs = zip(volumes, camera_from_volume, strict=True)
    usable = torch.zeros(view.camera.size, dtype=torch.bool)
    for volume, pose in pairs:
        margin_px = _margin_px(view, volume, pose, margin_mm)
        top, left, height, width = _box(view, volume, pose, margin_px)
        part = around_projection(view, volume, pose, margin_mm)
        assert part.mask is not None
        usable[top : top + height, left : left + width] |= part.mask
    return usable_part(replace(view, mask=usable))


def around_projection(
    view: View,
    volume: AttenuationVolume,
    camera_from_ct: Float64[Tensor, '4 4'],
    margin_mm: float,
) -> View:
    """Return the view cut to where the CT projects, masked to its silhouette and a margin.

    Args:
        view: X-ray.
        volume: CT, air where it holds nothing.
        camera_from_ct: about where it is, in this view's camera (mm).
        margin_mm: how far it may be off, in mm at the CT's depth.

    Raises:
        SolverError: NO_OVERLAP if the CT does not project into the image.
    """
    margin_px = _margin_px(view, volume, camera_from_ct, margin_mm)
    top, left, height, width = _box(view, volume, camera_from_ct, margin_px)
    camera = view.camera.crop(top, left, height, width)
    rows, columns = slice(top, top + height), slice(left, left + width)
    mask = _widened_silhouette(
        View(view.line_integrals[rows, columns], camera), volume, camera_from_ct, margin_px
    )
    if view.mask is not None:
        mask = mask & view.mask[rows, columns].cpu()
    return View(
        view.line_integrals[rows, columns].contiguous(), camera, mask, view.fixed_from_camera
    )


def _margin_px(
    view: View, volume: AttenuationVolume, camera_from_ct: Tensor, margin_mm: float
) -> float:
    depth_mm = float(se3.transform_points(camera_from_ct, volume.centre[None])[0, 2])
    return margin_mm * view.camera.focal_length / max(depth_mm, 1e-9)


def _box(
    view: View, volume: AttenuationVolume, camera_from_ct: Tensor, margin_px: float
) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the part that the CT's box projects into."""
    corners = se3.transform_points(camera_from_ct, volume.corners)
    if not bool((corners[:, 2] > 0).all()):
        raise SolverError(ErrorCode.NO_OVERLAP, 'the CT reaches behind the source at this pose')
    pixels = view.camera.project(corners)
    size = torch.tensor([view.camera.width, view.camera.height])
    first = (pixels.amin(0) - margin_px).floor().long().clamp(min=0)
    end = torch.minimum((pixels.amax(0) + margin_px).ceil().long() + 1, size)
    width, height = (end - first).tolist()
    if min(width, height) < 8:
        raise SolverError(
            ErrorCode.NO_OVERLAP, 'the CT does not project into the image; check the initial pose'
        )
    left, top = first.tolist()
    return top, left, height, width


def _widened_silhouette(
    view: View, volume: AttenuationVolume, camera_from_ct: Tensor, margin_px: float
) -> Bool[Tensor, 'H W']:
    scale = min(1.0, _SILHOUETTE_PX / max(view.camera.size))
    small = view.camera.rescale(*(max(1, round(side * scale)) for side in view.camera.size))
    image = render(
        volume, camera_from_ct, small.K, small.size, scan_depth_mm=small.scan_depth_mm
    ).cpu()
    shadow = (image > _FAINT * image.max()).float()[None, None]
    reach = max(1, round(margin_px * scale))
    widened = torch.nn.functional.max_pool2d(shadow, 2 * reach + 1, 1, reach)
    return torch.nn.functional.interpolate(widened, view.camera.size)[0, 0] > 0.5
