"""Random beam hardening, scatter and photon noise.

Images are line integrals L; a share exp(-L) of the open beam arrives.
"""

import math

import torch
from torch import Tensor

from sph_reg_ros.augmentation.draws import EachImage, Images, chosen, normal, uniform
from sph_reg_ros.augmentation.smoothing import blur
from sph_reg_ros.imaging.attenuation import water_attenuation

RENDERED_KEV = 60.0
"""Energy that L stands for where the beam has many."""
_LINES_KEV = (35.0, 45.0, 55.0, 65.0, 75.0, 85.0, 95.0, 105.0, 115.0, 125.0)
_TUBE_KV = (60.0, 130.0)
_SCATTER_TO_PRIMARY = (0.0, 1.5)
_SCATTER_WIDTH = (0.08, 0.25)
_PHOTONS = (1e3, 1e5)


def harden(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Send a wide spectrum through water that has the given line integrals at one energy.

    The spectrum is Kramers' (Phil. Mag. 46, 1923), detected by energy, of 60 to 130 kV, without
    what a filter takes out below 30 keV.
    """
    on = chosen(images, generator, probability)
    tube_kv = uniform(images, generator, *_TUBE_KV)
    arriving = torch.zeros_like(images)
    total = torch.zeros_like(tube_kv)
    for line_kev in _LINES_KEV:
        weight = (tube_kv - line_kev).clamp(min=0.0)
        share = water_attenuation(line_kev) / water_attenuation(RENDERED_KEV)
        arriving = arriving + weight * torch.exp(-share * images)
        total = total + weight
    return torch.where(on, -torch.log(arriving / total), images)


def add_scatter(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Add the smooth light that a body scatters.

    It comes from where L exp(-L) is large (B. Ohnesorge et al., Eur. Radiol. 9, 1999), is spread
    over 8 to 25 % of the image, and is up to 1.5 times the primary in its middle.
    """
    on = chosen(images, generator, probability)
    primary = torch.exp(-images)
    size = max(images.shape[-2:])
    sigma_px = uniform(images, generator, *_SCATTER_WIDTH) * size
    spread = blur(images.clamp(min=0.0) * primary, sigma_px, 4 * sigma_px)
    wanted = uniform(images, generator, *_SCATTER_TO_PRIMARY)
    now = _median_in_the_middle(spread) / _median_in_the_middle(primary)
    light = primary + spread * wanted / now.clamp(min=1e-6)
    return torch.where(on, -torch.log(light), images)


def count_photons(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Add the noise of 10^3 to 10^5 photons for each pixel in the middle; half a one is the least.

    Photons are normally distributed, which is what is left of Poisson's law above a few.
    """
    on = chosen(images, generator, probability)
    photons = torch.exp(uniform(images, generator, *map(math.log, _PHOTONS)))
    arriving = torch.exp(-images)
    open_beam = photons / _median_in_the_middle(arriving)
    counted = open_beam * arriving
    counted = counted + counted.sqrt() * normal(images, generator)
    return torch.where(on, -torch.log(counted.clamp(min=0.5) / open_beam), images)


def _median_in_the_middle(images: Tensor) -> EachImage:
    height, width = images.shape[-2:]
    part = images[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    median = part.flatten(1).median(1).values
    return median[:, None, None].clamp(min=torch.finfo(images.dtype).tiny)
