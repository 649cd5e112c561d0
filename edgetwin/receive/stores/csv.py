"""States in CSV files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgetwin.codec.frames import Frame
from edgetwin.receive.stores.files import FILE_BYTES_MAX, CsvLog, Position
from edgetwin.receive.stores.port import QUALITY, iso

COLUMNS = ("gateway", "twin", "state", "unit", "t_ns", "t", "mean", "std", "quality")


class CsvStates:
    """``states.csv``: a row for each state of each report, in the order of arrival.

    ``t`` is ISO 8601 in UTC with nanoseconds and ``t_ns`` the same as an integer; floats read back exactly.
    """

    def __init__(self, directory: Path, position: Position, bytes_max: int = FILE_BYTES_MAX) -> None:
        self._log = CsvLog(directory, "states", COLUMNS, position, bytes_max)

    def write(self, frame: Frame) -> None:
        """Add the states of a frame."""
        self._log.write(_rows(frame))

    def commit(self) -> Position:
        """Make everything written durable; returns where the log now stands."""
        return self._log.commit()

    def close(self) -> None:
        """Close the file."""
        self._log.close()


def _rows(frame: Frame) -> Iterator[tuple[object, ...]]:
    for report in frame.reports:
        t = iso(report.t_ns)
        values = zip(report.columns, report.mean.tolist(), report.std.tolist(), report.quality.tolist(), strict=True)
        for (twin, state, unit), mean, std, quality in values:
            yield frame.gateway, twin, state, unit, report.t_ns, t, mean, std, QUALITY[quality]
