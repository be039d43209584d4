"""Random blur."""

import torch
from jaxtyping import Float
from torch import Tensor

from sph_reg_ros.augmentation.draws import EachImage, Images, chosen, one_of

_SIGMA_PX = 1.0


def smooth(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Blur with 3 x 3 or 5 x 5 pixels of a Gaussian with a deviation of 1 (2509.06890, supp. 9)."""
    on = chosen(images, generator, probability)
    radius = 1.0 + one_of(images, generator, 2)
    return torch.where(on, blur(images, torch.full_like(radius, _SIGMA_PX), radius), images)


def blur(images: Images, sigma_px: EachImage, radius_px: EachImage) -> Images:
    """Blur each image with a Gaussian of its own, cut off beyond a radius.

    Weights that would fall outside the image are left out and the rest takes their place.
    """
    height, width = images.shape[-2:]
    rows, columns = (_weights(size, sigma_px, radius_px) for size in (height, width))
    return rows @ images @ columns.mT


def _weights(size: int, sigma_px: EachImage, radius_px: EachImage) -> Float[Tensor, 'B n n']:
    """Return the matrix that blurs a row of pixels; cheaper than a wide filter for each image."""
    place = torch.arange(size, dtype=sigma_px.dtype, device=sigma_px.device)
    apart = (place[:, None] - place).abs()
    weights = torch.exp(-0.5 * (apart / sigma_px).square()) * (apart <= radius_px)
    return weights / weights.sum(-1, keepdim=True)
