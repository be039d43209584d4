"""The compiled renderer around the inner loop: tiles of pixels, packets of rays, the Jacobian.

A packet is a square of LANES rays; lane l is its pixel (l // PACKET, l % PACKET). Positions
of a packet's samples n = 0, 1, ... are start + n stride in padded voxels, arrays [3, LANES].
"""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sph_reg_ros.rendering.cpu.march import (
    LANES,
    SUMS,
    march_image,
    march_image_and_slopes,
)
from sph_reg_ros.rendering.cpu.volume import BRICK

# Neighbours in both directions share the most cache lines.
PACKET = 4
MIDDLE = LANES // 2 + PACKET // 2
# Samples that are looked up in the map of air together.
CHUNK = 8
# Most samples in one go: their positions are measured from where the run starts.
RUN = 32
# Float32's relative rounding, twice: a run's positions are off by no more of its length.
ROUNDING = 2.4e-7


@njit(cache=True, nogil=True)
def clip(origin: NDArray, slope: NDArray, dims: NDArray, step: float) -> tuple[int, int]:
    """Return the range [first, last) of samples (k + 1/2) step inside the padded volume.

    Samples so close to the border that rounding could read past it are left out.
    """
    near, far = 0.0, math.inf
    longest = max(abs(slope[0]), abs(slope[1]), abs(slope[2]))
    margin = ROUNDING * (1 + RUN * step * longest)
    for axis in range(3):
        low, high = margin, dims[axis] - 1 - margin
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


@njit(cache=True, nogil=True)
def write_direction(
    K_inv: NDArray, scan_depth: float, row: int, column: int, out: NDArray
) -> float:
    """Write the unit direction [3] of a pixel's ray, camera axes; return the y of its source."""
    for axis in range(3):
        out[axis] = K_inv[axis, 0] * column + K_inv[axis, 1] * row + K_inv[axis, 2]
    source_y = scan_depth * out[1]
    if scan_depth > 0:
        out[1] = 0.0
    norm = 1.0 / math.sqrt(out[0] * out[0] + out[1] * out[1] + out[2] * out[2])
    for axis in range(3):
        out[axis] *= norm
    return source_y


@njit(cache=True, nogil=True)
def aim_packet(
    M: NDArray,
    dims: NDArray,
    step: float,
    directions: NDArray,
    sources_y: NDArray,
    start: NDArray,
    stride: NDArray,
    window: NDArray,
) -> tuple[int, int]:
    """Fill start, stride and the window of samples inside the volume.

    Args:
        M: camera mm to padded (i, j, k).
        dims: of the padded volume.
        step: distance of samples in mm.
        directions: unit vectors [LANES, 3], camera axes.
        sources_y: y of the rays' sources [LANES], camera mm.
        start: output.
        stride: output.
        window: output.

    Returns:
        Number on the rays of the packet's sample 0, and how many samples cover the volume.
    """
    origin, slope = np.empty(3), np.empty(3)
    begin, end = 1 << 30, 0
    for lane in range(LANES):
        c = directions[lane]
        for axis in range(3):
            slope[axis] = M[axis, 0] * c[0] + M[axis, 1] * c[1] + M[axis, 2] * c[2]
            stride[axis, lane] = step * slope[axis]
            origin[axis] = M[axis, 3] + M[axis, 1] * sources_y[lane]
            start[axis, lane] = origin[axis]
        first, last = clip(origin, slope, dims, step)
        window[0, lane], window[1, lane] = first, last
        if last > first:
            begin, end = min(begin, first), max(end, last)
    begin = min(begin, end)
    for lane in range(LANES):
        window[0, lane] -= begin
        window[1, lane] -= begin
        for axis in range(3):
            start[axis, lane] += (begin + 0.5) * stride[axis, lane]
    return begin, end - begin


