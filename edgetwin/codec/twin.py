"""Codec ``twin-1``: the payload of a frame that continues a run. docs/frames.md specifies it.

::

    payload = msgpack( [key, previous, bits, zlib(head), code, check] )
    head    = msgpack( [steps, [model, ...], [[t, layout], ...]] )

``key`` and ``previous`` are the sequence numbers of the key frame with which the run began and of the frame of the run
before this one; in a key frame both are its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from edgetwin.codec.contents import array, integer, items, unpacked
from edgetwin.codec.foresight import STATES_MAX
from edgetwin.codec.limits import COLUMNS_MAX, I64_MAX, I64_MIN, RAW_BYTES_MAX, U32_MAX, U64_MAX
from edgetwin.codec.plain import inflate
from edgetwin.codec.stream import BITS_LEAST, BITS_MOST, LAYOUTS_MAX, Coded, Stream
from edgetwin.errors import FrameError
from edgetwin.records import Dynamics

CODEC = "twin-1"
VALUES_MAX = 1 << 19
REPORTS_MAX = 1 << 16

_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Payload:
    """``steps`` float32[new columns]; ``dynamics`` with ``first`` as numbers of columns; ``reports`` as (time after the
    one before, layout: how many layouts ago it was used, or the steps between its columns); ``check``: CRC-32 of the
    values as decoded."""

    key: int
    previous: int
    bits: int
    steps: NDArray[np.float32]
    models: tuple[Any, ...]
    reports: tuple[tuple[int, int | bytes], ...]
    code: bytes
    check: int


def pack(payload: Payload) -> bytes:
    """The bytes of a payload."""
    head = [payload.steps.astype("<f4").tobytes(), payload.models, payload.reports]
    packed = zlib.compress(msgpack.packb(head), _LEVEL)
    wire = [payload.key, payload.previous, payload.bits, packed, payload.code, payload.check]
    return bytes(msgpack.packb(wire))


def unpack(data: object) -> Payload:
    """The reverse of :func:`pack`. FrameError when ``data`` is anything else."""
    if type(data) is not bytes:
        raise FrameError("payload is not binary")
    key, previous, bits, head, code, check = array("the payload", _unpacked(data), 6)
    steps, models, reports = array("the head of the payload", _unpacked(inflate(binary("the head", head))), 3)
    return Payload(
        integer("the key frame", key, 0, U64_MAX),
        integer("the frame before", previous, 0, U64_MAX),
        integer("the size of the tables", bits, BITS_LEAST, BITS_MOST),
        numbers("steps", steps, "<f4", COLUMNS_MAX).astype(np.float32),
        tuple(items("models", models, COLUMNS_MAX)),
        tuple(_report(report) for report in items("reports", reports, REPORTS_MAX)),
        binary("the code", code),
        integer("the check", check, 0, U32_MAX),
    )


_CHAIN_BYTES = 19
"""The head of an array and two integers, at most."""


def chain(data: bytes) -> tuple[int, int]:
    """``key`` and ``previous`` of a payload, without the rest. ValueError when ``data`` does not begin like one."""
    unpacker = msgpack.Unpacker(max_buffer_size=_CHAIN_BYTES)
    unpacker.feed(data[:_CHAIN_BYTES])
    unpacker.read_array_header()
    key, previous = unpacker.unpack(), unpacker.unpack()
    return integer("the key frame", key, 0, U64_MAX), integer("the frame before", previous, 0, U64_MAX)


def wrapped(ns: int) -> int:
    """A time, or the difference of two, as 64 bits hold it."""
    return (ns - I64_MIN) % 2**64 + I64_MIN


# ---- layouts: which columns a report has


def layout_to_wire(stream: Stream, column: NDArray[np.int32]) -> int | bytes:
    """How the stream is told these columns int32[n]; notes them as used last."""
    for k, known in enumerate(stream.layouts):
        if np.array_equal(known, column):
            _use(stream, k)
            return k
    stream.layouts.appendleft(column)
    return np.diff(column, prepend=np.int32(0)).astype("<i4").tobytes()


def layout_from_wire(stream: Stream, wire: int | bytes) -> NDArray[np.int32]:
    """The reverse of :func:`layout_to_wire`. FrameError when there is no such layout."""
    if type(wire) is int:
        if wire >= len(stream.layouts):
            raise FrameError("a report has the columns of one that is not there")
        return _use(stream, wire)
    steps = numbers("the columns of a report", wire, "<i4", VALUES_MAX)
    column = np.cumsum(steps, dtype=np.int64)
    if len(column) and not (column.min() >= 0 and column.max() < len(stream.names)):
        raise FrameError("a value belongs to a column that is not there")
    narrow = column.astype(np.int32)
    stream.layouts.appendleft(narrow)
    return narrow


def _use(stream: Stream, k: int) -> NDArray[np.int32]:
    column = stream.layouts[k]
    del stream.layouts[k]
    stream.layouts.appendleft(column)
    return column


# ---- models


def model_to_wire(dynamics: Dynamics) -> list[Any]:
    """``[interval, n, first, which, matrices]``: groups that share a matrix name it."""
    size = dynamics.matrix.shape[1]
    distinct: dict[bytes, int] = {}
    matrices = dynamics.matrix.astype("<f4")
    which = [distinct.setdefault(matrix.tobytes(), len(distinct)) for matrix in matrices]
    first = np.diff(dynamics.first, prepend=0).astype("<i4").tobytes()
    return [dynamics.interval_ns, size, first, np.array(which, "<u4").tobytes(), b"".join(distinct)]


def model_from_wire(stream: Stream, wire: object) -> None:
    """Tell the stream of a model. FrameError when ``wire`` is none."""
    interval, size, first, which, matrices = array("a model", wire, 5)
    integer("the interval of a model", interval, 1, I64_MAX)
    integer("the states of a model", size, 1, STATES_MAX)
    starts = np.cumsum(numbers("the groups of a model", first, "<i4", COLUMNS_MAX), dtype=np.int64)
    of = numbers("the matrices of groups", which, "<u4", COLUMNS_MAX).astype(np.int64)
    flat = numbers("matrices", matrices, "<f4", RAW_BYTES_MAX // 4).astype(np.float32)
    if len(flat) % (size * (size + 1)) or len(of) != len(starts):
        raise FrameError("the parts of a model differ in length")
    table = flat.reshape(-1, size, size + 1)
    if len(starts) and not (starts.min() >= 0 and starts.max() + size <= len(stream.names) and of.max() < len(table)):
        raise FrameError("a model has columns or matrices that are not there")
    stream.set_model(interval, starts, of, table)


# ---- values


def check_of(reports: Sequence[Coded]) -> int:
    """CRC-32 over means (f64), deviations (i64, see edgetwin.codec.spreads) and qualities (u8), report by report."""
    crc = 0
    for report in reports:
        for values, kind in ((report.mean, "<f8"), (report.spread, "<i8"), (report.quality, "<u1")):
            crc = zlib.crc32(values.astype(kind).tobytes(), crc)
    return crc


def binary(what: str, value: object) -> bytes:
    """Bytes, or FrameError."""
    if type(value) is not bytes:
        raise FrameError(f"{what} is not binary")
    return value


def numbers(what: str, value: object, kind: str, length_max: int) -> NDArray[Any]:
    """Little-endian numbers, or FrameError."""
    data = binary(what, value)
    item = np.dtype(kind).itemsize
    if len(data) % item or len(data) > length_max * item:
        raise FrameError(f"{what} are not at most {length_max} numbers")
    return np.frombuffer(data, kind)


def _unpacked(data: bytes) -> object:
    return unpacked("the payload is", data, COLUMNS_MAX)


def _report(wire: object) -> tuple[int, int | bytes]:
    t, layout = array("a report", wire, 2)
    integer("the time of a report", t, I64_MIN, I64_MAX)
    if type(layout) is not bytes:
        integer("the columns of a report", layout, 0, LAYOUTS_MAX - 1)
    return t, layout
