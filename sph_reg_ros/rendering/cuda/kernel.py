"""The ray loop on CUDA: image and Jacobian in one pass over the volume.

`prepare` turns each pose into the float32 numbers of a scene, `render` marches the rays of one
detector tile a program, neighbours in space and so in the caches. With TRITON_INTERPRET=1 in the
environment before the first import of triton both run on the CPU, slowly, for tests.

Float32 is enough in `render` because nothing is measured from the source: sample 0 of every ray
lies beside the anatomy's centre, and a pixel's ray differs from the middle one by a small direction
that is computed without subtracting large numbers. Positions are exact to 1e-4 of a voxel.
"""

import triton
import triton.language as tl

VIEW_SIZE = 26
"""float64 numbers of a volume, camera and step: padded_from_ct 3 x 4, centre 3, inverse of K 3 x 3,
step, depth at which K holds for the y of a line scan."""
SCENE_SIZE = 29
"""float32 numbers of a pose: index_from_camera 3 x 3, ray through the image's middle and its change
by a column and by a row 3 x 3, index of sample 0 on that ray 3, centre from there 3, distance of
sample 0 from the source, its number, step, change of the source's y by a column and by a row 2."""

# Sizes change with every image and volume: none may be a reason to compile again.
_SIZES = ('height', 'width', 'columns', 'rows', 'slices', 'parts', 'poses', 'effort')


@triton.jit
def _dot3(ax, ay, az, bx, by, bz):  # type: ignore[no-untyped-def]
    return ax * bx + ay * by + az * bz


@triton.jit
def prepare(view, poses, scenes, height, width):  # type: ignore[no-untyped-def]
    """Write scenes [B, SCENE_SIZE] float32, one program a pose.

    Args:
        view: [VIEW_SIZE] float64.
        poses: camera_from_ct [B, 4, 4] float64, contiguous.
        scenes: output.
        height: rows of the image.
        width: columns of the image.
    """
    pose = poses + tl.program_id(0) * 16
    out = scenes + tl.program_id(0) * 29
    u = (width - 1) * 0.5
    v = (height - 1) * 0.5
    # K^-1 (u, v, 1), its length taken for 1; the other two columns are in the same unit.
    wx = tl.load(view + 15) * u + tl.load(view + 16) * v + tl.load(view + 17)
    wy = tl.load(view + 18) * u + tl.load(view + 19) * v + tl.load(view + 20)
    wz = tl.load(view + 21) * u + tl.load(view + 22) * v + tl.load(view + 23)
    # In a line scan y moves the source and leaves the direction.
    scan = tl.load(view + 25)
    source_y = scan * wy
    fan_y = tl.where(scan > 0, 0.0, 1.0)
    wy = fan_y * wy
    tl.store(out + 27, scan * tl.load(view + 18))
    tl.store(out + 28, scan * tl.load(view + 19))
    norm = tl.sqrt(_dot3(wx, wy, wz, wx, wy, wz))
    wx = wx / norm
    wy = wy / norm
    wz = wz / norm
    tl.store(out + 9, wx)
    tl.store(out + 10, wy)
    tl.store(out + 11, wz)
    for axis in tl.static_range(3):
        kept = fan_y if axis == 1 else 1.0
        tl.store(out + 12 + axis, kept * tl.load(view + 15 + 3 * axis) / norm)
        tl.store(out + 15 + axis, kept * tl.load(view + 16 + 3 * axis) / norm)

    x = tl.load(view + 12)
    y = tl.load(view + 13)
    z = tl.load(view + 14)
    centre_x = _dot3(tl.load(pose + 0), tl.load(pose + 1), tl.load(pose + 2), x, y, z)
    centre_y = _dot3(tl.load(pose + 4), tl.load(pose + 5), tl.load(pose + 6), x, y, z)
    centre_z = _dot3(tl.load(pose + 8), tl.load(pose + 9), tl.load(pose + 10), x, y, z)
    shift_x = tl.load(pose + 3)
    shift_y = tl.load(pose + 7)
    shift_z = tl.load(pose + 11)
    centre_x += shift_x
    centre_y += shift_y
    centre_z += shift_z
    step = tl.load(view + 24)
    # Sample k lies at (k + 1/2) step from the source; here they count from `first`, the one beside
    # the centre.
    first = tl.maximum(tl.floor(_dot3(centre_x, centre_y, centre_z, wx, wy, wz) / step), 0.0)
    distance = (first + 0.5) * step
    tl.store(out + 21, centre_x - distance * wx)
    tl.store(out + 22, centre_y - source_y - distance * wy)
    tl.store(out + 23, centre_z - distance * wz)
    tl.store(out + 24, distance)
    tl.store(out + 25, first)
    tl.store(out + 26, step)

    from_x = distance * wx - shift_x
    from_y = source_y + distance * wy - shift_y
    from_z = distance * wz - shift_z
    for axis in tl.static_range(3):
        ax = tl.load(view + 4 * axis)
        ay = tl.load(view + 4 * axis + 1)
        az = tl.load(view + 4 * axis + 2)
        index = tl.load(view + 4 * axis + 3)
        # The inverse of a rotation is its transpose.
        mx = _dot3(ax, ay, az, tl.load(pose + 0), tl.load(pose + 1), tl.load(pose + 2))
        my = _dot3(ax, ay, az, tl.load(pose + 4), tl.load(pose + 5), tl.load(pose + 6))
        mz = _dot3(ax, ay, az, tl.load(pose + 8), tl.load(pose + 9), tl.load(pose + 10))
        tl.store(out + 3 * axis, mx)
        tl.store(out + 3 * axis + 1, my)
        tl.store(out + 3 * axis + 2, mz)
        tl.store(out + 18 + axis, _dot3(mx, my, mz, from_x, from_y, from_z) + index)


