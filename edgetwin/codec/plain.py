"""Codec ``plain-1``: reports as little-endian arrays under zlib. Exact to the bit; docs/frames.md specifies it.

::

    payload = zlib( u32 reports, then for each: i64 t_ns, u32 n, u32 step[n], f64 mean[n], f64 std[n], u8 quality[n] )

The column of value k is the sum of ``step[0..k]`` modulo 2**32.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.codec.columns import Column
from edgetwin.codec.limits import I64_MAX, I64_MIN, RAW_BYTES_MAX, U32_MAX
from edgetwin.errors import FrameError
from edgetwin.records import Quality, Report

CODEC = "plain-1"

_COUNT = struct.Struct("<I")
_HEAD = struct.Struct("<qI")
_VALUE_BYTES = 4 + 8 + 8 + 1
_LEVEL = 1


def raw_size(reports: Sequence[Report]) -> int:
    """Bytes of the payload before compression."""
    return _COUNT.size + sum(_HEAD.size + _VALUE_BYTES * len(report) for report in reports)


def encode(reports: Sequence[Report], indices: Sequence[NDArray[np.uint32]]) -> bytes:
    """The payload; ``indices[k]`` uint32[n] are the columns of report k. FrameError when a report is malformed."""
    parts = [_COUNT.pack(len(reports))]
    for report, index in zip(reports, indices, strict=True):
        check(report)
        parts += [
            _HEAD.pack(report.t_ns, len(report)),
            np.diff(index, prepend=np.uint32(0)).astype("<u4").tobytes(),
            report.mean.astype("<f8").tobytes(),
            report.std.astype("<f8").tobytes(),
            report.quality.astype("<u1").tobytes(),
        ]
    return zlib.compress(b"".join(parts), _LEVEL)


def decode(payload: bytes, columns: Sequence[Column]) -> tuple[Report, ...]:
    """The reports of a payload. FrameError when it is malformed or unpacks to more than RAW_BYTES_MAX."""
    reader = Reader(inflate(payload))
    (count,) = reader.take(_COUNT)
    if count * _HEAD.size > reader.left:
        raise FrameError("the payload ends before its last report")
    reports = tuple(_read_report(reader, columns) for _ in range(count))
    if reader.left:
        raise FrameError("the payload goes on after its last report")
    return reports


def check(report: Report) -> None:
    n = len(report.columns)
    if not len(report.mean) == len(report.std) == len(report.quality) == n <= U32_MAX:
        raise FrameError("the arrays of a report differ in length")
    if not I64_MIN <= report.t_ns <= I64_MAX:
        raise FrameError(f"the time {report.t_ns} of a report does not fit 64 bits")
    if n and report.quality.max() > max(Quality):
        raise FrameError("a report has a quality that is none")


def inflate(payload: bytes) -> bytes:
    """One whole zlib stream, unpacked. FrameError when it is none, or takes more than RAW_BYTES_MAX."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(payload, RAW_BYTES_MAX + 1)
    except zlib.error as exc:
        raise FrameError(f"the payload cannot be unpacked ({exc})") from exc
    if len(raw) > RAW_BYTES_MAX:
        raise FrameError(f"the payload unpacks to more than {RAW_BYTES_MAX} bytes")
    if not inflater.eof or inflater.unused_data:
        raise FrameError("the payload is not one whole zlib stream")
    return raw


def _read_report(reader: Reader, columns: Sequence[Column]) -> Report:
    t_ns, n = reader.take(_HEAD)
    if n * _VALUE_BYTES > reader.left:
        raise FrameError("the payload ends inside a report")
    index = np.cumsum(reader.array("<u4", n), dtype=np.uint32)
    mean, std = reader.array("<f8", n).astype(np.float64), reader.array("<f8", n).astype(np.float64)
    quality = reader.array("<u1", n).astype(np.uint8)
    if n and int(index.max()) >= len(columns):
        raise FrameError("a value belongs to a column that is not there")
    if n and quality.max() > max(Quality):
        raise FrameError("a value has a quality that is none")
    return Report(t_ns, tuple(columns[i] for i in index.tolist()), mean, std, quality)


class Reader:
    """Walks over bytes; never past their end."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._raw) - self._at

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        """The fields of ``layout``."""
        if layout.size > self.left:
            raise FrameError("the payload ends inside a head")
        self._at += layout.size
        return layout.unpack_from(self._raw, self._at - layout.size)

    def array(self, kind: str, n: int) -> NDArray[Any]:
        """The next ``n`` numbers: a read-only view, to be copied by the caller."""
        taken: NDArray[Any] = np.frombuffer(self._raw, kind, n, self._at)
        self._at += taken.nbytes
        return taken
