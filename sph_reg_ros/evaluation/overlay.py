"""Pictures of how well a rendering lies on an X-ray; NumPy only."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8

EDGE_COLOUR = (64, 224, 190)
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
    low, high = np.quantile(xray, (0.002, 0.998))
    grey = np.clip((xray - low) / max(float(high - low), 1e-6), 0, 1)[..., None] * _GREY_MAX
    picture = np.repeat(grey, 3, axis=-1)
    if drr is not None:
        picture[thin_edges(drr)] = colour
    return picture.astype(np.uint8)


def thin_edges(image: Float32[np.ndarray, 'H W']) -> Bool[np.ndarray, 'H W']:
    """Return where the gradient is strong and largest along its own direction (Canny, 1986)."""
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
    return ridge & border & (strength > np.quantile(strength, _EDGE_QUANTILE))


def _smoothed(image: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode='edge')
        first, middle, last = (
            np.take(padded, range(start, start + image.shape[axis]), axis) for start in range(3)
        )
        image = 0.25 * first + 0.5 * middle + 0.25 * last
    return image
