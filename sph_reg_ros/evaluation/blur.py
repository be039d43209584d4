"""Gaussian blur of an image with replicated borders."""

import numpy as np
import torch
from jaxtyping import Float32

# A Gaussian keeps 99.99 % of its weight within four standard deviations.
_REACH_SIGMAS = 4.0


def gaussian_blur(image: Float32[np.ndarray, 'H W'], sigma_px: float) -> Float32[np.ndarray, 'H W']:
    """Blur an image; sigma 0 returns it unchanged."""
    radius = int(np.ceil(_REACH_SIGMAS * sigma_px))
    if radius == 0:
        return image
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    blurred = torch.as_tensor(image, dtype=torch.float32)
    for _ in range(2):
        # Along the last axis, then transposed: both axes after two rounds.
        padded = torch.nn.functional.pad(blurred[None], (radius, radius), mode='replicate')
        windows = torch.nn.functional.conv1d(padded[0][:, None], kernel[None, None])
        blurred = windows[:, 0].T
    return blurred.contiguous().numpy()