@njit(cache=True, nogil=True)
def may_skip(start: NDArray, stride: NDArray, count: int) -> bool:
    """Return whether every sample of a chunk lies near enough to its middle to share its brick."""
    spread, longest = 0.0, 0.0
    for axis in range(3):
        for lane in range(LANES):
            offset = start[axis, lane] - start[axis, MIDDLE]
            widening = stride[axis, lane] - stride[axis, MIDDLE]
            spread = max(spread, abs(offset), abs(offset + count * widening))
            longest = max(longest, abs(stride[axis, lane]))
    # One voxel more for the neighbours that a sample reads.
    return spread + 0.5 * CHUNK * longest + 1 < BRICK


@njit(cache=True, nogil=True)
def in_air(occupied: NDArray, start: NDArray, stride: NDArray, n: float) -> bool:
    """Return whether sample n of the middle ray lies in a brick of air."""
    i = math.floor((start[0, MIDDLE] + n * stride[0, MIDDLE]) / BRICK)
    j = math.floor((start[1, MIDDLE] + n * stride[1, MIDDLE]) / BRICK)
    k = math.floor((start[2, MIDDLE] + n * stride[2, MIDDLE]) / BRICK)
    if i < 0 or j < 0 or k < 0:
        return False
    if i >= occupied.shape[2] or j >= occupied.shape[1] or k >= occupied.shape[0]:
        return False
    return occupied[k, j, i] == 0


@njit(cache=True, nogil=True)
def march_where_occupied(
    volume: tuple,
    start: NDArray,
    stride: NDArray,
    window: NDArray,
    count: int,
    with_jacobian: bool,
    sums: NDArray,
) -> None:
    """Add the samples 0..count of a packet, passing over chunks that lie in air."""
    values, row_stride, plane_stride, occupied = volume
    skipping = may_skip(start, stride, count)
    n = 0
    while n < count:
        end = n
        while end < min(n + RUN, count) and not (
            skipping and in_air(occupied, start, stride, end + 0.5 * CHUNK)
        ):
            end += CHUNK
        end = min(end, count)
        if end == n:
            n += CHUNK
            continue
        if with_jacobian:
            march_image_and_slopes(
                values, row_stride, plane_stride, start, stride, window,
                np.int32(n), np.int32(end), sums,
            )  # fmt: skip
        else:
            march_image(
                values, row_stride, plane_stride, start, stride, window,
                np.int32(n), np.int32(end), sums,
            )  # fmt: skip
        n = end


@njit(cache=True, nogil=True)
def write_jacobian(
    M: NDArray,
    c: NDArray,
    centre: NDArray,
    source_y: float,
    sums: NDArray,
    t: float,
    step: float,
    without_ray_motion: bool,
    out: NDArray,
) -> None:
    """Turn one ray's sums [SUMS] into d/d(omega, v), see torch_backend.jacobian_from_sums.

    Args:
        M: camera mm to padded (i, j, k).
        c: the ray's unit direction, camera axes.
        centre: anatomy centre in camera mm.
        source_y: y of the ray's source, camera mm.
        sums: ray sums in 1/mm.
        t: distance of sample 0 from the source, mm.
        step: distance of samples, mm.
        without_ray_motion: whether what the samples make of it is projected out (`along_rays`).
        out: [6].
    """
    x, y, z = step * sums[1], step * sums[2], step * sums[3]
    u, v, w = step * sums[4], step * sums[5], step * sums[6]
    G0 = M[0, 0] * x + M[1, 0] * y + M[2, 0] * z
    G1 = M[0, 1] * x + M[1, 1] * y + M[2, 1] * z
    G2 = M[0, 2] * x + M[1, 2] * y + M[2, 2] * z
    # Sample n lies at t + n step.
    H0 = step * (M[0, 0] * u + M[1, 0] * v + M[2, 0] * w) + t * G0
    H1 = step * (M[0, 1] * u + M[1, 1] * v + M[2, 1] * w) + t * G1
    H2 = step * (M[0, 2] * u + M[1, 2] * v + M[2, 2] * w) + t * G2
    if without_ray_motion:
        # H loses as much along c, which its product with c does not see.
        along = G0 * c[0] + G1 * c[1] + G2 * c[2]
        G0, G1, G2 = G0 - along * c[0], G1 - along * c[1], G2 - along * c[2]
    arm_y = centre[1] - source_y
    out[0] = arm_y * G2 - centre[2] * G1 - c[1] * H2 + c[2] * H1
    out[1] = centre[2] * G0 - centre[0] * G2 - c[2] * H0 + c[0] * H2
    out[2] = centre[0] * G1 - arm_y * G0 - c[0] * H1 + c[1] * H0
    out[3] = -G0
    out[4] = -G1
    out[5] = -G2


