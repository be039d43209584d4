"""Where an X-ray shows the edges of an opaque body, measured from its drawn outline.

Compared is darkness, 1 - exp(-line integral), the negative of the counts: there an edge of metal is
a step from saturated to whatever lies beside it, and the steepest place of its blur is the edge.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sph_reg_ros.geometry import Camera
from sph_reg_ros.rendering.outline import Outline

_SPACING_PX = 0.5
_BESIDE_PX = 4.0
"""So far on both sides of an edge its height is read."""
SQRT_2_PI = float(np.sqrt(2 * np.pi))
_USABLE_SHARE = 0.5
_UNCLEAR_PX = 2
"""Next to pixels that may not be used, blur and shrinking have mixed them in."""


@dataclass(frozen=True, eq=False)
class EdgeImage:
    """One X-ray at one resolution.

    Attributes:
        darkness: [h, w] float32, smoothed.
        usable: [h, w] float32, 1 where it may be used.
        camera: of these pixels.
    """

    darkness: NDArray
    usable: NDArray
    camera: Camera

    @classmethod
    def of(
        cls,
        line_integrals: NDArray,
        mask: NDArray | None,
        camera: Camera,
        factor: int,
        blur_px: float,
    ) -> 'EdgeImage':
        """Prepare an X-ray.

        Args:
            line_integrals: [H, W] float32; their offset and scale are those of counts.
            mask: [H, W] pixels that may be used; all if None.
            camera: of the image.
            factor: by how much it is shrunk.
            blur_px: standard deviation of the smoothing after that.
        """
        height, width = (max(1, side // factor) for side in camera.size)
        darkness = 1 - np.exp(-line_integrals.astype(np.float32))
        usable = np.ones_like(darkness) if mask is None else mask.astype(np.float32)
        if factor > 1:
            darkness, usable = (
                cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
                for image in (darkness, usable)
            )
        size = 2 * _UNCLEAR_PX + 1
        usable = (usable > _USABLE_SHARE).astype(np.float32)
        usable = cv2.erode(usable, np.ones((size, size), np.uint8), borderValue=1.0)
        camera = camera.rescale(height, width)
        return cls(cv2.GaussianBlur(darkness, (0, 0), blur_px), usable, camera)


@dataclass(frozen=True, eq=False)
class EdgesFound:
    """The X-ray's edge for each point of an outline.

    Attributes:
        offsets: [n] how far out along the normal it is (pixels); 0 where there is none.
        steepness: [n] of the darkness there (1 / pixel), falling outwards; 0 where there is none.
        widths: [n] standard deviation of the edge's blur (pixels); 0 where there is none.
        is_seen: [n] whether the X-ray shows the point and its surroundings.
    """

    offsets: NDArray
    steepness: NDArray
    widths: NDArray
    is_seen: NDArray

    def share_explained(self, lengths: NDArray, tolerance_px: float) -> float:
        """Return the share of the outline's length at which there is an edge, 0 to 1.

        An edge that lies off by the tolerance counts half.
        """
        seen = lengths * self.is_seen
        near = (self.steepness > 0) / (1 + (self.offsets / tolerance_px) ** 2)
        return float((seen * near).sum() / max(seen.sum(), 1e-9))


def find_edges(image: EdgeImage, outline: Outline, reach_px: float) -> EdgesFound:
    """Find the steepest fall of darkness within a reach of each point, along its normal."""
    at = np.arange(-reach_px - 1, reach_px + 1 + _SPACING_PX / 2, _SPACING_PX)
    where = outline.pixels[:, None] + outline.normals[:, None] * at[:, None]
    x, y = (np.ascontiguousarray(where[..., axis], np.float32) for axis in (0, 1))
    darkness = cv2.remap(image.darkness, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    usable = cv2.remap(image.usable, x, y, cv2.INTER_NEAREST, borderValue=0.0) > 0
    across = round(1 / _SPACING_PX)
    fall = (darkness[:, : -2 * across] - darkness[:, 2 * across :]) / 2
    fall[~(usable[:, : -2 * across] & usable[:, 2 * across :])] = 0
    rows, best = np.arange(len(fall)), fall.argmax(1)
    inner = best.clip(1, fall.shape[1] - 2)
    before, peak, after = (fall[rows, inner + k] for k in (-1, 0, 1))
    bend = before - 2 * peak + after
    fine = np.where(bend < 0, (before - after) / np.where(bend < 0, 2 * bend, 1), 0).clip(-1, 1)
    is_edge = (best == inner) & (peak > 0)
    offsets = np.where(is_edge, at[across:-across][inner] + _SPACING_PX * fine, 0.0)
    beside = round(_BESIDE_PX / _SPACING_PX)
    inside = darkness[rows, (best + across - beside).clip(0)]
    outside = darkness[rows, (best + across + beside).clip(max=darkness.shape[1] - 1)]
    widths = np.where(is_edge, (inside - outside) / (SQRT_2_PI * np.where(is_edge, peak, 1)), 0.0)
    # At an outline's middle and on both sides next to it.
    middle = usable.shape[1] // 2
    is_seen: NDArray = usable[:, middle - across : middle + across + 1].min(1)
    return EdgesFound(offsets, np.where(is_edge, peak, 0.0), widths, is_seen)
