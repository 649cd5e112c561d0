"""Frames and what a store made of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from edgetwin.codec.frames import FrameGap, encode_frame
from edgetwin.receive.store import QUALITY, iso
from edgetwin.records import Event, Report
from tests.codec.build import T0, report

Row = tuple[str, ...]


def frame(
    seq: int, epoch: int = 7, gateway: str = "g", gaps: Sequence[FrameGap] = (), events: Sequence[Event] = ()
) -> bytes:
    """A frame of one report that is different for each number."""
    return encode_frame([report_of(seq)], gateway, epoch, seq, events, gaps)


def report_of(seq: int) -> Report:
    return report(T0 + seq * 10**9, seed=seq)


def rows_of(reports: Sequence[Report], gateway: str = "g") -> list[Row]:
    """What states.csv must hold for these reports."""
    return [
        (gateway, twin, state, unit, str(r.t_ns), iso(r.t_ns), repr(mean), repr(std), QUALITY[quality])
        for r in reports
        for (twin, state, unit), mean, std, quality in zip(
            r.columns, r.mean.tolist(), r.std.tolist(), r.quality.tolist(), strict=True
        )
    ]


def read(path: Path) -> list[Row]:
    """The rows of a CSV file without its header."""
    with path.open(newline="", encoding="utf-8") as f:
        return [tuple(row) for row in csv.reader(f)][1:]
