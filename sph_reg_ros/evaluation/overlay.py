"""Overlays of X-ray and rendering; NumPy only."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8

EDGE_COLOUR = (64, 224, 190)
BODY_COLOURS = (
    (255, 176, 0), (254, 97, 0), (120, 160, 255), (240, 80, 190), (190, 230, 60), (170, 120, 255),
)  # fmt: skip
"""One after the other, then again from the first; told apart by the colour-blind, too."""
_EDGE_QUANTILE = 0.88
_GREY_MAX = 210.0


def overlay(
    xray: Float32[np.ndarray, 'H W'],
    drr: Float32[np.ndarray, 'H W'] | None,
    colour: tuple[int, int, int] = EDGE_COLOUR,
) -> UInt8[np.ndarray, 'H W 3']:
    """Return the X-ray in grey, dense tissue bright, with thin edges of the rendering in colour.

    Args:
        xray: line integrals of the X-ray.
        drr: line integrals of the CT at the pose to be shown; None for the X-ray alone.
        colour: RGB of the edges.
    """
    picture = np.repeat(_scaled(xray)[..., None] * _GREY_MAX, 3, axis=-1)
    if drr is not None:
        picture[thin_edges(drr)] = colour
    return picture.astype(np.uint8)


def blended(
    xray: Float32[np.ndarray, 'H W'], drr: Float32[np.ndarray, 'H W']
) -> UInt8[np.ndarray, 'H W 3']:
    """Return the X-ray in blue-green and the rendering in red: grey where both agree."""
    first, second = _scaled(xray), _scaled(drr)
    return (np.stack([second, first, first], axis=-1) * 255).astype(np.uint8)


def checkerboard(
    xray: Float32[np.ndarray, 'H W'], drr: Float32[np.ndarray, 'H W'], squares: int = 8
) -> UInt8[np.ndarray, 'H W 3']:
    """Return a checkerboard of X-ray and rendering: edges continue across squares if they agree.

    Args:
        xray: line integrals of the X-ray.
        drr: of the rendering.
        squares: along the longer side of the image.
    """
    v, u = np.mgrid[: xray.shape[0], : xray.shape[1]]
    side = max(1, -(-max(xray.shape) // squares))
    rendered = (u // side + v // side) % 2 == 1
    grey = np.where(rendered, _scaled(drr), _scaled(xray))
    return np.repeat((grey[..., None] * 255).astype(np.uint8), 3, axis=-1)


def levelled(
    xray: Float32[np.ndarray, 'H W'], mask: Bool[np.ndarray, 'H W'] | None
) -> Float32[np.ndarray, 'H W']:
    """Return the X-ray scaled to grey levels by the pixels within the mask."""
    if mask is None:
        return xray
    return xray.clip(*np.quantile(xray[mask], (0.001, 0.999)))


def thin_edges(
    image: Float32[np.ndarray, 'H W'], within: Bool[np.ndarray, 'H W'] | None = None
) -> Bool[np.ndarray, 'H W']:
    """Return where the gradient is strong and largest along its own direction (Canny, 1986).

    Args:
        image: any values.
        within: where to look, and what strong is measured by; None: everywhere.
    """
    down, right = np.gradient(_smoothed(_smoothed(image)))
    strength = np.hypot(down, right)
    padded = np.pad(strength, 1)
    # Octants of the gradient's direction, opposite ones together: 0, 45, 90, 135 degrees.
    direction = np.round(np.arctan2(down, right) / (np.pi / 4)).astype(int) % 4
    ridge = np.zeros(image.shape, bool)
    height, width = image.shape
    for number, (dv, du) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dv : 1 + dv + height, 1 + du : 1 + du + width]
        behind = padded[1 - dv : 1 - dv + height, 1 - du : 1 - du + width]
        ridge |= (direction == number) & (strength >= ahead) & (strength > behind)
    border = np.zeros_like(ridge)
    border[3:-3, 3:-3] = True
    looked_at = np.ones_like(ridge) if within is None else within
    if not looked_at.any():
        return looked_at
    strong = strength > np.quantile(strength[looked_at], _EDGE_QUANTILE)
    return ridge & border & looked_at & strong


def _scaled(image: Float32[np.ndarray, 'H W']) -> Float32[np.ndarray, 'H W']:
    """Return values from 0 to 1; a few outliers are cut."""
    low, high = np.quantile(image, (0.002, 0.998))
    return np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)


def _smoothed(image: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode='edge')
        first, middle, last = (
            np.take(padded, range(start, start + image.shape[axis]), axis) for start in range(3)
        )
        image = 0.25 * first + 0.5 * middle + 0.25 * last
    return image
