"""Rows of estimates in PostgreSQL's binary COPY format.

Source: PostgreSQL manual, COPY, "Binary Format": an 11-byte signature, flags and the length of an extension, both 0;
then for each row the number of its fields as int16 and each field after its length as int32, all most significant byte
first; at the end int16 −1. A timestamptz is int64 microseconds since 2000-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetwin.records import Report

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TAIL = b"\xff\xff"

_EPOCH_US = 946_684_800_000_000
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("series_size", ">i4"),
        ("series", ">i4"),
        ("t_size", ">i4"),
        ("t", ">i8"),
        ("mean_size", ">i4"),
        ("mean", ">f8"),
        ("std_size", ">i4"),
        ("std", ">f8"),
        ("quality_size", ">i4"),
        ("quality", ">i2"),
    ]
)
_CONSTANT = {"fields": 5, "series_size": 4, "t_size": 8, "mean_size": 8, "std_size": 8, "quality_size": 2}


def microseconds(t_ns: int) -> int:
    """Microseconds since 1970, rounded down: what a timestamptz can hold."""
    return t_ns // 1000


def rows(report: Report, series: Sequence[int]) -> bytes:
    """The rows (series, t, mean, std, quality) of a report; ``series`` are the numbers of its columns."""
    out: NDArray[np.void] = np.empty(len(report), _ROW)
    for name, value in _CONSTANT.items():
        out[name] = value
    out["series"] = series
    out["t"] = microseconds(report.t_ns) - _EPOCH_US
    out["mean"], out["std"], out["quality"] = report.mean, report.std, report.quality
    return out.tobytes()
