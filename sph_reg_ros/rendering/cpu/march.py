"""The inner loop of the CPU renderer: sixteen rays at once.

Written as LLVM vectors because neither numba nor its loop vectoriser gets there by itself: one
gather fetches two neighbouring voxels for each of sixteen rays, and from the eight corner values a
dozen fused multiply-adds give the value and all three slopes of the trilinear interpolant. LLVM
splits the vectors where a processor's are shorter.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sph_reg_ros.rendering.cpu.llvm_memory import element, gather, load, pointer

LANES = 16
SUMS = 7
"""Ray sums: V, g_x, g_y, g_z, n g_x, n g_y, n g_z, with g = grad V by voxel, n the sample."""

_I16, _I32 = ir.IntType(16), ir.IntType(32)
_INTS = ir.VectorType(_I32, LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_FAST = ('fast',)


class _Emitter:
    """Writes vector operations at the builder's position."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def constant(self, kind: ir.VectorType, value: float) -> ir.Constant:
        return ir.Constant(kind, [value] * LANES)

    def splat(self, value: ir.Value, kind: ir.VectorType) -> ir.Value:
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(first, undefined, self.constant(_INTS, 0))

    def add(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.builder.fadd(x, y, flags=_FAST)

    def sub(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.builder.fsub(x, y, flags=_FAST)

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """Return x y + z."""
        return self._call(f'llvm.fmuladd.{_suffix(x.type)}', x.type, x, y, z)

    def floor(self, x: ir.Value) -> ir.Value:
        return self._call(f'llvm.floor.{_suffix(x.type)}', x.type, x)

    def _call(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def gather_pairs(
        self, base: ir.Value, voxel: ir.Type, index: ir.Value, mask: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """Return values[index] and values[index + 1] as float32; 0 where the mask is false."""
        bits = 2 * (16 if voxel == _I16 else 32)
        pairs = ir.VectorType(ir.IntType(bits), LANES)
        pair = gather(self.builder, base, voxel, index, mask, pairs)
        low = self.builder.and_(pair, self.constant(pairs, 2 ** (bits // 2) - 1))
        high = self.builder.lshr(pair, self.constant(pairs, bits // 2))
        if voxel == _I16:
            return self.builder.sitofp(low, _FLOATS), self.builder.sitofp(high, _FLOATS)
        halves = (self.builder.trunc(half, _INTS) for half in (low, high))
        first, second = (self.builder.bitcast(half, _FLOATS) for half in halves)
        return first, second


def _suffix(kind: ir.VectorType) -> str:
    return f'v{LANES}f{64 if kind.element == ir.DoubleType() else 32}'


def _make_march(with_slopes: bool) -> Callable[..., None]:
    """Return the loop that sums V alone, or V and its slopes."""

    @intrinsic
    def march(  # type: ignore[no-untyped-def]
        context, values, row, plane, start, stride, window, first, last, sums
    ):
        signature = types.void(values, row, plane, start, stride, window, first, last, sums)

        def generate(target: Any, builder: ir.IRBuilder, signature: Any, args: Sequence) -> Any:
            def data(position: int, kind: ir.Type) -> ir.Value:
                array = target.make_array(signature.args[position])(target, builder, args[position])
                return pointer(builder, array.data, kind)

            def row_of(position: int, kind: ir.Type, number: int) -> ir.Value:
                return element(builder, data(position, kind), ir.Constant(_I32, number), kind)

            def row(position: int, kind: ir.VectorType, number: int) -> ir.Value:
                return load(builder, row_of(position, kind, number), kind, align=4)

            voxel = _I16 if signature.args[0].dtype == types.uint16 else ir.FloatType()
            rays = _Rays(
                base=data(0, voxel),
                voxel=voxel,
                start=[row(3, _DOUBLES, axis) for axis in range(3)],
                stride=[row(4, _DOUBLES, axis) for axis in range(3)],
                window=[row(5, _FLOATS, end) for end in range(2)],
                row_plane=(args[1], args[2]),
            )
            outputs = [row_of(8, _FLOATS, number) for number in range(SUMS if with_slopes else 1)]
            _emit_loop(builder, rays, args[6], args[7], outputs)
            return target.get_dummy_value()

        return signature, generate

    return march


class _Rays:
    """What stays the same along the rays, as LLVM values."""

    def __init__(
        self,
        base: ir.Value,
        voxel: ir.Type,
        start: list[ir.Value],
        stride: list[ir.Value],
        window: list[ir.Value],
        row_plane: tuple[ir.Value, ir.Value],
    ) -> None:
        self.base, self.voxel = base, voxel
        self.start, self.stride, self.window = start, stride, window
        self.row_plane = row_plane


def _emit_loop(
    builder: ir.IRBuilder, rays: _Rays, first: ir.Value, last: ir.Value, outputs: list[ir.Value]
) -> None:
    emit = _Emitter(builder)
    row, plane = (emit.splat(value, _INTS) for value in rays.row_plane)
    # Positions are kept relative to the voxel where the loop starts: float32 is then a thousand
    # times finer than for positions in the volume, so that samples do not change cells.
    begin = emit.splat(builder.sitofp(first, ir.DoubleType()), _DOUBLES)
    at_begin = [emit.fma(begin, d, s) for s, d in zip(rays.start, rays.stride, strict=True)]
    anchor = [emit.floor(position) for position in at_begin]
    origin = [
        builder.fptrunc(emit.sub(p, a), _FLOATS) for p, a in zip(at_begin, anchor, strict=True)
    ]
    i, j, k = (builder.fptosi(a, _INTS) for a in anchor)
    anchor_index = builder.add(builder.add(builder.mul(k, plane), builder.mul(j, row)), i)
    slope = [builder.fptrunc(d, _FLOATS) for d in rays.stride]

    totals = [cgutils.alloca_once(builder, _FLOATS) for _ in outputs]
    for total, output in zip(totals, outputs, strict=True):
        builder.store(load(builder, output, _FLOATS, align=4), total)
    with cgutils.for_range_slice(builder, first, last, ir.Constant(_I32, 1), intp=_I32) as (n, _):
        number = emit.splat(builder.sitofp(n, ir.FloatType()), _FLOATS)
        moved = emit.splat(builder.sitofp(builder.sub(n, first), ir.FloatType()), _FLOATS)
        inside = builder.and_(
            builder.fcmp_ordered('>=', number, rays.window[0]),
            builder.fcmp_ordered('<', number, rays.window[1]),
        )
        position = [emit.fma(moved, d, o) for d, o in zip(slope, origin, strict=True)]
        cell = [emit.floor(p) for p in position]
        fraction = [emit.sub(p, c) for p, c in zip(position, cell, strict=True)]
        i, j, k = (builder.fptosi(c, _INTS) for c in cell)
        index = builder.add(builder.add(builder.mul(k, plane), builder.mul(j, row)), i)
        index = builder.add(index, anchor_index)
        terms = _emit_sample(emit, rays, index, row, plane, inside, fraction)
        _emit_sums(emit, totals, terms, number)
    for total, output in zip(totals, outputs, strict=True):
        builder.store(load(builder, total, _FLOATS), output, align=4)


def _emit_sample(
    emit: _Emitter,
    rays: _Rays,
    index: ir.Value,
    row: ir.Value,
    plane: ir.Value,
    inside: ir.Value,
    fraction: list[ir.Value],
) -> list[ir.Value]:
    """Return V and its slopes along x, y, z; all are 0 where `inside` is false."""
    builder, (fx, fy, fz) = emit.builder, fraction

    def along_x(where: ir.Value) -> tuple[ir.Value, ir.Value]:
        left, right = emit.gather_pairs(rays.base, rays.voxel, where, inside)
        slope = emit.sub(right, left)
        return emit.fma(fx, slope, left), slope

    above = builder.add(index, plane)
    v00, d00 = along_x(index)
    v10, d10 = along_x(builder.add(index, row))
    v01, d01 = along_x(above)
    v11, d11 = along_x(builder.add(above, row))
    e0, e1 = emit.sub(v10, v00), emit.sub(v11, v01)
    w0, w1 = emit.fma(fy, e0, v00), emit.fma(fy, e1, v01)
    s0 = emit.fma(fy, emit.sub(d10, d00), d00)
    s1 = emit.fma(fy, emit.sub(d11, d01), d01)
    slope_z = emit.sub(w1, w0)
    return [
        emit.fma(fz, slope_z, w0),
        emit.fma(fz, emit.sub(s1, s0), s0),
        emit.fma(fz, emit.sub(e1, e0), e0),
        slope_z,
    ]


def _emit_sums(
    emit: _Emitter, totals: list[ir.Value], terms: list[ir.Value], number: ir.Value
) -> None:
    """Add V, g and n g to as many totals as there are; LLVM drops terms that nobody adds."""
    builder = emit.builder
    for total, term in zip(totals[:4], terms, strict=False):
        builder.store(emit.add(load(builder, total, _FLOATS), term), total)
    for total, slope in zip(totals[4:], terms[1:], strict=False):
        builder.store(emit.fma(number, slope, load(builder, total, _FLOATS)), total)


march_image = _make_march(with_slopes=False)
march_image_and_slopes = _make_march(with_slopes=True)
"""march(values, row, plane, start, stride, window, first, last, sums): add samples first..last.

values: uint16 or float32, zero-padded volume, flat; row, plane: its strides in voxels, int32.
start, stride: float64 [3, LANES], position of sample 0 and step in padded (i, j, k).
window: float32 [2, LANES], samples window[0] <= n < window[1] of a ray lie inside the volume.
sums: float32 [SUMS, LANES], added to.
"""
