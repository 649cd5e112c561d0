"""CSV tables, written a block at a time.

Floats are the shortest text that reads back to the same double; a missing one is an empty cell. Times are seconds
since the epoch, exact to the nanosecond. Names in a configuration need no quotes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS

_US_MAX = 1 << 52
_encode = msgspec.json.Encoder().encode


class Table:
    """A table of ``names`` in ``file``: first the time, then columns of text, then of floats."""

    def __init__(self, file: IO[bytes], names: Sequence[str]) -> None:
        self._file = file
        file.write(",".join(names).encode() + b"\n")

    def write(
        self, t_ns: NDArray[np.int64], texts: Sequence[list[str]], numbers: Sequence[NDArray[np.float64]]
    ) -> None:
        """Append rows; every column has the length of ``t_ns`` int64[n]."""
        if not len(t_ns):
            return
        rows = list(zip(seconds(t_ns), *texts, *(column.tolist() for column in numbers), strict=True))
        # JSON writes floats as we want them. What is not a number is null there, and always behind a comma; names,
        # which might hold the word, are still in quotes at that point.
        text = _encode(rows)[2:-2].replace(b",null", b",").replace(b'"', b"").replace(b"],[", b"\n")
        self._file.write(text + b"\n")


def seconds(t_ns: NDArray[np.int64]) -> list[int] | list[float] | list[msgspec.Raw]:
    """Times in a form that is encoded as exact decimal seconds: 1700000000, 1700000000.25, 1700000000.123456789."""
    whole = t_ns % NS == 0
    if whole.all():
        return (t_ns // NS).tolist()  # type: ignore[no-any-return]
    micros, rest = np.divmod(t_ns, 1000)
    if not rest.any() and (np.abs(micros) < _US_MAX).all():
        # Decimals of a microsecond are further apart here than doubles, so the shortest text of the quotient is exact.
        mixed = zip(whole.tolist(), (t_ns // NS).tolist(), (micros / 1e6).tolist(), strict=True)
        return [s if is_whole else f for is_whole, s, f in mixed]
    return [msgspec.Raw(_decimal(t)) for t in t_ns.tolist()]


def _decimal(t_ns: int) -> bytes:
    whole, part = divmod(abs(t_ns), NS)
    text = f"{'-' if t_ns < 0 else ''}{whole}"
    return (f"{text}.{part:09d}".rstrip("0") if part else text).encode()
