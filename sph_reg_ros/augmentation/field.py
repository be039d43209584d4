"""Random collimation."""

import math

import torch
from jaxtyping import Bool
from torch import Tensor

from sph_reg_ros.augmentation.draws import Images, chosen, one_of, pixel_grid, uniform

# Of the image; a leaf may stay outside.
_LEAF_SHARE = (-0.1, 0.25)
_LARGEST_TURN_RAD = math.radians(15.0)
_IRIS_RADIUS = (0.35, 0.6)
_LARGEST_IRIS_SHIFT = 0.06
_LEAF_INTEGRAL = (4.5, 7.5)


def collimate(
    images: Images, generator: torch.Generator, probability: float
) -> tuple[Images, Bool[Tensor, 'B H W']]:
    """Close a collimator: four leaves, turned a little, or an iris.

    Returns:
        Line integrals, with those of the leaves added, and where none is in the way.
    """
    on = chosen(images, generator, probability)
    with_iris = one_of(images, generator, 2) == 0
    leaves, iris = _between_leaves(images, generator), _within_iris(images, generator)
    is_open = ~on | torch.where(with_iris, iris, leaves)
    closed = images + uniform(images, generator, *_LEAF_INTEGRAL)
    return torch.where(is_open, images, closed), is_open


def _between_leaves(images: Images, generator: torch.Generator) -> Bool[Tensor, 'B H W']:
    height, width = images.shape[-2:]
    turn = uniform(images, generator, -_LARGEST_TURN_RAD, _LARGEST_TURN_RAD)
    rows, columns = pixel_grid(images)
    rows, columns = rows - (height - 1) / 2, columns - (width - 1) / 2
    along = columns * torch.cos(turn) + rows * torch.sin(turn)
    across = rows * torch.cos(turn) - columns * torch.sin(turn)
    is_open = torch.ones_like(images, dtype=torch.bool)
    for place, size in ((along, width), (across, height)):
        first, last = ((0.5 - uniform(images, generator, *_LEAF_SHARE)) * size for _ in range(2))
        is_open = is_open & (place > -first) & (place < last)
    return is_open


def _within_iris(images: Images, generator: torch.Generator) -> Bool[Tensor, 'B H W']:
    height, width = images.shape[-2:]
    size = min(height, width)
    rows, columns = pixel_grid(images)
    down, right = (
        uniform(images, generator, -_LARGEST_IRIS_SHIFT, _LARGEST_IRIS_SHIFT) * size
        for _ in range(2)
    )
    from_middle = torch.hypot(rows - (height - 1) / 2 - down, columns - (width - 1) / 2 - right)
    return from_middle < uniform(images, generator, *_IRIS_RADIUS) * size
