"""Summaries of raw samples in a frame. docs/frames.md specifies it.

::

    signals = empty, or zlib( msgpack( [names, rows, values] ) )
    values  = for each summary: i64 t_ns, u32 n, u32 step[n], u64 count[n], f64 low[n], high[n], mean[n], duration_s[n]
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import msgpack
import numpy as np
from numpy.typing import NDArray

from edgetwin.codec import columns as table
from edgetwin.codec.contents import array, unpacked
from edgetwin.codec.limits import COLUMNS_MAX, I64_MAX, I64_MIN, RAW_BYTES_MAX, U32_MAX
from edgetwin.codec.plain import Reader, inflate
from edgetwin.errors import FrameError
from edgetwin.records import SignalSummary

_HEAD = struct.Struct("<qI")
_ROW_BYTES = 4 + 8 + 4 * 8
_LEVEL = 6


def encode(summaries: Sequence[SignalSummary]) -> bytes:
    """The summaries as bytes. FrameError when one is malformed."""
    if not summaries:
        return b""
    known: dict[table.Column, int] = {}
    parts = []
    for summary in summaries:
        n = len(summary)
        arrays = (summary.count, summary.low, summary.high, summary.mean, summary.duration_s)
        if any(len(values) != n for values in arrays) or not I64_MIN <= summary.t_ns <= I64_MAX or n > U32_MAX:
            raise FrameError("a summary is malformed")
        index = np.array([known.setdefault(signal, len(known)) for signal in summary.signals], np.uint32)
        parts += [_HEAD.pack(summary.t_ns, n), np.diff(index, prepend=np.uint32(0)).astype("<u4").tobytes()]
        parts += [summary.count.astype("<u8").tobytes(), *(values.astype("<f8").tobytes() for values in arrays[1:])]
    names, rows = table.to_wire(list(known))
    try:
        return zlib.compress(msgpack.packb([names, rows, b"".join(parts)]), _LEVEL)
    except (ValueError, TypeError) as exc:  # a lone surrogate in a name, for one
        raise FrameError(f"the summaries cannot be written ({exc})") from exc


def decode(data: object) -> tuple[SignalSummary, ...]:
    """The reverse of :func:`encode`. FrameError when ``data`` is anything else."""
    if type(data) is not bytes:
        raise FrameError("the summaries are not binary")
    if not data:
        return ()
    names, rows, values = array("summaries", unpacked("the summaries are", inflate(data), 3 * COLUMNS_MAX), 3)
    signals = table.from_wire([names, rows])
    if type(values) is not bytes or len(signals) > COLUMNS_MAX or len(values) > RAW_BYTES_MAX:
        raise FrameError("the values of the summaries are not binary")
    reader, found = Reader(values), []
    while reader.left:
        found.append(_read(reader, signals))
    return tuple(found)


def _read(reader: Reader, signals: Sequence[table.Column]) -> SignalSummary:
    t_ns, n = reader.take(_HEAD)
    if n * _ROW_BYTES > reader.left:
        raise FrameError("the summaries end inside one")
    index = np.cumsum(reader.array("<u4", n), dtype=np.uint32)
    if n and int(index.max()) >= len(signals):
        raise FrameError("a summary is of a signal that is not there")
    count = reader.array("<u8", n)
    if n and not 0 < int(count.min()) <= int(count.max()) <= I64_MAX:
        raise FrameError("a summary is of no sample")
    low, high, mean, duration_s = (_floats(reader, n) for _ in range(4))
    return SignalSummary(
        t_ns, tuple(signals[i] for i in index.tolist()), count.astype(np.int64), low, high, mean, duration_s
    )


def _floats(reader: Reader, n: int) -> NDArray[np.float64]:
    return reader.array("<f8", n).astype(np.float64)
