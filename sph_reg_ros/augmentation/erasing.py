"""Random erasing."""

import torch

from sph_reg_ros.augmentation.draws import Images, chosen, one_of, pixel_grid, uniform

_AREA = (0.02, 0.4)
_ASPECT = (0.3, 1.0)


def erase(images: Images, generator: torch.Generator, probability: float) -> Images:
    """Fill a rectangle with the mean of its image (2509.06890, supplement 9).

    It has 2 to 40 % of the area, sides of 0.3 to 1 to each other, and lies or stands.
    """
    on = chosen(images, generator, probability)
    height, width = images.shape[-2:]
    area = uniform(images, generator, *_AREA) * height * width
    aspect = uniform(images, generator, *_ASPECT)
    aspect = torch.where(one_of(images, generator, 2) == 0, aspect, 1 / aspect)
    tall = (area * aspect).sqrt().clamp(max=height)
    wide = (area / aspect).sqrt().clamp(max=width)
    top = uniform(images, generator, 0.0, 1.0) * (height - tall)
    left = uniform(images, generator, 0.0, 1.0) * (width - wide)
    rows, columns = pixel_grid(images)
    inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
    return torch.where(on & inside, images.mean((-2, -1), keepdim=True), images)
