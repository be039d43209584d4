"""Compiled loops over the patches of an image; one core, no GIL held."""

import numpy as np
from numba import njit

# mypy: disable-error-code="no-untyped-def"


@njit(cache=True, nogil=True)
def patch_statistics(image, mask, boxes):
    """Return mean and sum of squared deviations of the usable pixels of each patch."""
    means, energies = np.zeros(len(boxes)), np.zeros(len(boxes))
    for p in range(len(boxes)):
        n, total, square = 0, 0.0, 0.0
        for v in range(boxes[p, 0], boxes[p, 1]):
            for u in range(boxes[p, 2], boxes[p, 3]):
                if mask[v, u]:
                    n += 1
                    total += image[v, u]
        mean = total / max(n, 1)
        for v in range(boxes[p, 0], boxes[p, 1]):
            for u in range(boxes[p, 2], boxes[p, 3]):
                if mask[v, u]:
                    square += (image[v, u] - mean) ** 2
        means[p], energies[p] = mean, square
    return means, energies


@njit(cache=True, nogil=True)
def patch_residuals(image, J, mask, boxes, starts, weights, target, floor):
    """Return the residuals of all patches and their derivative by the columns of J.

    y / sqrt(|y|^2 + floor m V) minus the target, y the m centred pixels of a patch and V the
    variance of all usable pixels, whose own derivative counts too.
    """
    columns = J.shape[2]
    residual = np.empty(starts[-1], image.dtype)
    J_r = np.empty((starts[-1], columns), image.dtype)
    variance, d_variance = _variance(image, J, mask)
    mean_J, along = np.zeros(columns), np.zeros(columns)
    for p in range(len(boxes)):
        m = starts[p + 1] - starts[p]
        mean = 0.0
        mean_J[:] = 0.0
        for v in range(boxes[p, 0], boxes[p, 1]):
            for u in range(boxes[p, 2], boxes[p, 3]):
                if mask[v, u]:
                    mean += image[v, u]
                    for k in range(columns):
                        mean_J[k] += J[v, u, k]
        mean /= m
        mean_J /= m
        energy = 0.0
        along[:] = 0.0
        for v in range(boxes[p, 0], boxes[p, 1]):
            for u in range(boxes[p, 2], boxes[p, 3]):
                if mask[v, u]:
                    y = image[v, u] - mean
                    energy += y * y
                    for k in range(columns):
                        along[k] += y * J[v, u, k]
        inverse = 1.0 / np.sqrt(energy + floor * m * variance)
        for k in range(columns):
            along[k] = (along[k] + 0.5 * floor * m * d_variance[k]) * inverse * inverse
        scale = weights[p] * inverse
        i = starts[p]
        for v in range(boxes[p, 0], boxes[p, 1]):
            for u in range(boxes[p, 2], boxes[p, 3]):
                if mask[v, u]:
                    y = image[v, u] - mean
                    residual[i] = scale * y - target[i]
                    for k in range(columns):
                        J_r[i, k] = scale * (J[v, u, k] - mean_J[k] - y * along[k])
                    i += 1
    return residual, J_r


@njit(cache=True, nogil=True)
def _variance(image, J, mask):
    """Return the variance of the usable pixels and its derivative."""
    columns = J.shape[2]
    n, mean = 0, 0.0
    for v in range(image.shape[0]):
        for u in range(image.shape[1]):
            if mask[v, u]:
                n += 1
                mean += image[v, u]
    mean /= n
    variance, slope = 0.0, np.zeros(columns)
    for v in range(image.shape[0]):
        for u in range(image.shape[1]):
            if mask[v, u]:
                y = image[v, u] - mean
                variance += y * y
                for k in range(columns):
                    slope[k] += y * J[v, u, k]
    return variance / n, 2.0 * slope / n
