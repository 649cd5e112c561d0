"""The columns of a frame, (twin, state, unit) each, on the wire: one table of names, three indices a column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetwin.errors import FrameError
from edgetwin.records import Report

Column = tuple[str, str, str]
WireColumns = tuple[list[str], list[int]]


def gather(reports: Sequence[Report]) -> tuple[list[Column], list[NDArray[np.uint32]]]:
    """The distinct columns of the reports in order of first use, and for each report uint32[n] indices."""
    known: dict[Column, int] = {}
    indices = [
        np.array([known.setdefault(column, len(known)) for column in report.columns], np.uint32) for report in reports
    ]
    return list(known), indices


def to_wire(columns: Sequence[Column]) -> WireColumns:
    """``[names, rows]``: distinct names in order of first use, and 3 indices into them for each column."""
    names: dict[str, int] = {}
    rows = [names.setdefault(name, len(names)) for column in columns for name in column]
    return list(names), rows


def from_wire(wire: object) -> tuple[Column, ...]:
    """The columns of ``[names, rows]``. FrameError when it is anything else."""
    if not isinstance(wire, list) or len(wire) != 2 or not all(isinstance(part, list) for part in wire):
        raise FrameError("columns are not [names, rows]")
    names, rows = wire
    if not all(type(name) is str for name in names):
        raise FrameError("a name of a column is not text")
    if not all(type(row) is int and 0 <= row < len(names) for row in rows):
        raise FrameError("a column points outside the table of names")
    if len(rows) % 3:
        raise FrameError("a column does not have three names")
    text = [names[row] for row in rows]
    return tuple(zip(text[0::3], text[1::3], text[2::3], strict=True))
