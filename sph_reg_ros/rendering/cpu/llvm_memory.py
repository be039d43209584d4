"""Addresses, loads and gathers for two generations of LLVM, of which numba brings one.

From numba 0.62 (llvmlite 0.45) on, a pointer is merely an address. Before, it has the type of what
it points to: so with numba 0.57, the newest one for the numpy 1.21 of Ubuntu 22.04.
"""

from typing import Any

import llvmlite
from llvmlite import ir
from numba.core import cgutils

_TYPED = tuple(int(part) for part in llvmlite.__version__.split('.')[:2]) < (0, 45)


def _pointer_to(kind: ir.Type) -> ir.Type:
    return kind.as_pointer() if _TYPED else ir.PointerType()


class _IndexedByVector(ir.PointerType):
    """Typed pointer that does not mind a vector of indices."""

    def gep(self, index: ir.Value) -> ir.Type:
        return self.pointee


def pointer(builder: ir.IRBuilder, data: ir.Value, kind: ir.Type) -> ir.Value:
    """Return an address as that of values of some kind."""
    return builder.bitcast(data, kind.as_pointer())


def element(builder: ir.IRBuilder, base: ir.Value, index: Any, kind: ir.Type) -> ir.Value:
    """Return the address of base[index]; base points to values of this kind."""
    if _TYPED:
        return builder.gep(base, [index])
    return builder.gep(base, [index], source_etype=kind)


def load(
    builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int | None = None
) -> ir.Value:
    """Return the value of this kind at an address."""
    if _TYPED:
        return builder.load(address, align=align)
    return builder.load(address, align=align, typ=kind)


def gather(
    builder: ir.IRBuilder,
    base: ir.Value,
    element_kind: ir.Type,
    index: ir.Value,
    mask: ir.Value,
    kind: ir.VectorType,
) -> ir.Value:
    """Return integers of `kind` that begin at base[index], 0 where the mask is false.

    Args:
        builder: where to write.
        base: points to values of `element_kind`, in steps of which is counted.
        element_kind: i16 or float.
        index: i32 vector.
        mask: i1 vector.
        kind: vector of integers that hold two elements each.
    """
    lanes, bits = kind.count, kind.element.width
    if _TYPED:
        # Two casts: one to the type that it has already would change nothing.
        untyped = builder.bitcast(base, ir.IntType(8).as_pointer())
        base = builder.bitcast(untyped, _IndexedByVector(element_kind))
    address = element(builder, base, index, element_kind)
    # llvmlite does not know that a vector of indices makes a vector of addresses.
    address.type = ir.VectorType(_pointer_to(element_kind), lanes)
    if _TYPED:
        address = builder.bitcast(address, ir.VectorType(_pointer_to(kind.element), lanes))
    suffix = f'p0i{bits}' if _TYPED else 'p0'
    arguments = [
        address,
        ir.Constant(ir.IntType(32), bits // 16),
        mask,
        ir.Constant(kind, [0] * lanes),
    ]
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(kind, [argument.type for argument in arguments]),
        f'llvm.masked.gather.v{lanes}i{bits}.v{lanes}{suffix}',
    )
    return builder.call(function, arguments)
