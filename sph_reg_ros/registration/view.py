"""One X-ray, ready to be compared with a rendering, and as a coarser or another camera sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError, PoseError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.plausible import SMALLEST_OFFSET_MM


@dataclass(frozen=True)
class View:
    """One X-ray, ready to be compared with a rendering.

    Attributes:
        line_integrals: image [H, W] of attenuation line integrals (dimensionless); scale and
            offset do not matter.
        camera: its intrinsics and size.
        mask: pixels [H, W] that may be used; all if None.
        fixed_from_camera: pose [4, 4] (mm) of this camera in a frame that all views share; needed
            only for several views.
        negative: makes the view of the same X-ray taken for a negative of what it is taken for
            here; None if it is not known how.
        polarity_given: the user has said how to take it: its negative is a doubt, not a choice.
    """

    line_integrals: Float32[Tensor, 'H W']
    camera: Camera
    mask: Bool[Tensor, 'H W'] | None = None
    fixed_from_camera: Float64[Tensor, '4 4'] | None = None
    negative: 'Callable[[], View] | None' = field(default=None, compare=False, repr=False)
    polarity_given: bool = False

    def __post_init__(self) -> None:
        """Check shapes and values; raises ImageError or PoseError."""
        shape = tuple(self.line_integrals.shape)
        if shape != self.camera.size:
            raise ImageError(
                ErrorCode.CAMERA_IMAGE_MISMATCH, f'image is {shape}, its camera {self.camera.size}'
            )
        if self.mask is not None and tuple(self.mask.shape) != shape:
            raise ImageError(
                ErrorCode.IMAGE_LAYOUT, f'mask is {tuple(self.mask.shape)}, image {shape}'
            )
        usable = self.line_integrals if self.mask is None else self.line_integrals[self.mask]
        if not torch.isfinite(self.line_integrals).all():
            raise ImageError(ErrorCode.IMAGE_CONTENT, 'the image has NaN or infinite pixels')
        if usable.numel() < 64 or float(usable.std()) <= 0:
            raise ImageError(ErrorCode.IMAGE_CONTENT, 'the image shows nothing: it is constant')
        if self.fixed_from_camera is not None:
            se3.require_rigid(self.fixed_from_camera, 'fixed_from_camera')
            _require_no_metres(self.fixed_from_camera)

    @property
    def usable(self) -> Bool[Tensor, 'H W']:
        """Return the pixels that may be used."""
        if self.mask is None:
            return torch.ones_like(self.line_integrals, dtype=torch.bool)
        return self.mask


def cameras_from_first(views: Sequence[View]) -> tuple[Float64[Tensor, '4 4'], ...]:
    """Return the pose of the first view's camera in each view's (mm)."""
    first = views[0].fixed_from_camera
    here = torch.eye(4, dtype=torch.float64)
    others = (
        here
        if first is None or view.fixed_from_camera is None
        else se3.inverse(view.fixed_from_camera.double()) @ first.double()
        for view in views[1:]
    )
    return here, *others


def in_each_camera(
    pose: Float64[Tensor, '4 4'], views: Sequence[View]
) -> tuple[Float64[Tensor, '4 4'], ...]:
    """Return a pose of the first view's camera as each view's has it."""
    return tuple(other @ pose for other in cameras_from_first(views))


def shrink(view: View, height: int) -> View:
    """Return a view averaged over blocks of pixels to `height` rows, aspect ratio kept."""
    if height == view.camera.height:
        return view
    image, weight, camera = averaged(view, height)
    mask: Bool[Tensor, 'H W'] | None = None if view.mask is None else weight > 0.5
    return View(image, camera, mask, view.fixed_from_camera)


def averaged(
    view: View, height: int
) -> tuple[Float32[Tensor, 'h w'], Float32[Tensor, 'h w'], Camera]:
    """Return an image averaged to `height` rows, the usable share of its pixels, its camera."""
    width = max(1, round(view.camera.width * height / view.camera.height))
    usable = torch.ones_like(view.line_integrals) if view.mask is None else view.mask.float()
    weight = _mean_over_blocks(usable, height, width)
    total = _mean_over_blocks(view.line_integrals * usable, height, width)
    return total / weight.clamp(min=1e-6), weight, view.camera.rescale(height, width)


def usable_part(view: View) -> View:
    """Return a view cut to the rectangle around the pixels that may be used."""
    if view.mask is None:
        return view
    rows, columns = (view.mask.any(axis).nonzero().flatten() for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    part = (slice(top, top + height), slice(left, left + width))
    camera = view.camera.crop(top, left, height, width)
    return View(view.line_integrals[part], camera, view.mask[part], view.fixed_from_camera)


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


def _require_no_metres(fixed_from_camera: Float64[Tensor, '4 4']) -> None:
    offset_mm = float(fixed_from_camera[:3, 3].norm())
    # Zero is the frame of this camera, but for rounding.
    if 0.01 < offset_mm < SMALLEST_OFFSET_MM:
        raise PoseError(
            ErrorCode.POSE_INVALID,
            f'fixed_from_camera puts the X-ray source {offset_mm:.3g} mm from the origin of the '
            'fixed frame: are these metres? It must be in mm',
        )
