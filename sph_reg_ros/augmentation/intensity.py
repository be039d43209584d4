"""Random grey values, as published: 2509.06890, supplement 9.

Each operation changes every image of a batch with the given probability, by parameters of its own.
Images are line integrals or any other grey values; ranges are relative to the image's own. Where
the supplement leaves something open, it is done as in the code of its predecessor cdreg.
"""

import torch

from sph_reg_ros.augmentation.draws import Images, chosen, extremes, normal, uniform


def add_noise(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Add white noise with a deviation of 0.4 |m|, m in [-0.15, 0.1] of the largest value."""
    on = chosen(images, generator, probability)
    deviation = 0.4 * uniform(images, generator, -0.15, 0.1) * images.amax((-2, -1), keepdim=True)
    return torch.where(on, images + deviation * normal(images, generator), images)


def renormalise(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Map the range to [-0.04, 0.02] ... [0.9, 1.05] of the largest value."""
    on = chosen(images, generator, probability)
    low, span = extremes(images)
    new_low, new_high = (
        uniform(images, generator, *share) * (low + span) for share in ((-0.04, 0.02), (0.9, 1.05))
    )
    return torch.where(on, new_low + (images - low) / span * (new_high - new_low), images)


def scale(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Multiply by 0.9 to 1.05."""
    on = chosen(images, generator, probability)
    return torch.where(on, images * uniform(images, generator, 0.9, 1.05), images)


def change_gamma(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Raise to a power of 0.7 to 1.3 within the range of the image, which stays."""
    on = chosen(images, generator, probability)
    gamma = uniform(images, generator, 0.7, 1.3)
    low, span = extremes(images)
    return torch.where(on, low + span * ((images - low) / span).pow(gamma), images)


def bend(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Map x to a sin(b x + c), cut to [0, 1], where [0, 1] is the range of the image.

    a and b lie in [0.8, 1.1], c in [-0.5, 0.4]; the map never falls.
    """
    on = chosen(images, generator, probability)
    a, b = (uniform(images, generator, 0.8, 1.1) for _ in range(2))
    c = uniform(images, generator, -0.5, 0.4)
    low, span = extremes(images)
    bent = (a * torch.sin(b * (images - low) / span + c)).clamp(0.0, 1.0)
    return torch.where(on, low + span * bent, images)
