"""Picture of how well a rendering lies on an X-ray; NumPy only."""

import numpy as np
from jaxtyping import Float32, UInt8

EDGE_COLOUR = (255, 96, 0)
_EDGE_QUANTILE = 0.95


def overlay(
    xray: Float32[np.ndarray, 'H W'], drr: Float32[np.ndarray, 'H W']
) -> UInt8[np.ndarray, 'H W 3']:
    """Return the X-ray in grey with the strongest edges of the rendering in colour, as rgb8.

    Args:
        xray: line integrals of the X-ray; dense tissue is shown bright.
        drr: line integrals of the CT at the pose to be shown.
    """
    grey = _stretched(xray)[..., None] * np.ones(3, np.float32)
    gradient = np.hypot(*np.gradient(drr))
    strong = gradient > max(float(np.quantile(gradient, _EDGE_QUANTILE)), 1e-6)
    grey[strong] = 0.35 * grey[strong] + 0.65 * np.array(EDGE_COLOUR, np.float32)
    return grey.astype(np.uint8)


def _stretched(image: Float32[np.ndarray, 'H W']) -> Float32[np.ndarray, 'H W']:
    low, high = np.quantile(image, (0.005, 0.995))
    return np.clip((image - low) / max(float(high - low), 1e-9), 0, 1) * np.float32(255)
