"""Compiled loops over the pixels of images: columns of their features, and sums over patches.

The columns of an image are its derivatives by n unknowns and itself, or the gradients of these.
They lie in blocks of whole rows, each block of all images side by side: every product sum that the
normal equations of a correlation need is then a product of small matrices.
"""

import math

import numpy as np
from numba import njit, prange

# mypy: disable-error-code="no-untyped-def"

# Sums may be reordered, so that they are vectors; infinities and NaN keep their meaning.
FAST = {'reassoc', 'contract', 'nsz', 'arcp'}
REACH = 3
"""Pixels on each side of the middle that the filters see."""


@njit(cache=True, nogil=True, parallel=True, fastmath=FAST)
def fill_columns(taps, images, planes, anchors, out):
    """Write the columns of images, or of their gradients; rows beyond the last one are 0.

    Args:
        taps: float32 [2, REACH + 1]: a smoothing filter from its middle on, 0 where it ends, and
            that of a derivative, whose taps on the other side have the opposite sign. Size 0 for
            the columns themselves.
        images: float32 [B, H, W].
        planes: their derivatives, float32 [B, n, H, W].
        anchors: values [B] that are taken off the images.
        out: float32 [c, blocks, B, n + 1, rows, w]; c = 2 for gradients along columns and rows,
            smaller than the images by a margin where filters do not fit.
    """
    blocks, batch, size, rows, width = out.shape[1:]
    n, margin = size - 1, (images.shape[2] - width) // 2
    height = images.shape[1] - 2 * margin
    for job in prange(blocks * batch):
        block, b = job // batch, job % batch
        down = np.zeros((2, images.shape[2] + 2 * REACH), np.float32)
        for row in range(rows):
            v = block * rows + row
            for k in range(size):
                image = images[b] if k == n else planes[b, k]
                anchor = anchors[b] if k == n else np.float32(0)
                if v >= height:
                    out[:, block, b, k, row] = 0
                elif taps.size == 0:
                    for u in range(width):
                        out[0, block, b, k, row, u] = image[v, u] - anchor
                else:
                    _filter_row(image, anchor, v, taps, down, out[:, block, b, k, row])


@njit(cache=True, nogil=True, error_model='numpy')
def mean_correlation(grams, ignored, signed, smallest_contrast):
    """Return cost, gradient, hessian and validity of rows, the mean of all kinds of features.

    What `correlation.CorrelationEquations` computes, without the overhead of sixty small tensors.

    Args:
        grams: float64 [p, B, N, M].
        ignored: columns that do not count, behind the first N.
        signed: whether a negative correlation is one.
        smallest_contrast: see `correlation`.
    """
    kinds, batch, size, columns = grams.shape
    n, first = size - 1, size + ignored
    cost, gradient, hessian = np.zeros(batch), np.zeros((batch, n)), np.zeros((batch, n, n))
    valid = np.ones(batch, np.bool_)
    centred, v = np.empty((size, size)), np.empty(n)
    for b in range(batch):
        for p in range(kinds):
            G = grams[p, b]
            for i in range(size):
                for j in range(size):
                    centred[i, j] = G[i, j]
                    for k in range(size, first):
                        centred[i, j] -= G[i, k] * G[j, k]
            energy = centred[n, n]
            if not energy > smallest_contrast * G[n, n]:
                valid[b] = False
                continue
            contrast, length = math.sqrt(energy), 0.0
            for k in range(first, columns):
                length += G[n, k] * G[n, k]
            length = G[n, first] if signed else max(math.sqrt(length), 1e-12)
            cost[b] += 2 * (1 - length / contrast) / kinds
            for i in range(n):
                v[i] = 0.0
                for k in range(first, columns):
                    v[i] += G[i, k] * G[n, k] / length
                gradient[b, i] += (centred[i, n] * length / energy - v[i]) / contrast / kinds
            factor = 0.0 if signed else 1 / length**2 - 2 / (contrast * length)
            for i in range(n):
                for j in range(n):
                    across = -v[i] * v[j]
                    for k in range(first, columns):
                        across += G[i, k] * G[j, k]
                    along = centred[i, j] - centred[i, n] * centred[j, n] / energy
                    hessian[b, i, j] += (along / energy + factor * across) / kinds
        finite = np.isfinite(cost[b] + hessian[b].sum())
        if not valid[b] or not finite:
            cost[b] = np.nan if valid[b] else np.inf
            gradient[b], hessian[b], valid[b] = 0.0, 0.0, False
    return cost, gradient, hessian, valid


