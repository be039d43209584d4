"""Domain randomisation of renderings."""

import torch
from jaxtyping import Bool
from torch import Tensor

from sph_reg_ros.augmentation.beam import add_scatter, count_photons, harden
from sph_reg_ros.augmentation.draws import Images, chosen
from sph_reg_ros.augmentation.erasing import erase
from sph_reg_ros.augmentation.field import collimate
from sph_reg_ros.augmentation.instruments import add_instrument
from sph_reg_ros.augmentation.intensity import (
    add_noise,
    bend,
    change_gamma,
    renormalise,
    scale,
)
from sph_reg_ros.augmentation.smoothing import smooth
from sph_reg_ros.settings import parameter, settings


@settings
class Randomisation:
    """Probability of each operation for an image.

    The first six happen in front of the detector, the others are those of 2509.06890 (supplement
    9), in its order, where each has a probability of 1/2.

    Attributes:
        hardening: a spectrum for a single energy.
        instrument: something in the beam that is not in the CT; half as likely, a second one.
        collimator: a field that is smaller than the image.
        field_told: that the network is told which pixels the collimator covers.
        scatter: smooth light.
        photons: noise of the beam.
        smoothing: 3 x 3 or 5 x 5 pixels.
        noise: of the same strength everywhere.
        renormalisation: another range of grey values.
        scaling: another gain.
        gamma: another power.
        bending: a part of a sine.
        erasing: of a rectangle.
    """

    hardening: float = parameter(0.5, low=0.0, high=1.0)
    instrument: float = parameter(0.3, low=0.0, high=1.0)
    collimator: float = parameter(0.3, low=0.0, high=1.0)
    field_told: float = parameter(0.8, low=0.0, high=1.0)
    scatter: float = parameter(0.5, low=0.0, high=1.0)
    photons: float = parameter(1.0, low=0.0, high=1.0)
    smoothing: float = parameter(0.5, low=0.0, high=1.0)
    noise: float = parameter(0.5, low=0.0, high=1.0)
    renormalisation: float = parameter(0.5, low=0.0, high=1.0)
    scaling: float = parameter(0.5, low=0.0, high=1.0)
    gamma: float = parameter(0.5, low=0.0, high=1.0)
    bending: float = parameter(0.5, low=0.0, high=1.0)
    erasing: float = parameter(0.5, low=0.0, high=1.0)


def randomise(
    renderings: Images, how: Randomisation, generator: torch.Generator
) -> tuple[Images, Bool[Tensor, 'B H W']]:
    """Return X-rays, and the pixels that a network shall be told to use.

    Args:
        renderings: line integrals at `beam.RENDERED_KEV`; not changed.
        how: probabilities.
        generator: source of randomness; the same state gives the same images.
    """
    images, is_open = _in_front_of_the_detector(renderings, how, generator)
    told = chosen(images, generator, how.field_told)
    mask = is_open | ~told
    # What is masked may be anything: values that leave the image's range as it is.
    mean = (images * mask).sum((-2, -1), keepdim=True) / mask.sum((-2, -1), keepdim=True)
    images = torch.where(mask, images, mean)
    images = smooth(images, generator, how.smoothing)
    images = add_noise(images, generator, how.noise)
    images = renormalise(images, generator, how.renormalisation)
    images = scale(images, generator, how.scaling)
    images = change_gamma(images, generator, how.gamma)
    images = bend(images, generator, how.bending)
    return erase(images, generator, how.erasing), mask


def _in_front_of_the_detector(
    images: Images, how: Randomisation, generator: torch.Generator
) -> tuple[Images, Bool[Tensor, 'B H W']]:
    images = harden(images, generator, how.hardening)
    for probability in (how.instrument, how.instrument / 2):
        images = add_instrument(images, generator, probability)
    images, is_open = collimate(images, generator, how.collimator)
    images = add_scatter(images, generator, how.scatter)
    return count_photons(images, generator, how.photons), is_open
