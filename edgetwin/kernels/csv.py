"""Rows of a delimited text file (RFC 4180) to arrays of times and values, compiled.

Only the wanted columns are parsed. What is not a plain number, and times that need more than 63 bits, are handed on by
position for Python to judge.
"""

from __future__ import annotations

from edgetwin.kernels.bits import Array, at
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.numbers import OK, is_space, parse_number
from edgetwin.kernels.times import parse_time

MORE, FULL, TOO_MANY, BAD_QUOTE = 0, 1, 2, 3
"""How a scan ended: all whole rows are read; an output is full; a row has text beyond the columns of the header; text
follows a closing quote, or the file ends inside a quoted cell."""

ODD_WIDTH = 5
"""Columns of ``odd``: row, wanted column (0: time), first byte, byte after the last, line."""

_NAN = float("nan")
_QUOTE, _RETURN, _NEWLINE = 34, 13, 10


@kernel
def scan_rows(
    buf: Array,
    start: int,
    final: bool,
    delimiter: int,
    wanted: Array,
    unit: int,
    line: int,
    t_ns: Array,
    values: Array,
    odd: Array,
) -> tuple[int, int, int, int, int]:
    """Read whole rows from ``buf`` uint8[:], from ``start``: (rows, odd cells, next start, next line, status).

    final: nothing follows ``buf``, so its end ends a row. wanted int64[columns]: 0 for the time, k > 0 for
    ``values[:, k - 1]``, -1 for a column to skip. unit: of the time, as in ``times.UNITS``. line: number of the line at
    ``start``. t_ns int64[rows_max], values float64[rows_max, columns]: written; an empty or absent cell is NaN. odd
    int64[odd_max, 5]: cells that were not read, in order, their place in the outputs left unset; every time that is
    empty or absent is among them. Blank lines are passed over. After TOO_MANY and BAD_QUOTE the next line is that of
    the fault.
    """
    n = buf.shape[0]
    columns = wanted.shape[0]
    needed = values.shape[1] + 1
    i = start
    rows = 0
    odds = 0
    while i < n:
        if rows == t_ns.shape[0] or odds + needed > odd.shape[0]:
            return rows, odds, i, line, FULL
        first = i
        lines = 1
        cell = 0
        known_odds = odds
        timed = False
        for k in range(values.shape[1]):
            values[rows, k] = _NAN
        whole = False
        blank = False
        while True:
            a, b, i, breaks, ok = _cell(buf, i, n, delimiter)
            lines += breaks
            if not ok:
                if i >= n and not final:
                    break
                return rows, known_odds, first, line, BAD_QUOTE
            ended = i >= n or at(buf, i) == _NEWLINE
            if i >= n and not final:
                break
            if cell == 0 and ended and a == b and at(buf, first) != _QUOTE:
                blank = True
                whole = True
                i += 1
                break
            if cell >= columns and a < b:
                return rows, known_odds, first, line, TOO_MANY
            w = wanted[cell] if cell < columns else -1
            if w == 0:
                timed = True
                t, status = parse_time(buf, a, b, unit)
                if status == OK:
                    t_ns[rows] = t
                else:
                    odds = _note(odd, odds, rows, 0, a, b, line)
            elif w > 0 and a < b:
                value, _, status = parse_number(buf, a, b, False)
                if status == OK:
                    values[rows, w - 1] = value
                else:
                    odds = _note(odd, odds, rows, w, a, b, line)
            cell += 1
            i += 1
            if ended:
                whole = True
                break
        if not whole:
            return rows, known_odds, first, line, MORE
        if not blank:
            if not timed:
                odds = _note(odd, odds, rows, 0, first, first, line)
            rows += 1
        line += lines
    return rows, odds, min(i, n), line, MORE


@kernel
def _note(odd: Array, odds: int, row: int, column: int, a: int, b: int, line: int) -> int:
    odd[odds, 0], odd[odds, 1], odd[odds, 2], odd[odds, 3], odd[odds, 4] = row, column, a, b, line
    return odds + 1


@kernel
def _cell(buf: Array, i: int, n: int, delimiter: int) -> tuple[int, int, int, int, bool]:
    """The cell at ``i``: first byte, byte after the last, index of what ends it (a delimiter, a line feed or ``n``),
    line feeds inside, and whether its quotes are in order. White space around the text is not part of it."""
    breaks = 0
    if i < n and at(buf, i) == _QUOTE:
        i += 1
        a = i
        while True:
            while i < n and at(buf, i) != _QUOTE:
                breaks += at(buf, i) == _NEWLINE
                i += 1
            if i >= n:
                return a, i, i, breaks, False
            if i + 1 < n and at(buf, i + 1) == _QUOTE:
                i += 2
                continue
            break
        b = i
        i += 1
        while i < n and at(buf, i) != delimiter and at(buf, i) != _NEWLINE:
            if not is_space(at(buf, i)):
                return a, b, i, breaks, False
            i += 1
    else:
        a = i
        while i < n:
            if at(buf, i) == delimiter or at(buf, i) == _NEWLINE:
                break
            i += 1
        b = i
    while a < b and is_space(at(buf, a)):
        a += 1
    while a < b and is_space(at(buf, b - 1)):
        b -= 1
    return a, b, i, breaks, True
