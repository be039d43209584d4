"""Separable filters of images whose channels lie interleaved."""

import numpy as np
from jaxtyping import Float
from numba import njit


def filter_rows_and_columns(
    images: Float[np.ndarray, 'H W C'],
    along_rows: Float[np.ndarray, 'k'],
    along_columns: Float[np.ndarray, 'k'],
) -> Float[np.ndarray, 'h w C']:
    """Correlate with a filter down the rows and one across the columns, where both fit.

    Args:
        images: float32 or float64.
        along_rows: taps for the row index v, odd length.
        along_columns: taps for the column index u, of the same length.

    Returns:
        Images smaller by k - 1 rows and columns.
    """
    if min(images.shape[:2]) < len(along_rows):
        return np.zeros((0, 0, images.shape[2]), images.dtype)
    taps = (along_rows.astype(images.dtype), along_columns.astype(images.dtype))
    flat = images.reshape(images.shape[0], -1)
    out = _filter(np.ascontiguousarray(flat), *taps, images.shape[2])
    return out.reshape(out.shape[0], -1, images.shape[2])


@njit(cache=True, nogil=True, fastmath=True)
def _filter(flat, along_rows, along_columns, channels):  # type: ignore[no-untyped-def]
    taps = len(along_rows)
    height, width = flat.shape[0] - taps + 1, flat.shape[1]
    kept = width - (taps - 1) * channels
    out = np.empty((height, kept), flat.dtype)
    row = np.empty(width, flat.dtype)
    for v in range(height):
        row[:] = along_rows[0] * flat[v]
        for k in range(1, taps):
            tap, source = along_rows[k], flat[v + k]
            for i in range(width):
                row[i] += tap * source[i]
        target = out[v]
        for i in range(kept):
            target[i] = along_columns[0] * row[i]
        for k in range(1, taps):
            tap, shift = along_columns[k], k * channels
            for i in range(kept):
                target[i] += tap * row[i + shift]
    return out
