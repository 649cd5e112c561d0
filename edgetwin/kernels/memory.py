"""Whole records copied, parts of records addressed and cache lines asked for ahead, inside kernels.

Assigning a record in numba loads and stores it as one value of its size, which LLVM takes apart byte by byte: slow to
compile and slow to run. :func:`copy_row` is one ``memcpy``. With ``NUMBA_DISABLE_JIT=1`` all are plain Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import edgetwin.kernels.jit  # noqa: F401  (tells numba where its cache is, before it is imported)

import numba  # isort: skip

if TYPE_CHECKING or numba.config.DISABLE_JIT:

    def copy_row(to: Any, source: Any) -> None:
        """Make the record ``to`` (an element of an array) equal to the record ``source`` of the same dtype."""
        for name in to.dtype.names:
            to[name] = source[name]

    def prefetch(row: Any, byte: int) -> None:
        """Ask for the cache line that holds ``row``'s byte at this offset; never faults."""

    class _Block:
        """Fields of a record whose names end in one number."""

        def __init__(self, row: Any, k: int) -> None:
            self.row, self.k = row, k

        def __getitem__(self, name: str) -> Any:
            return self.row[f"{name}{self.k}"]

        def __setitem__(self, name: str, value: Any) -> None:
            self.row[f"{name}{self.k}"] = value

    def block(row: Any, _first: int, k: int, _dtype: Any) -> Any:
        """Block k of ``row``: a record of ``dtype`` at byte ``first`` + k * its size, sharing memory.

        Nothing checks k. In the row, the fields have the names of ``dtype`` with k behind.
        """
        return _Block(row, k)

else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def copy_row(_context: Any, to: Any, source: Any) -> Any:
        """Make the record ``to`` (an element of an array) equal to the record ``source`` of the same dtype."""
        if not isinstance(to, types.Record) or to != source:
            return None

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            size = ir.Constant(ir.IntType(64), signature.args[0].size)
            cgutils.raw_memcpy(builder, args[0], args[1], size, 1)
            return context.get_dummy_value()

        return types.void(to, source), build

    @intrinsic
    def prefetch(_context: Any, row: Any, byte: Any) -> Any:
        """Ask for the cache line that holds ``row``'s byte at this offset; never faults."""
        if not isinstance(row, types.Record) or not isinstance(byte, types.Integer):
            return None

        def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            pointer = builder.bitcast(args[0], ir.IntType(8).as_pointer())
            place = builder.gep(pointer, [args[1]])
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(function, [place, number(0), number(3), number(1)])  # to read, keep close, data
            return context.get_dummy_value()

        return types.void(row, types.int64), build

    @intrinsic
    def block(_context: Any, row: Any, _first: Any, _k: Any, dtype: Any) -> Any:
        """Block k of ``row``: a record of ``dtype`` at byte ``first`` + k * its size, sharing memory."""
        if not isinstance(row, types.Record) or not isinstance(dtype, types.DType):
            return None
        part = dtype.dtype

        def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            number = ir.IntType(64)
            pointer = builder.bitcast(args[0], ir.IntType(8).as_pointer())
            place = builder.add(args[1], builder.mul(args[2], number(part.size)))
            return builder.bitcast(builder.gep(pointer, [place]), context.get_value_type(part))

        return part(row, types.int64, types.int64, dtype), build
