"""Compiled sums over the cells of an image, and the normal equations that follow from them."""

import math

import numpy as np
from numba import njit, prange

# mypy: disable-error-code="no-untyped-def"


@njit(cache=True, nogil=True, parallel=True)
def cell_sums(images, planes, anchors, xray, mask, row_edges, column_edges):
    """Return sums over the usable pixels of each cell of a grid, float64 [B, cells, 3 + 3 n].

    In this order: y, y^2, x y, then the slopes J, y J and x J, with y an image less its anchor.

    Args:
        images: [B, H, W].
        planes: their derivatives [B, n, H, W].
        anchors: [B].
        xray: float64 x [H, W].
        mask: usable pixels.
        row_edges: first row of each row of cells, and the end of the last.
        column_edges: the same of columns.
    """
    batch, n = planes.shape[:2]
    rows, columns = len(row_edges) - 1, len(column_edges) - 1
    out = np.zeros((batch, rows * columns, 3 + 3 * n))
    for job in prange(batch * rows):
        b, row = job // rows, job % rows
        for column in range(columns):
            sums = out[b, row * columns + column]
            for v in range(row_edges[row], row_edges[row + 1]):
                for u in range(column_edges[column], column_edges[column + 1]):
                    if mask[v, u]:
                        x, y = xray[v, u], np.float64(images[b, v, u]) - anchors[b]
                        sums[0] += y
                        sums[1] += y * y
                        sums[2] += x * y
                        for k in range(n):
                            slope = np.float64(planes[b, k, v, u])
                            sums[3 + k] += slope
                            sums[3 + n + k] += y * slope
                            sums[3 + 2 * n + k] += x * slope
    return out


@njit(cache=True, nogil=True, error_model='numpy')
def equations(cells, slots, boxes, pixels, target_energy, floor, smallest_contrast):
    """Return cost, gradient, hessian without J J^T, validity, weights of cells and a 0 of B images.

    What `local_equations.LocalEquations` computes, without the overhead of its hundred tensors.

    Args:
        cells: sums over cells (`cell_sums`).
        slots: number of the box that each cell lies in, one of each layout [l, cells]; beyond the
            last for one left out.
        boxes: pixels m, weight w, factor and mean of the X-ray of each [4, P].
        pixels: usable ones of the image.
        target_energy: see `FixedBoxes`.
        floor: see `FLOOR`.
        smallest_contrast: see `correlation`.
    """
    batch, cell_count, width = cells.shape
    n, box_count = width // 3 - 1, boxes.shape[1]
    cost, gradient, hessian = np.zeros(batch), np.zeros((batch, n)), np.zeros((batch, n, n))
    valid, weights = np.zeros(batch, np.bool_), np.zeros((batch, cell_count + 1))
    sums, squares = np.empty((box_count + 1, width)), np.empty(box_count + 1)
    J_energy, along = np.empty(n), np.empty(n)
    for b in range(batch):
        total = cells[b].sum(0)
        mean = total[0] / pixels
        variance = (total[1] - mean * total[0]) / pixels
        valid[b] = variance * pixels > smallest_contrast * max(total[1], 1e-300)
        sums[:] = 0.0
        for layout in range(len(slots)):
            for cell in range(cell_count):
                box = slots[layout, cell]
                for k in range(width):
                    sums[box, k] += cells[b, cell, k]
        squares[box_count] = 0.0
        for box in range(box_count):
            m, weight, factor, mean_x = boxes[:, box]
            of_box = sums[box]
            y, J = of_box[0] / m, of_box[3 : 3 + n]
            energy = of_box[1] - y * of_box[0]
            target = factor * (of_box[2] - mean_x * of_box[0])
            square = energy + floor * m * variance
            scale = weight / math.sqrt(square)
            squares[box] = scale * scale
            cost[b] += squares[box] * energy - 2 * scale * target
            for k in range(n):
                slope = 2 * (total[3 + n + k] - mean * total[3 + k]) / pixels
                J_energy[k] = of_box[3 + n + k] - y * J[k]
                along[k] = (J_energy[k] + 0.5 * floor * m * slope) / square
                J_target = factor * (of_box[3 + 2 * n + k] - mean_x * J[k])
                gradient[b, k] += squares[box] * (J_energy[k] - energy * along[k])
                gradient[b, k] -= scale * (J_target - target * along[k])
            for i in range(n):
                for k in range(n):
                    across = energy * along[i] * along[k]
                    across -= along[i] * J_energy[k] + J_energy[i] * along[k]
                    hessian[b, i, k] += squares[box] * (across - J[i] * J[k] / m)
        cost[b] += target_energy
        if not valid[b]:
            continue
        for layout in range(len(slots)):
            for cell in range(cell_count):
                weights[b, cell] += squares[slots[layout, cell]]
    return cost, gradient, hessian, valid, weights
