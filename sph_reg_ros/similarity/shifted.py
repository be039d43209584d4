"""Copies of an image, each shifted by whole pixels."""

from itertools import product

import torch
from jaxtyping import Shaped
from torch import Tensor

SHIFTS_PX = tuple(product((-3, -1, 1, 3), repeat=2))
"""Columns and rows. The errors of an encoder's slopes change within a pixel or two."""


def shifted(images: Shaped[Tensor, '*b H W']) -> Shaped[Tensor, '*b M H W']:
    """Return a copy for each of SHIFTS_PX; where it has left the field, its border goes on."""
    rows, columns = (torch.arange(size, device=images.device) for size in images.shape[-2:])
    copies = [
        images[..., (rows + down).clamp(0, len(rows) - 1), :][
            ..., (columns + right).clamp(0, len(columns) - 1)
        ]
        for right, down in SHIFTS_PX
    ]
    return torch.stack(copies, -3)
