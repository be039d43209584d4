"""The ray loop on CUDA: image and Jacobian in one pass over the volume.

One program marches the rays of one detector tile, neighbours in space and so in the caches. With
TRITON_INTERPRET=1 in the environment before the first import of triton it runs on the CPU, slowly,
for tests.
"""

import triton
import triton.language as tl

TILE_ROWS = 16
TILE_COLUMNS = 8
SCENE_SIZE = 25
"""float64 numbers a pose: index_from_camera 3 x 4, centre 3, inverse of K 3 x 3, step."""

# Sizes change with every image and volume: none may be a reason to compile again.
_SIZES = ('height', 'width', 'columns', 'rows', 'slices', 'parts', 'poses')


@triton.jit
def _entry_and_exit(origin, slope, size):  # type: ignore[no-untyped-def]
    """Return where (mm along each ray) one coordinate enters and leaves the padded volume."""
    parallel = tl.abs(slope) < 1e-12
    safe = tl.where(parallel, 1.0, slope)
    a = -origin / safe
    b = (size - 1 - origin) / safe
    outside = (origin < 0) | (origin > size - 1)
    near = tl.where(parallel, tl.where(outside, 1e30, -1e30), tl.minimum(a, b))
    far = tl.where(parallel, 1e30, tl.maximum(a, b))
    return near, far


@triton.jit
def _load(values, at, inside):  # type: ignore[no-untyped-def]
    return tl.load(values + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=_SIZES)
