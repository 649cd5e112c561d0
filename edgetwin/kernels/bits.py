"""Machine words for kernels: what a compiled integer does and a Python integer does not.

Kernels that call each other with many arrays pass pointers (:func:`pointer`): one word instead of seven, and
no reference counting. Each function is plain Python (the definition, and what runs with
``NUMBA_DISABLE_JIT=1``) with a compiled twin of one or two instructions. Loads take an index that the caller
knows to be inside the array: the compiled ones neither check bounds nor wrap negative indices.
"""

# numba finds the arguments of intrinsics and overloads by name, used or not, and types its API loosely.
# ruff: noqa: ARG001
# mypy: disable-error-code="no-untyped-call, call-arg"

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import edgetwin.kernels.jit  # noqa: F401  (says where compiled code is kept, so it comes before numba)

# isort: split
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.core.extending import intrinsic, overload
from numba.np.arrayobj import make_array

_MASK = (1 << 64) - 1
_I64 = ir.IntType(64)
_I128 = ir.IntType(128)

Array = Any  # np.ndarray; kernels are typed by numba


def pointer(array: Array) -> Array:
    """The elements of a contiguous array as a pointer, for :func:`at`, ``p[i]`` and ``p[i] = x``.

    The array must outlive it. In plain Python it is a flat view.
    """
    return array.reshape(-1)


def offset(array: Array, i: int) -> Array:
    """The pointer ``i`` elements further on."""
    return array[i:]


def at(array: Array, i: int) -> int:
    """Element ``i`` of an integer array (or of a pointer), as a 64-bit integer; it must be inside."""
    return int(array[i])


def word_at(buf: Array, i: int) -> int:
    """The 8 bytes from ``i`` as a little-endian signed word; ``i + 8 <= len(buf)``."""
    return int.from_bytes(bytes(buf[i : i + 8]), "little", signed=True)


def fold(a: int, b: int) -> int:
    """The high and low halves of the 128-bit product of two words, exclusive-ored (signed word)."""
    product = (int(a) & _MASK) * (int(b) & _MASK)
    mixed = (product >> 64) ^ (product & _MASK)
    return mixed - (1 << 64) if mixed >> 63 else mixed


def multiply_high(a: np.uint64, b: np.uint64) -> np.uint64:
    """Upper 64 bits of the product of two unsigned words."""
    return np.uint64(int(a) * int(b) >> 64)


def multiply_low(a: np.uint64, b: np.uint64) -> np.uint64:
    """Lower 64 bits of the product of two unsigned words."""
    return np.uint64(int(a) * int(b) & _MASK)


def leading_zeros(m: int) -> int:
    """Zero bits above the highest one of a positive 64-bit integer."""
    return 64 - int(m).bit_length()


def ordinary_run(buf: Array, i: int, b: int) -> int:
    """First index from ``i`` that may hold a quote, a backslash, a control or a non-ASCII byte; or near ``b``.

    May stop early (the compiled twin looks at 8 bytes at once): the caller goes on byte by byte.
    """
    while i + 8 <= b and all(32 <= c < 128 and c not in (34, 92) for c in bytes(buf[i : i + 8])):
        i += 8
    return i


def _address(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = args[0]
    if isinstance(signature.args[0], types.Array):
        data = make_array(signature.args[0])(context, builder, data).data
    return builder.gep(data, [args[1]])


@intrinsic
def _pointer_to(_typing: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def _offset(_typing: Any, array: Any, i: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return array(array, types.int64), generate


@intrinsic
def _at(_typing: Any, array: Any, i: Any) -> Any:
    signed = array.dtype.signed

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(_address(context, builder, signature, args))
        if value.type.width == 64:
            return value
        return builder.sext(value, _I64) if signed else builder.zext(value, _I64)

    return types.int64(array, types.int64), generate


@intrinsic
def _word_at(_typing: Any, buf: Any, i: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_address(context, builder, signature, args), _I64.as_pointer())
        value = builder.load(pointer)
        value.align = 1
        if sys.byteorder == "big":
            value = builder.bswap(value)
        return value

    return types.int64(buf, types.int64), generate


def _product(builder: Any, args: Any) -> Any:
    return builder.mul(builder.zext(args[0], _I128), builder.zext(args[1], _I128))


def _high(builder: Any, product: Any) -> Any:
    return builder.trunc(builder.lshr(product, ir.Constant(_I128, 64)), _I64)


@intrinsic
def _fold(_typing: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        product = _product(builder, args)
        return builder.xor(_high(builder, product), builder.trunc(product, _I64))

    return types.int64(types.int64, types.int64), generate


@intrinsic
def _multiply_high(_typing: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _high(builder, _product(builder, args))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def _leading_zeros(_typing: Any, m: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
_SPACES = np.uint64(0x2020202020202020)
_QUOTES = np.uint64(0x2222222222222222)
_SLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_NONE = np.uint64(0)


@overload(pointer, strict=False)
def _overload_pointer(array: Any) -> Callable[..., Any]:
    return lambda array: _pointer_to(array)


@overload(offset, strict=False)
def _overload_offset(array: Any, i: Any) -> Callable[..., Any]:
    return lambda array, i: _offset(array, i)


@overload(at, strict=False)
def _overload_at(array: Any, i: Any) -> Callable[..., Any]:
    return lambda array, i: _at(array, i)


@overload(word_at, strict=False)
def _overload_word_at(buf: Any, i: Any) -> Callable[..., Any]:
    return lambda buf, i: _word_at(buf, i)


@overload(fold, strict=False)
def _overload_fold(a: Any, b: Any) -> Callable[..., Any]:
    return lambda a, b: _fold(a, b)


@overload(multiply_high, strict=False)
def _overload_multiply_high(a: Any, b: Any) -> Callable[..., Any]:
    return lambda a, b: _multiply_high(a, b)


@overload(multiply_low, strict=False)
def _overload_multiply_low(a: Any, b: Any) -> Callable[..., Any]:
    return lambda a, b: a * b


@overload(leading_zeros, strict=False)
def _overload_leading_zeros(m: Any) -> Callable[..., Any]:
    return lambda m: _leading_zeros(m)


@overload(ordinary_run, strict=False)
def _overload_ordinary_run(buf: Any, i: Any, b: Any) -> Callable[..., Any]:
    def run(buf: Any, i: Any, b: Any) -> Any:
        # The zero-byte test of Mycroft (1987), for values below 32, equal to 34 and equal to 92.
        while i + 8 <= b:
            w = np.uint64(_word_at(buf, i))
            q = w ^ _QUOTES
            s = w ^ _SLASHES
            hit = (w - _SPACES) | (q - _ONES) | (s - _ONES) | w
            if hit & _HIGHS != _NONE:
                break
            i += 8
        return i

    return run
