"""Random instruments in the beam that the CT lacks: rods, plates, bent wires."""

import math

import torch

from sph_reg_ros.augmentation.draws import (
    EachImage,
    Images,
    chosen,
    one_of,
    pixel_grid,
    uniform,
)

_PLACE = (0.05, 0.95)
_ROD_RADIUS = (0.006, 0.035)
_WIRE_RADIUS = (0.004, 0.012)
_WIRE_BEND = (0.2, 1.5)
_PLATE_BREADTH = (0.05, 0.3)
_LENGTH = (0.1, 1.2)
_STEEL = (0.5, 5.0)


def add_instrument(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Add the line integral of one instrument, 0.5 to 5 at its thickest, at a random place."""
    on = chosen(images, generator, probability)
    along, across = _axes(images, generator)
    size = max(images.shape[-2:])
    length = uniform(images, generator, *_LENGTH) * size
    here = (along > 0) & (along < length)
    shapes = (
        _rod(across, uniform(images, generator, *_ROD_RADIUS) * size),
        (across.abs() < uniform(images, generator, *_PLATE_BREADTH) * size / 2).to(images),
        _wire(along, across, images, generator),
    )
    kind = one_of(images, generator, len(shapes))
    shape = torch.zeros_like(images)
    for number, found in enumerate(shapes):
        shape = torch.where(kind == number, found, shape)
    steel = uniform(images, generator, *_STEEL) * shape
    return torch.where(on & here, images + steel, images)


def _axes(images: Images, generator: torch.Generator) -> tuple[Images, Images]:
    """Return each pixel's coordinates along and across an axis that starts inside the image."""
    height, width = images.shape[-2:]
    top, left = (uniform(images, generator, *_PLACE) * size for size in (height, width))
    angle = uniform(images, generator, 0.0, 2 * math.pi)
    rows, columns = pixel_grid(images)
    rows, columns = rows - top, columns - left
    along = columns * torch.cos(angle) + rows * torch.sin(angle)
    return along, rows * torch.cos(angle) - columns * torch.sin(angle)


def _wire(along: Images, across: Images, images: Images, generator: torch.Generator) -> Images:
    """Return a wire along an arc that starts in the direction of the axis."""
    size = max(images.shape[-2:])
    bend = uniform(images, generator, *_WIRE_BEND) * size
    from_arc = torch.hypot(along, across - bend) - bend
    return _rod(from_arc, uniform(images, generator, *_WIRE_RADIUS) * size)


def _rod(across: Images, radius: EachImage) -> Images:
    """Return what a cylinder of thickness 1 looks like from the side."""
    return (1 - (across / radius).square()).clamp(min=0.0).sqrt()