def render(  # type: ignore[no-untyped-def]
    values,
    scene,
    image,
    jacobian,
    scale,
    height,
    width,
    columns,
    rows,
    slices,
    parts,
    poses,
    JACOBIAN: tl.constexpr,
    TILE_H: tl.constexpr,
    TILE_W: tl.constexpr,
):
    """Write image [parts, B, H, W] and jacobian [parts, B, H, W, 6] by (omega rad, v mm).

    A part is a stretch of every ray; their sum is the result. Positions start in float64 and go on
    in float32 from the sample where the ray enters, so that they keep 1e-4 of a voxel.

    Args:
        values: zero-padded volume [slices, rows, columns], below 2^31 voxels; any number type.
        scene: [B, SCENE_SIZE] float64.
        image: output, float32.
        jacobian: output, float32; untouched unless JACOBIAN.
        scale: factor of `values`.
        height: rows of the image.
        width: columns of the image.
        columns: size i of the padded volume.
        rows: size j.
        slices: size k.
        parts: number of parts.
        poses: B.
        JACOBIAN: whether to write `jacobian`.
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

    here = scene + pose * 25
    mxx = tl.load(here + 0)
    mxy = tl.load(here + 1)
    mxz = tl.load(here + 2)
    origin_x = tl.load(here + 3)
    myx = tl.load(here + 4)
    myy = tl.load(here + 5)
    myz = tl.load(here + 6)
    origin_y = tl.load(here + 7)
    mzx = tl.load(here + 8)
    mzy = tl.load(here + 9)
    mzz = tl.load(here + 10)
    origin_z = tl.load(here + 11)
    step = tl.load(here + 24)

    u = column.to(tl.float64)
    v = row.to(tl.float64)
    cx = tl.load(here + 15) * u + tl.load(here + 16) * v + tl.load(here + 17)
    cy = tl.load(here + 18) * u + tl.load(here + 19) * v + tl.load(here + 20)
    cz = tl.load(here + 21) * u + tl.load(here + 22) * v + tl.load(here + 23)
    norm = tl.sqrt(cx * cx + cy * cy + cz * cz)
    cx = cx / norm
    cy = cy / norm
    cz = cz / norm
    slope_x = mxx * cx + mxy * cy + mxz * cz
    slope_y = myx * cx + myy * cy + myz * cz
    slope_z = mzx * cx + mzy * cy + mzz * cz

    near_x, far_x = _entry_and_exit(origin_x, slope_x, columns)
    near_y, far_y = _entry_and_exit(origin_y, slope_y, rows)
    near_z, far_z = _entry_and_exit(origin_z, slope_z, slices)
    near = tl.maximum(tl.maximum(near_x, near_y), tl.maximum(near_z, 0.0))
    far = tl.minimum(tl.minimum(far_x, far_y), far_z)
    hit = on_image & (near < far)
    # Sample k lies at (k + 1/2) step from the source.
    first = tl.where(hit, tl.ceil(near / step - 0.5), 0.0)
    samples = tl.where(hit, tl.floor(far / step - 0.5) - first + 1.0, 0.0)

    # This program's part of the rays: the same stretch of sample numbers for all of the tile.
    longest = tl.max(samples, axis=0).to(tl.int32)
    part_length = (longest + parts - 1) // parts
    begin = part * part_length
    end = tl.minimum(begin + part_length, longest)
    left = (samples - begin).to(tl.float32)
    t = (first + begin + 0.5) * step
    x_start = (origin_x + t * slope_x).to(tl.float32)
    y_start = (origin_y + t * slope_y).to(tl.float32)
    z_start = (origin_z + t * slope_z).to(tl.float32)
    dx = (step * slope_x).to(tl.float32)
    dy = (step * slope_y).to(tl.float32)
    dz = (step * slope_z).to(tl.float32)

    n = tl.zeros([BLOCK], dtype=tl.float32)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    gx = tl.zeros([BLOCK], dtype=tl.float32)
    gy = tl.zeros([BLOCK], dtype=tl.float32)
    gz = tl.zeros([BLOCK], dtype=tl.float32)
    hx = tl.zeros([BLOCK], dtype=tl.float32)
    hy = tl.zeros([BLOCK], dtype=tl.float32)
    hz = tl.zeros([BLOCK], dtype=tl.float32)
    plane = rows * columns
    for _ in range(begin, end):
        inside = n < left
        x = x_start + n * dx
        y = y_start + n * dy
        z = z_start + n * dz
        # Cutting off the fraction is rounding down, but for rounding errors at the border: there
        # the outermost cell is read, a hair outside itself.
        i = tl.minimum(x.to(tl.int32), columns - 2)
        j = tl.minimum(y.to(tl.int32), rows - 2)
        k = tl.minimum(z.to(tl.int32), slices - 2)
        fx = x - i.to(tl.float32)
        fy = y - j.to(tl.float32)
        fz = z - k.to(tl.float32)
        at = k * plane + j * columns + i
        v000 = _load(values, at, inside)
        v001 = _load(values, at + 1, inside)
        v010 = _load(values, at + columns, inside)
        v011 = _load(values, at + columns + 1, inside)
        v100 = _load(values, at + plane, inside)
        v101 = _load(values, at + plane + 1, inside)
        v110 = _load(values, at + plane + columns, inside)
        v111 = _load(values, at + plane + columns + 1, inside)
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
        n += 1.0

    weight = step.to(tl.float32) * scale
    pixel = ((part * poses + pose).to(tl.int64) * height + row) * width + column
    tl.store(image + pixel, weight * total, mask=on_image)
    if JACOBIAN:
        # To camera axes: a gradient by voxel indices goes through the transpose.
        Gx = (mxx * gx + myx * gy + mzx * gz).to(tl.float32)
        Gy = (mxy * gx + myy * gy + mzy * gz).to(tl.float32)
        Gz = (mxz * gx + myz * gy + mzz * gz).to(tl.float32)
        Hx = (step * (mxx * hx + myx * hy + mzx * hz)).to(tl.float32)
        Hy = (step * (mxy * hx + myy * hy + mzy * hz)).to(tl.float32)
        Hz = (step * (mxz * hx + myz * hy + mzz * hz)).to(tl.float32)
        # See torch_backend.jacobian_from_sums. H counts from this part's first sample y = t c, so
        # that sum t' g = H + t G, and centre x G - c x (H + t G) = (centre - t c) x G - c x H: no
        # difference of two large numbers.
        rx = (tl.load(here + 12) - t * cx).to(tl.float32)
        ry = (tl.load(here + 13) - t * cy).to(tl.float32)
        rz = (tl.load(here + 14) - t * cz).to(tl.float32)
        bx = cx.to(tl.float32)
        by = cy.to(tl.float32)
        bz = cz.to(tl.float32)
        out = jacobian + pixel * 6
        tl.store(out, weight * (ry * Gz - rz * Gy - by * Hz + bz * Hy), mask=on_image)
        tl.store(out + 1, weight * (rz * Gx - rx * Gz - bz * Hx + bx * Hz), mask=on_image)
        tl.store(out + 2, weight * (rx * Gy - ry * Gx - bx * Hy + by * Hx), mask=on_image)
        tl.store(out + 3, -weight * Gx, mask=on_image)
        tl.store(out + 4, -weight * Gy, mask=on_image)
        tl.store(out + 5, -weight * Gz, mask=on_image)
