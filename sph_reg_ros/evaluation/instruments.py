"""Steel instruments in the beam that the CT lacks: needle, screw, plate."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

LARGEST_SHARE = 0.10
SMALLEST_SHARE = 0.003


def draw_instrument(
    size: tuple[int, int], generator: np.random.Generator
) -> Float32[np.ndarray, 'H W']:
    """Return the line integral of one instrument at a random place.

    It covers 0.3 to 10 % of the image.

    Args:
        size: (height, width) of the image in pixels.
        generator: source of randomness.
    """
    shapes: tuple[Callable[..., np.ndarray], ...] = (_needle, _screw, _plate)
    draw = shapes[generator.integers(len(shapes))]
    while True:
        steel = draw(*_axes(size, generator), max(size), generator)
        if SMALLEST_SHARE <= np.mean(steel > 0) <= LARGEST_SHARE:
            return steel.astype(np.float32)


def _axes(size: tuple[int, int], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return every pixel's coordinate along and across an axis that starts inside the image."""
    height, width = size
    start = generator.uniform(0.15, 0.85, 2) * (width, height)
    angle = generator.uniform(0.0, 2.0 * np.pi)
    v, u = np.mgrid[:height, :width]
    cosine, sine = np.cos(angle), np.sin(angle)
    along = (u - start[0]) * cosine + (v - start[1]) * sine
    across = (v - start[1]) * cosine - (u - start[0]) * sine
    return along, across


def _needle(
    along: np.ndarray, across: np.ndarray, width: int, generator: np.random.Generator
) -> np.ndarray:
    """Return a thin cylinder that goes on to the image's border."""
    radius = generator.uniform(0.006, 0.012) * width
    return _cylinder(across, radius, 2.0) * (along > 0)


def _screw(
    along: np.ndarray, across: np.ndarray, width: int, generator: np.random.Generator
) -> np.ndarray:
    """Return a cylinder with a thread and a head."""
    length = generator.uniform(0.15, 0.35) * width
    radius = generator.uniform(0.012, 0.025) * width
    pitch = 0.8 * radius
    thread = radius * (1.0 + 0.2 * np.sin(2.0 * np.pi * along / pitch))
    shaft = _cylinder(across, thread, 4.0) * ((along > 0) & (along < length))
    head = _cylinder(across, 1.8 * radius, 5.0) * ((along <= 0) & (along > -1.5 * radius))
    return shaft + head


def _plate(
    along: np.ndarray, across: np.ndarray, width: int, generator: np.random.Generator
) -> np.ndarray:
    """Return a flat rectangle, a retractor or a plate, of one thickness."""
    length, breadth = generator.uniform((0.15, 0.08), (0.5, 0.25)) * width
    inside = (along > 0) & (along < length) & (np.abs(across) < breadth / 2)
    return generator.uniform(1.0, 4.0) * inside


def _cylinder(across: np.ndarray, radius: np.ndarray | float, peak: float) -> np.ndarray:
    """Return the line integral of a cylinder seen from the side."""
    return peak * np.sqrt(np.clip(1.0 - (across / radius) ** 2, 0.0, None))
