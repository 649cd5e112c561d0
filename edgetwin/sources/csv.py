"""Delimited text, plain or gzipped, as arrays.

The first line names the columns. The delimiter is the comma, or the semicolon or tab where the first line holds no
comma. An empty or absent cell, or one of MISSING, is no sample; anything else that is not a number is an error with
file and line.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf, nan
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from edgetwin.errors import SourceError
from edgetwin.kernels.csv import BAD_QUOTE, FULL, ODD_WIDTH, TOO_MANY, scan_rows
from edgetwin.kernels.times import unit_exponent
from edgetwin.sources.payload import read_number, read_time
from edgetwin.sources.recording import ROWS_MAX, Rows

MISSING = frozenset({"", "na", "n/a", "nan", "-nan", "null", "none", "nil"})
"""Texts (in any case) that stand for no value."""

READ_BYTES = 1 << 20
LINE_BYTES_MAX = 1 << 24
_ODD_MAX = 4096
_DELIMITERS = ",;\t"
_INFINITE = frozenset({"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})
_UNITS = {"iso": "write it as 2024-05-01T10:00:00Z"}


class CsvRecording:
    """One file. Reading it again starts from its first row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file, self._translated(1):
            header = file.readline(LINE_BYTES_MAX)
        self._start = len(header)
        try:
            text = header.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as exc:
            raise self.error(1, "the first line is not UTF-8 text", "save the file as UTF-8") from exc
        self.delimiter = next((d for d in _DELIMITERS if d in text), ",")
        self.names = tuple(name.strip() for name in next(csv.reader([text], delimiter=self.delimiter), []))
        if not any(self.names):
            raise self.error(1, "there is no first line with the names of the columns", "add one, such as t,value")

    def read(self, time: str, unit: str, columns: Sequence[str], rows_max: int = ROWS_MAX) -> Iterator[Rows]:
        """See :class:`edgetwin.sources.recording.Recording`."""
        wanted = np.full(len(self.names), -1, np.int64)
        for k, name in enumerate([time, *columns]):
            wanted[self.names.index(name)] = k
        odd = np.empty((max(_ODD_MAX, 2 * len(columns) + 2), ODD_WIDTH), np.int64)
        reader = _Reader(self, time, unit, tuple(columns), wanted, odd)
        with self._open() as file, self._translated(1):
            file.read(self._start)
            data, line, final = b"", 2, False
            while not final:
                with self._translated(line):
                    more = file.read(READ_BYTES)
                data, final = data + more, not more
                if len(data) > LINE_BYTES_MAX:
                    raise self.error(line, f"a row of more than {LINE_BYTES_MAX} bytes", "is a quote left open?")
                start = 0
                while start < len(data):
                    rows, start, line, ended = reader.scan(data, start, line, final, rows_max)
                    if len(rows.t_ns):
                        yield rows
                    if ended:
                        break
                data = data[start:]

    def _open(self) -> IO[bytes]:
        try:
            with self.path.open("rb") as file:
                zipped = file.read(2) == b"\x1f\x8b"
            return cast(IO[bytes], gzip.open(self.path) if zipped else self.path.open("rb"))
        except OSError as exc:
            raise SourceError(f"cannot read {self.path}: {exc.strerror}", hint="check the path") from exc

    @contextmanager
    def _translated(self, line: int) -> Iterator[None]:
        """Errors of the disk and of gzip as SourceError."""
        try:
            yield
        except (EOFError, OSError, zlib.error) as exc:
            what = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise self.error(line, f"the file cannot be read on ({what})", "copy it again") from exc

    def error(self, line: int, message: str, hint: str = "") -> SourceError:
        """A fault at a line of the file."""
        return SourceError(f"{self.path}:{line}: {message}", hint=hint)

    def bad_cell(self, line: int, column: str, text: str, unit: str | None) -> SourceError:
        """The error of a cell that is no number (``unit`` None) or no time."""
        shown = repr(text[:60])
        if unit is None:
            hint = "leave a missing value empty, or choose another column"
            return self.error(line, f"column {column}: {shown} is not a number", hint)
        if text.strip().lower() in MISSING:
            return self.error(line, f"column {column}: the time is missing", "every row needs one")
        hint = _UNITS.get(unit, "set time_unit: to s, ms, us, ns or iso")
        return self.error(line, f"column {column}: {shown} is not a time in {unit}", hint)


class _Reader:
    """Scans pieces of one file and settles the cells that the kernel leaves."""

    def __init__(
        self,
        recording: CsvRecording,
        time: str,
        unit: str,
        columns: tuple[str, ...],
        wanted: NDArray[np.int64],
        odd: NDArray[np.int64],
    ) -> None:
        self._recording = recording
        self._names = (time, *columns)
        self._unit = unit
        self._code = unit_exponent(unit)
        self._wanted = wanted
        self._odd = odd

    def scan(self, data: bytes, start: int, line: int, final: bool, rows_max: int) -> tuple[Rows, int, int, bool]:
        """Rows from ``start`` on, the next start and line, and whether ``data`` holds no further whole row."""
        t_ns = np.empty(rows_max, np.int64)
        values = np.empty((rows_max, len(self._names) - 1))
        n, odds, start, line, status = scan_rows(
            np.frombuffer(data, np.uint8),
            start,
            final,
            ord(self._recording.delimiter),
            self._wanted,
            self._code,
            line,
            t_ns,
            values,
            self._odd,
        )
        for row, column, a, b, at_line in self._odd[:odds].tolist():
            text = data[a:b].decode("utf-8", "replace")
            if column:
                values[row, column - 1] = self._number(text, column, at_line)
            else:
                t_ns[row] = self._time(text, at_line)
        if status == TOO_MANY:
            message = f"more cells than the {len(self._wanted)} columns of the first line"
            raise self._recording.error(line, message, "put text that holds a delimiter into quotes")
        if status == BAD_QUOTE:
            raise self._recording.error(line, "the quotes of a cell do not match", "close it, and double those inside")
        return Rows(t_ns[:n], values[:n]), start, line, status != FULL

    def _time(self, text: str, line: int) -> int:
        t = read_time(text.strip(), self._unit)
        if t is None:
            raise self._recording.bad_cell(line, self._names[0], text, self._unit)
        return t

    def _number(self, text: str, column: int, line: int) -> float:
        """A float; NaN where the text stands for no value, infinite where it is beyond all floats."""
        word = text.strip().lower()
        if word in MISSING:
            return nan
        value = read_number(text)
        if value is not None:
            return value
        if word in _INFINITE or _is_number(word):
            return inf
        raise self._recording.bad_cell(line, self._names[column], text, None)


def _is_number(word: str) -> bool:
    """Whether it is a plain number that no float holds, such as 1e999."""
    mantissa, _, power = word.partition("e")
    return read_number(mantissa) is not None and read_number(f"0e{power}") is not None
