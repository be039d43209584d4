"""Grey images that are stored in colour, as screens are captured."""

import numpy as np
from jaxtyping import Shaped

GREY_TOLERANCE = 3
"""Counts; JPEG rounds each channel of a grey picture for itself."""


def spread(channels: Shaped[np.ndarray, 'H W 3']) -> Shaped[np.ndarray, 'H W']:
    """Return how far the channels of each pixel lie apart."""
    spreads: Shaped[np.ndarray, 'H W'] = channels.max(axis=-1) - channels.min(axis=-1)
    return spreads


def grey_of(channels: Shaped[np.ndarray, 'H W 3']) -> Shaped[np.ndarray, 'H W'] | None:
    """Return the pixels of an image whose channels agree within GREY_TOLERANCE, else None."""
    if spread(channels).max() > GREY_TOLERANCE:
        return None
    return np.ascontiguousarray(channels[..., 1])
