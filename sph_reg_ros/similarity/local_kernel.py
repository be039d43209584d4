"""Compiled sums over the cells of an image."""

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
