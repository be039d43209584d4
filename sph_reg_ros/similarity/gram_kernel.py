"""Compiled sums over an image of products of its columns, on all cores.

The columns of an image are its derivatives by n unknowns and itself; every product sum that the
normal equations of a correlation need is an entry of their Gram matrix with themselves and with
fixed basis images. Images are read once, in strips of rows that fit the caches: sums within a strip
are in float32, over strips in float64.
"""

import math

import numpy as np
from numba import njit, prange

# mypy: disable-error-code="no-untyped-def"

# Sums may be reordered, so that they are vectors; infinities and NaN keep their meaning.
FAST = {'reassoc', 'contract', 'nsz', 'arcp'}
# Pixels of a strip.
STRIP_PX = 256
REACH = 3
"""Pixels on each side of the middle that the filters see."""


@njit(cache=True, nogil=True, parallel=True, fastmath=FAST)
def add_grams(taps, images, planes, anchors, weight, basis, place, out):
    """Add Gram matrices of the columns of images, or of their gradients, to `out`.

    Args:
        taps: float32 [2, REACH + 1]: a smoothing filter from its middle on, 0 where it ends, and
            that of a derivative, whose taps on the other side have the opposite sign. Size 0 for
            the columns themselves.
        images: float32 [B, H, W].
        planes: their derivatives, float32 [B, n, H, W].
        anchors: values [B] that are taken off the images.
        weight: of places, float32 [1 or B, h, w]; smaller by a margin where filters do not fit.
        basis: float32 [c, m, h, w], weights included; c = 2 for gradients along columns and rows.
        place: where each of the m products goes, behind the first n + 1 columns.
        out: float64 [B, n + 1, n + 1 + M].
    """
    batch, size = len(images), planes.shape[1] + 1
    height, width = weight.shape[1:]
    rows = max(1, STRIP_PX // max(1, width))
    strips = (height + rows - 1) // rows
    parts = np.zeros((batch, strips, (size + 3) // 4 * 4, out.shape[2]))
    for job in prange(batch * strips):
        b, first = job // strips, (job % strips) * rows
        count = min(rows, height - first)
        columns = np.empty((len(basis), size, count, width), np.float32)
        _fill(columns, first, taps, images[b], planes[b], anchors[b])
        fixed = weight[b % len(weight)], basis, place
        _add_products(columns, first, fixed, parts[b, job % strips])
    for b in range(batch):
        for strip in range(strips):
            out[b] += parts[b, strip, :size]


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


@njit(cache=True, nogil=True, parallel=True)
def means(images, weight):
    """Return the mean of each image [B, H, W] where the weight [H, W] is positive; float32.

    That of a constant image is exactly its value.
    """
    found = np.zeros(len(images), np.float32)
    for b in prange(len(images)):
        total, count = 0.0, 0
        for v in range(weight.shape[0]):
            for u in range(weight.shape[1]):
                if weight[v, u] > 0:
                    total += images[b, v, u]
                    count += 1
        found[b] = total / max(count, 1)
    return found


@njit(cache=True, nogil=True, parallel=True, fastmath=FAST)
def sums_of_patches(taps, images, planes, anchors, weight, basis, factors, edges, out):
    """Add, for each patch, the sums of residuals times what they are made of.

    A residual is `factors` times the image's value and the basis at a place; its products with the
    columns and with the basis are summed.

    Args:
        taps: as in `add_grams`, and so on.
        images: float32 [B, H, W].
        planes: float32 [B, n, H, W].
        anchors: [B].
        weight: float32 [1, h, w].
        basis: float32 [c, m, h, w].
        factors: float32 [B, 1 + m].
        edges: first row of each of P patches one below the other and the end of the last, then the
            same of columns [2, P + 1].
        out: float64 [B, P, P, n + 1 + m].
    """
    batch, size = len(images), planes.shape[1] + 1
    patches, width = out.shape[1], weight.shape[2]
    for job in prange(batch * patches):
        b, patch = job // patches, job % patches
        for row in range(edges[0, patch], edges[0, patch + 1]):
            columns = np.empty((len(basis), size, 1, width), np.float32)
            _fill(columns, row, taps, images[b], planes[b], anchors[b])
            for c in range(len(basis)):
                _add_residuals(
                    columns[c, :, 0], weight[0, row], basis[c, :, row], factors[b], edges[1],
                    out[b, patch],
                )  # fmt: skip


@njit(nogil=True, fastmath=FAST)
def _add_residuals(columns, weight, basis, factors, edges, out):
    """Add the sums of one row: columns [n + 1, w], basis [m, w], out [P, n + 1 + m]."""
    size, width = columns.shape
    residual = np.empty(width, np.float32)
    for i in range(width):
        residual[i] = factors[0] * weight[i] * columns[size - 1, i]
    for j in range(len(basis)):
        for i in range(width):
            residual[i] += factors[1 + j] * basis[j, i]
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
def _fill(columns, first, taps, image, planes, anchor):
    """Write rows from `first` on of all columns [c, n + 1, rows, w]."""
    n, rows = len(planes), columns.shape[2]
    if taps.size == 0:
        columns[0, :n] = planes[:, first : first + rows]
        columns[0, n] = image[first : first + rows] - anchor
        return
    down = np.zeros((2, image.shape[1] + 2 * REACH), np.float32)
    for row in range(rows):
        for k in range(n):
            _filter_row(planes[k], np.float32(0), first + row, taps, down, columns[:, k, row])
        _filter_row(image, anchor, first + row, taps, down, columns[:, n, row])


@njit(nogil=True, fastmath=FAST)
def _filter_row(image, anchor, row, taps, down, out):
    """Write one row of the gradient along columns and along rows; the filters fit there.

    Args:
        image: [H, W].
        anchor: taken off.
        row: of the output.
        taps: see gram_of_gradients.
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


@njit(nogil=True, fastmath=FAST)
def _add_products(columns, first, fixed, out):
    """Add the product sums of a strip: columns [c, n + 1, rows, w] from row `first` on."""
    weight, basis, place = fixed
    components, size, rows, width = columns.shape
    pixels, start = rows * width, first * width
    weights = weight.reshape(-1)
    # Four products at a time read half as much.
    padded = (size + 3) // 4 * 4
    left = np.zeros((padded, pixels), np.float32)
    right = np.empty(pixels, np.float32)
    for c in range(components):
        left[:size] = columns[c].reshape(size, pixels)
        images = basis[c].reshape(len(place), weights.size)
        for j in range(size + len(place)):
            if j < size:
                target = j
                for i in range(pixels):
                    right[i] = weights[start + i] * left[j, i]
            else:
                target = size + place[j - size]
                for i in range(pixels):
                    right[i] = images[j - size, start + i]
            for a in range(0, padded, 4):
                t0, t1, t2, t3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for i in range(pixels):
                    x = right[i]
                    t0 += left[a, i] * x
                    t1 += left[a + 1, i] * x
                    t2 += left[a + 2, i] * x
                    t3 += left[a + 3, i] * x
                out[a, target] += t0
                out[a + 1, target] += t1
                out[a + 2, target] += t2
                out[a + 3, target] += t3