@njit(cache=True, nogil=True, parallel=True, fastmath=FAST)
def sums_of_patches(columns, weight, basis, factors, edges, out):
    """Add, for each patch, the sums of residuals times what they are made of.

    A residual is `factors` times the image's value and the basis at a place; its products with the
    columns and with the basis are summed.

    Args:
        columns: float32 [c, blocks, B, n + 1, rows, w] (`fill_columns`).
        weight: float32 [blocks, rows, w].
        basis: float32 [c, blocks, m, rows, w], weights included.
        factors: float64 [B, 1 + m].
        edges: first row of each of P patches one below the other and the end of the last, then the
            same of columns [2, P + 1].
        out: float64 [B, P, P, n + 1 + m].
    """
    batch, patches, rows = len(factors), out.shape[1], columns.shape[4]
    for job in prange(batch * patches):
        b, patch = job // patches, job % patches
        for v in range(edges[0, patch], edges[0, patch + 1]):
            block, row = v // rows, v % rows
            for c in range(len(columns)):
                _add_residuals(
                    columns[c, block, b, :, row], weight[block, row], basis[c, block, :, row],
                    factors[b], edges[1], out[b, patch],
                )  # fmt: skip


@njit(nogil=True, fastmath=FAST)
def _add_residuals(columns, weight, basis, factors, edges, out):
    """Add the sums of one row: columns [n + 1, w], basis [m, w], out [P, n + 1 + m]."""
    size, width = columns.shape
    # A small difference of large terms.
    precise = np.empty(width)
    for i in range(width):
        precise[i] = factors[0] * weight[i] * columns[size - 1, i]
    for j in range(len(basis)):
        for i in range(width):
            precise[i] += factors[1 + j] * basis[j, i]
    residual = precise.astype(np.float32)
    for patch in range(len(out)):
        for k in range(size):
            total = np.float32(0)
            for i in range(edges[patch], edges[patch + 1]):
                total += columns[k, i] * residual[i]
            out[patch, k] += total
    for i in range(width):
        # The basis has the root of the weight in it, as the residual has.
        residual[i] = residual[i] / weight[i] if weight[i] > 0 else np.float32(0)
    for patch in range(len(out)):
        for j in range(len(basis)):
            total = np.float32(0)
            for i in range(edges[patch], edges[patch + 1]):
                total += basis[j, i] * residual[i]
            out[patch, size + j] += total


@njit(nogil=True, fastmath=FAST)
def _filter_row(image, anchor, row, taps, down, out):
    """Write one row of the gradient along columns and along rows; the filters fit there.

    Args:
        image: [H, W].
        anchor: taken off.
        row: of the output.
        taps: see fill_columns.
        down: space for a row filtered down the image [2, W + 2 REACH], zeros at both ends.
        out: [2, w].
    """
    height, width = image.shape
    margin = (width - out.shape[1]) // 2
    v = row + margin
    # Rows beyond the image have taps of 0.
    a1, b1 = image[max(v - 1, 0)], image[min(v + 1, height - 1)]
    a2, b2 = image[max(v - 2, 0)], image[min(v + 2, height - 1)]
    a3, b3 = image[max(v - 3, 0)], image[min(v + 3, height - 1)]
    at = image[v]
    s0, s1, s2, s3 = taps[0, 0], taps[0, 1], taps[0, 2], taps[0, 3]
    d1, d2, d3 = taps[1, 1], taps[1, 2], taps[1, 3]
    for u in range(width):
        down[0, REACH + u] = (
            s0 * (at[u] - anchor)
            + s1 * ((a1[u] - anchor) + (b1[u] - anchor))
            + s2 * ((a2[u] - anchor) + (b2[u] - anchor))
            + s3 * ((a3[u] - anchor) + (b3[u] - anchor))
        )
        down[1, REACH + u] = d1 * (b1[u] - a1[u]) + d2 * (b2[u] - a2[u]) + d3 * (b3[u] - a3[u])
    m = REACH + margin
    for u in range(out.shape[1]):
        i = m + u
        out[0, u] = (
            d1 * (down[0, i + 1] - down[0, i - 1])
            + d2 * (down[0, i + 2] - down[0, i - 2])
            + d3 * (down[0, i + 3] - down[0, i - 3])
        )
        out[1, u] = (
            s0 * down[1, i]
            + s1 * (down[1, i + 1] + down[1, i - 1])
            + s2 * (down[1, i + 2] + down[1, i - 2])
            + s3 * (down[1, i + 3] + down[1, i - 3])
        )