@triton.jit
def _entry_and_exit(start, stride, low, high):  # type: ignore[no-untyped-def]
    """Return the sample numbers at which one coordinate enters and leaves the box."""
    parallel = tl.abs(stride) < 1e-9
    safe = tl.where(parallel, 1.0, stride)
    a = (low - start) / safe
    b = (high - start) / safe
    outside = (start < low) | (start > high)
    enter = tl.where(parallel, tl.where(outside, 1e9, -1e9), tl.minimum(a, b))
    leave = tl.where(parallel, 1e9, tl.maximum(a, b))
    return enter, leave


@triton.jit
def _split(x):  # type: ignore[no-untyped-def]
    """Return the fraction and the whole part of coordinates that are not negative."""
    whole = x.to(tl.int32)
    return x - whole.to(tl.float32), whole


@triton.jit
def _load_pair(pairs, at, inside, zero):  # type: ignore[no-untyped-def]
    """Return two neighbours along i as float32, 0 where not inside, by one load."""
    both = tl.load(pairs + at, mask=inside, other=0)
    if pairs.dtype.element_ty == tl.int64:
        low = both.to(tl.uint32).to(tl.float32, bitcast=True)
        high = (both >> 32).to(tl.uint32).to(tl.float32, bitcast=True)
    else:
        # A 16-bit number below the exponent of 2^23 is the float 2^23 + number: no slow conversion.
        bits = both.to(tl.uint32, bitcast=True)
        low = ((bits & 0xFFFF) | 0x4B000000).to(tl.float32, bitcast=True) - zero
        high = ((bits >> 16) | 0x4B000000).to(tl.float32, bitcast=True) - zero
    return low, high