@njit(cache=True, nogil=True, parallel=True)
def render_tiles(
    values: NDArray,
    scale: float,
    occupied: NDArray,
    shape: NDArray,
    index_from_camera: NDArray,
    centres: NDArray,
    K_inv: NDArray,
    scan_depth: float,
    step: float,
    tile: int,
    without_ray_motion: bool,
    image: NDArray,
    jacobian: NDArray,
) -> None:
    """Fill image [B, H, W] and, unless it is empty, jacobian [B, 6, H, W]; float32.

    Args:
        values: zero-padded volume, uint16 or float32, flat [K * J * I].
        scale: attenuation (1/mm) of the value 1.
        occupied: bricks that are not air, see `volume`.
        shape: (K, J, I) of the padded volume.
        index_from_camera: [B, 4, 4], camera mm to padded (i, j, k).
        centres: [B, 3] anatomy centre in camera mm.
        K_inv: inverse intrinsics [3, 3].
        scan_depth: of a line scan in mm, 0 for a pinhole; see `geometry.Camera`.
        step: distance of samples in mm.
        tile: edge in pixels of the squares that are shared out, a multiple of PACKET.
        without_ray_motion: see write_jacobian.
        image: output.
        jacobian: output; size 0 to skip.
    """
    batch, height, width = image.shape
    tile_rows, tile_columns = (height + tile - 1) // tile, (width + tile - 1) // tile
    tiles = tile_rows * tile_columns
    volume = (values, np.int32(shape[2]), np.int32(shape[1] * shape[2]), occupied)
    dims = np.array([shape[2], shape[1], shape[0]])
    with_jacobian = jacobian.size > 0
    for job in prange(batch * tiles):
        b, number = job // tiles, job % tiles
        top, left = (number // tile_columns) * tile, (number % tile_columns) * tile
        M = index_from_camera[b]
        directions, sources_y = np.empty((LANES, 3)), np.empty(LANES)
        start = np.empty((3, LANES))
        stride = np.empty((3, LANES))
        window = np.empty((2, LANES), np.float32)
        sums = np.empty((SUMS, LANES), np.float32)
        ray_sums = np.empty(SUMS)
        for row in range(top, min(top + tile, height), PACKET):
            for column in range(left, min(left + tile, width), PACKET):
                for lane in range(LANES):
                    # Lanes beyond the image repeat its last rays and are not written.
                    r, q = (
                        min(row + lane // PACKET, height - 1),
                        min(column + lane % PACKET, width - 1),
                    )
                    sources_y[lane] = write_direction(K_inv, scan_depth, r, q, directions[lane])
                begin, count = aim_packet(
                    M, dims, step, directions, sources_y, start, stride, window
                )
                sums[:] = 0
                march_where_occupied(volume, start, stride, window, count, with_jacobian, sums)
                for lane in range(LANES):
                    r, q = row + lane // PACKET, column + lane % PACKET
                    if r >= height or q >= width:
                        continue
                    for n in range(SUMS):
                        ray_sums[n] = scale * sums[n, lane]
                    image[b, r, q] = step * ray_sums[0]
                    if with_jacobian:
                        t = (begin + 0.5) * step
                        c, out = directions[lane], jacobian[b, :, r, q]
                        write_jacobian(
                            M, c, centres[b], sources_y[lane], ray_sums, t, step,
                            without_ray_motion, out,
                        )  # fmt: skip
