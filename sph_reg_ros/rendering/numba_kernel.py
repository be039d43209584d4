"""The compiled ray loop: image and Jacobian in one pass over the volume."""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

TILE = 8
# Samples this close to the padded border (in voxels) would read past it and weigh nothing.
MARGIN = 1e-3


@njit(cache=True, nogil=True, inline='always')
def clip(origin: NDArray, slope: NDArray, dims: NDArray, step: float) -> tuple[int, int]:
    """Return the range [first, last) of samples (k + 1/2) step inside the padded volume."""
    near, far = 0.0, math.inf
    for axis in range(3):
        low, high = MARGIN, dims[axis] - 1 - MARGIN
        if abs(slope[axis]) < 1e-12:
            if origin[axis] < low or origin[axis] > high:
                return 0, 0
        else:
            a = (low - origin[axis]) / slope[axis]
            b = (high - origin[axis]) / slope[axis]
            near = max(near, min(a, b))
            far = min(far, max(a, b))
    if far <= near:
        return 0, 0
    return int(math.ceil(near / step - 0.5)), int(math.floor(far / step - 0.5)) + 1


@njit(cache=True, nogil=True, fastmath=True, inline='always')
def accumulate(
    values: NDArray, row: int, plane: int, start: tuple, slope: tuple, count: int
) -> tuple:
    """Sum V, its gradient g (by voxel) and k g over `count` samples start + k slope, float32."""
    px, py, pz = start
    dx, dy, dz = slope
    v_sum = np.float32(0)
    gx = gy = gz = hx = hy = hz = np.float32(0)
    for k in range(count):
        n = np.float32(k)
        x, y, z = px + n * dx, py + n * dy, pz + n * dz
        i, j, m = np.uint32(x), np.uint32(y), np.uint32(z)
        fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(m)
        at = np.uintp(m * plane + j * row + i)
        a, b = at + np.uintp(row), at + np.uintp(plane)
        c = b + np.uintp(row)
        one = np.uintp(1)
        # Differences along x, then y, then z give the value and all three slopes.
        d00, d10 = values[at + one] - values[at], values[a + one] - values[a]
        d01, d11 = values[b + one] - values[b], values[c + one] - values[c]
        v00, v10 = values[at] + fx * d00, values[a] + fx * d10
        v01, v11 = values[b] + fx * d01, values[c] + fx * d11
        e0, e1 = v10 - v00, v11 - v01
        w0, w1 = v00 + fy * e0, v01 + fy * e1
        s0, s1 = d00 + fy * (d10 - d00), d01 + fy * (d11 - d01)
        slope_x, slope_y, slope_z = s0 + fz * (s1 - s0), e0 + fz * (e1 - e0), w1 - w0
        v_sum += w0 + fz * slope_z
        gx += slope_x
        gy += slope_y
        gz += slope_z
        hx += n * slope_x
        hy += n * slope_y
        hz += n * slope_z
    return v_sum, gx, gy, gz, hx, hy, hz


@njit(cache=True, nogil=True, inline='always')
def direction(K_inv: NDArray, row: int, column: int, out: NDArray) -> None:
    """Write the unit direction of a pixel's ray, camera axes."""
    for axis in range(3):
        out[axis] = K_inv[axis, 0] * column + K_inv[axis, 1] * row + K_inv[axis, 2]
    norm = math.sqrt(out[0] ** 2 + out[1] ** 2 + out[2] ** 2)
    for axis in range(3):
        out[axis] /= norm


@njit(cache=True, nogil=True, inline='always')
def write_jacobian(
    M: NDArray, c: NDArray, centre: NDArray, sums: tuple, first: int, step: float, out: NDArray
) -> None:
    """Turn voxel-axis sums into d/d(omega, v), see torch_backend.jacobian_from_sums."""
    G = np.empty(3)
    H = np.empty(3)
    for axis in range(3):
        G[axis] = 0.0
        H[axis] = 0.0
        for index_axis in range(3):
            G[axis] += M[index_axis, axis] * sums[1 + index_axis]
            H[axis] += M[index_axis, axis] * sums[4 + index_axis]
        # Sample number k of the loop lies at t = (first + k + 1/2) step.
        H[axis] = (H[axis] + (first + 0.5) * G[axis]) * step
    for axis in range(3):
        p, q = (axis + 1) % 3, (axis + 2) % 3
        turn = centre[p] * G[q] - centre[q] * G[p] - c[p] * H[q] + c[q] * H[p]
        out[axis] = step * turn
        out[3 + axis] = -step * G[axis]


@njit(cache=True, nogil=True, parallel=True)
def render(
    values: NDArray,
    shape: NDArray,
    index_from_camera: NDArray,
    centres: NDArray,
    K_inv: NDArray,
    step: float,
    image: NDArray,
    jacobian: NDArray,
) -> None:
    """Fill image [B, H, W] and, unless it is empty, jacobian [B, H, W, 6]; float32.

    Args:
        values: zero-padded volume, flat [K * J * I].
        shape: its (K, J, I).
        index_from_camera: [B, 4, 4], camera mm to padded (i, j, k).
        centres: [B, 3] anatomy centre in camera mm.
        K_inv: inverse intrinsics [3, 3].
        step: distance of samples in mm.
        image: output.
        jacobian: output; size 0 to skip.
    """
    batch, height, width = image.shape
    tile_rows, tile_columns = (height + TILE - 1) // TILE, (width + TILE - 1) // TILE
    tiles = tile_rows * tile_columns
    row_stride, plane_stride = np.uint32(shape[2]), np.uint32(shape[1] * shape[2])
    dims = np.array([shape[2], shape[1], shape[0]])
    with_jacobian = jacobian.size > 0
    # Rays of one square tile share cache lines.
    for job in prange(batch * tiles):
        b, tile = job // tiles, job % tiles
        top, left = (tile // tile_columns) * TILE, (tile % tile_columns) * TILE
        M = index_from_camera[b]
        origin = M[:3, 3]
        c = np.empty(3)
        slope = np.empty(3)
        for r in range(top, min(top + TILE, height)):
            for q in range(left, min(left + TILE, width)):
                direction(K_inv, r, q, c)
                for axis in range(3):
                    slope[axis] = M[axis, 0] * c[0] + M[axis, 1] * c[1] + M[axis, 2] * c[2]
                first, last = clip(origin, slope, dims, step)
                t = (first + 0.5) * step
                start = (
                    np.float32(origin[0] + t * slope[0]),
                    np.float32(origin[1] + t * slope[1]),
                    np.float32(origin[2] + t * slope[2]),
                )
                stride = (
                    np.float32(step * slope[0]),
                    np.float32(step * slope[1]),
                    np.float32(step * slope[2]),
                )
                sums = accumulate(values, row_stride, plane_stride, start, stride, last - first)
                image[b, r, q] = step * sums[0]
                if with_jacobian:
                    write_jacobian(M, c, centres[b], sums, first, step, jacobian[b, r, q])
