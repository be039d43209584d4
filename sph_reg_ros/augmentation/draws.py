"""Random parameters, one per image of a batch.

A generator may live on another device than the images: its numbers are moved.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Images = Float[Tensor, 'B H W']
EachImage = Float[Tensor, 'B 1 1']


def uniform(images: Images, generator: torch.Generator, low: float, high: float) -> EachImage:
    """Return a number in [low, high) for each image."""
    share = torch.rand((len(images), 1, 1), generator=generator, device=generator.device)
    return (low + (high - low) * share).to(images)


def chosen(images: Images, generator: torch.Generator, probability: float) -> Bool[Tensor, 'B 1 1']:
    """Return which images are to be changed."""
    return uniform(images, generator, 0.0, 1.0) < probability


def one_of(images: Images, generator: torch.Generator, count: int) -> EachImage:
    """Return a whole number in [0, count) for each image."""
    return uniform(images, generator, 0.0, count).floor()


def normal(images: Images, generator: torch.Generator) -> Images:
    """Return white noise of deviation 1 for each pixel."""
    noise = torch.randn(images.shape, generator=generator, device=generator.device)
    return noise.to(images)


def pixel_grid(images: Images) -> tuple[Float[Tensor, 'H 1'], Float[Tensor, ' W']]:
    """Return rows and columns of the pixels, ready to be broadcast."""
    height, width = images.shape[-2:]
    rows, columns = (
        torch.arange(n, dtype=images.dtype, device=images.device) for n in (height, width)
    )
    return rows[:, None], columns


def extremes(images: Images) -> tuple[EachImage, EachImage]:
    """Return the smallest value of each image, and how far the largest lies above it."""
    low = images.amin((-2, -1), keepdim=True)
    span = images.amax((-2, -1), keepdim=True) - low
    return low, span.clamp(min=torch.finfo(images.dtype).tiny)
