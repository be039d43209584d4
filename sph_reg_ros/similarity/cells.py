"""Boxes of several sizes over an image, made of the cells of one grid."""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d

CELLS = 32
"""Along a side of the image; images that are smaller have empty ones."""
SCALES = 3
"""Of boxes: 16, 8 and 4 along a side, each once more moved by half a box."""
BOXES = 16**2 + 17**2 + 8**2 + 9**2 + 4**2 + 5**2


def cell_edges(size: int) -> Int64[np.ndarray, 'n']:
    """Return where each row (or column) of cells begins, and where the last one ends."""
    return np.rint(np.arange(CELLS + 1) * size / CELLS).astype(np.int64)


def cell_of_pixels(shape: tuple[int, int]) -> Int64[Tensor, 'H W']:
    """Return the cell that each pixel of an image lies in."""
    rows, columns = (np.repeat(np.arange(CELLS), np.diff(cell_edges(size))) for size in shape)
    return torch.from_numpy(rows[:, None] * CELLS + columns)


def sums_over_boxes(cells: Float64[Tensor, 'b K cells']) -> Float64[Tensor, 'b K boxes']:
    """Return the sums of cells over all boxes."""
    grid, found = cells.unflatten(-1, (CELLS, CELLS)), []
    for _ in range(SCALES):
        whole, moved = (avg_pool2d(grid, 2, padding=p, divisor_override=1) for p in (0, 1))
        found += [whole.flatten(2), moved.flatten(2)]
        grid = whole
    return torch.cat(found, -1)


def boxes_of_cells() -> Int64[Tensor, 'layouts cells']:
    """Return the boxes that each cell lies in, one of each layout, as `sums_over_boxes` counts."""
    layouts, first = [], 0
    for scale in range(SCALES):
        for moved in (False, True):
            edge = 2 ** (scale + 1)
            at = (torch.arange(CELLS) + (edge // 2 if moved else 0)) // edge
            count = CELLS // edge + int(moved)
            layouts.append((first + at[:, None] * count + at).flatten())
            first += count**2
    return torch.stack(layouts)