@triton.jit(do_not_specialize=_SIZES)
def render(  # type: ignore[no-untyped-def]
    pairs,
    levels,
    scenes,
    image,
    jacobian,
    height,
    width,
    columns,
    rows,
    slices,
    parts,
    poses,
    effort,
    JACOBIAN: tl.constexpr,
    PROJECT: tl.constexpr,
    TILE_H: tl.constexpr,
    TILE_W: tl.constexpr,
):
    """Write image [parts, B, H, W] and jacobian [parts, B, 6, H, W] by (omega rad, v mm).

    Part p takes every sample whose number is p modulo `parts`; their sum is the result.

    Args:
        pairs: zero-padded volume [slices, rows, columns], below 2^31 voxels; int32 or int64, see
            cuda.volume.
        levels: [8] float32: attenuation of one unit, the number of attenuation 0, lowest and
            highest index i, j, k between which the volume is not empty; more than rounding inside
            the padded volume, so that no sample reads past it.
        scenes: [B, SCENE_SIZE] float32, see `prepare`.
        image: output, float32.
        jacobian: output, float32; untouched unless JACOBIAN.
        height: rows of the image.
        width: columns of the image.
        columns: size i of the padded volume.
        rows: size j.
        slices: size k.
        parts: number of parts.
        poses: B.
        effort: class of the work to be done, by which tiles are tuned.
        JACOBIAN: whether to write `jacobian`.
        PROJECT: whether to project out motion along the rays (`along_rays`).
        TILE_H: rows of a tile.
        TILE_W: columns of a tile.
    """
    BLOCK: tl.constexpr = TILE_H * TILE_W
    program = tl.program_id(0)
    part = program % parts
    tiles_across = tl.cdiv(width, TILE_W)
    tiles = tiles_across * tl.cdiv(height, TILE_H)
    tile = (program // parts) % tiles
    pose = program // parts // tiles
    lane = tl.arange(0, BLOCK)
    row = (tile // tiles_across) * TILE_H + lane // TILE_W
    column = (tile % tiles_across) * TILE_W + lane % TILE_W
    on_image = (row < height) & (column < width)

    here = scenes + pose * 29
    mxx = tl.load(here + 0)
    mxy = tl.load(here + 1)
    mxz = tl.load(here + 2)
    myx = tl.load(here + 3)
    myy = tl.load(here + 4)
    myz = tl.load(here + 5)
    mzx = tl.load(here + 6)
    mzy = tl.load(here + 7)
    mzz = tl.load(here + 8)
    wx = tl.load(here + 9)
    wy = tl.load(here + 10)
    wz = tl.load(here + 11)
    distance = tl.load(here + 24)
    step = tl.load(here + 26)

    # The pixel's direction w + (ex, ey, ez), unit length; e is small and exact to its own size.
    du = column.to(tl.float32) - (width - 1) * 0.5
    dv = row.to(tl.float32) - (height - 1) * 0.5
    ex = tl.load(here + 12) * du + tl.load(here + 15) * dv
    ey = tl.load(here + 13) * du + tl.load(here + 16) * dv
    ez = tl.load(here + 14) * du + tl.load(here + 17) * dv
    excess = 2.0 * _dot3(wx, wy, wz, ex, ey, ez) + _dot3(ex, ey, ez, ex, ey, ez)
    norm = tl.sqrt(1.0 + excess)
    longer = excess / (1.0 + norm)
    ex = (ex - wx * longer) / norm
    ey = (ey - wy * longer) / norm
    ez = (ez - wz * longer) / norm
    cx = wx + ex
    cy = wy + ey
    cz = wz + ez
    # From sample 0 of the middle ray to sample 0 of this one.
    away_x = distance * ex
    away_y = distance * ey + tl.load(here + 27) * du + tl.load(here + 28) * dv
    away_z = distance * ez
    x_start = tl.load(here + 18) + _dot3(mxx, mxy, mxz, away_x, away_y, away_z)
    y_start = tl.load(here + 19) + _dot3(myx, myy, myz, away_x, away_y, away_z)
    z_start = tl.load(here + 20) + _dot3(mzx, mzy, mzz, away_x, away_y, away_z)
    dx = step * _dot3(mxx, mxy, mxz, cx, cy, cz)
    dy = step * _dot3(myx, myy, myz, cx, cy, cz)
    dz = step * _dot3(mzx, mzy, mzz, cx, cy, cz)

    enter_x, leave_x = _entry_and_exit(x_start, dx, tl.load(levels + 2), tl.load(levels + 5))
    enter_y, leave_y = _entry_and_exit(y_start, dy, tl.load(levels + 3), tl.load(levels + 6))
    enter_z, leave_z = _entry_and_exit(z_start, dz, tl.load(levels + 4), tl.load(levels + 7))
    behind_source = -tl.load(here + 25)
    enter = tl.maximum(tl.maximum(enter_x, enter_y), tl.maximum(enter_z, behind_source))
    leave = tl.minimum(tl.minimum(leave_x, leave_y), leave_z)
    hit = on_image & (enter < leave)
    first = tl.where(hit, tl.ceil(enter), 1e9)
    last = tl.where(hit, tl.floor(leave), -1e9)
    middle = tl.where(hit, (first + last) * 0.5, 0.0)
    reach = tl.where(hit, (last - first) * 0.5, -1.0)

    # All rays of the tile advance together: neighbours read the same cache lines.
    begin = tl.maximum(tl.min(first, axis=0), -1e8).to(tl.int32)
    end = tl.minimum(tl.max(last, axis=0), 1e8).to(tl.int32) + 1
    # The remainder of a negative number may be negative.
    begin += ((part - begin) % parts + parts) % parts

    zero = tl.load(levels + 1) + 8388608.0
    total = tl.zeros([BLOCK], dtype=tl.float32)
    gx = tl.zeros([BLOCK], dtype=tl.float32)
    gy = tl.zeros([BLOCK], dtype=tl.float32)
    gz = tl.zeros([BLOCK], dtype=tl.float32)
    hx = tl.zeros([BLOCK], dtype=tl.float32)
    hy = tl.zeros([BLOCK], dtype=tl.float32)
    hz = tl.zeros([BLOCK], dtype=tl.float32)
    plane = rows * columns
    n = begin.to(tl.float32)
    for _ in range(begin, end, parts):
        inside = tl.abs(n - middle) <= reach
        x = x_start + n * dx
        y = y_start + n * dy
        z = z_start + n * dz
        fx, i = _split(x)
        fy, j = _split(y)
        fz, k = _split(z)
        at = k * plane + j * columns + i
        v000, v001 = _load_pair(pairs, at, inside, zero)
        v010, v011 = _load_pair(pairs, at + columns, inside, zero)
        v100, v101 = _load_pair(pairs, at + plane, inside, zero)
        v110, v111 = _load_pair(pairs, at + plane + columns, inside, zero)
        # Differences along x, then y, then z give the value and all three slopes.
        d00 = v001 - v000
        d01 = v011 - v010
        d10 = v101 - v100
        d11 = v111 - v110
        w00 = v000 + fx * d00
        w01 = v010 + fx * d01
        w10 = v100 + fx * d10
        w11 = v110 + fx * d11
        e0 = w01 - w00
        e1 = w11 - w10
        w0 = w00 + fy * e0
        slope_along_z = w10 + fy * e1 - w0
        total += w0 + fz * slope_along_z
        if JACOBIAN:
            s0 = d00 + fy * (d01 - d00)
            s1 = d10 + fy * (d11 - d10)
            slope_along_x = s0 + fz * (s1 - s0)
            slope_along_y = e0 + fz * (e1 - e0)
            gx += slope_along_x
            gy += slope_along_y
            gz += slope_along_z
            hx += n * slope_along_x
            hy += n * slope_along_y
            hz += n * slope_along_z
        n += parts.to(tl.float32)

    weight = step * tl.load(levels)
    pixels = height * width
    picture = (part * poses + pose).to(tl.int64)
    pixel = row * width + column
    tl.store(image + picture * pixels + pixel, weight * total, mask=on_image)
    if JACOBIAN:
        # To camera axes: a gradient by voxel indices goes through the transpose.
        Gx = _dot3(mxx, myx, mzx, gx, gy, gz)
        Gy = _dot3(mxy, myy, mzy, gx, gy, gz)
        Gz = _dot3(mxz, myz, mzz, gx, gy, gz)
        Hx = step * _dot3(mxx, myx, mzx, hx, hy, hz)
        Hy = step * _dot3(mxy, myy, mzy, hx, hy, hz)
        Hz = step * _dot3(mxz, myz, mzz, hx, hy, hz)
        if PROJECT:
            along = _dot3(cx, cy, cz, Gx, Gy, Gz)
            Gx -= along * cx
            Gy -= along * cy
            Gz -= along * cz
        # See torch_backend.jacobian_from_sums. H counts from sample 0 at t c, so that sum t' g
        # = H + t G, and centre x G - c x (H + t G) = (centre - t c) x G - c x H.
        rx = tl.load(here + 21) - away_x
        ry = tl.load(here + 22) - away_y
        rz = tl.load(here + 23) - away_z
        out = jacobian + picture * 6 * pixels + pixel
        tl.store(out, weight * (ry * Gz - rz * Gy - cy * Hz + cz * Hy), mask=on_image)
        tl.store(out + pixels, weight * (rz * Gx - rx * Gz - cz * Hx + cx * Hz), mask=on_image)
        tl.store(out + 2 * pixels, weight * (rx * Gy - ry * Gx - cx * Hy + cy * Hx), mask=on_image)
        tl.store(out + 3 * pixels, -weight * Gx, mask=on_image)
        tl.store(out + 4 * pixels, -weight * Gy, mask=on_image)
        tl.store(out + 5 * pixels, -weight * Gz, mask=on_image)
