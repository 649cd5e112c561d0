"""Where states go: the port, and its CSV form."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from edgetwin.clock import NS
from edgetwin.codec.frames import Frame
from edgetwin.receive.files import CsvLog
from edgetwin.records import Quality

COLUMNS = ("gateway", "twin", "state", "unit", "t_ns", "t", "mean", "std", "quality")
QUALITY = tuple(q.name.lower() for q in Quality)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Store(Protocol):
    """Keeps the states of frames. What was written counts once ``commit`` has returned.

    A store is opened with the position of its last commit and forgets whatever came after it.
    ``full`` asks for a commit.
    """

    @property
    def full(self) -> bool:
        """Whether a commit is due for reasons of size."""

    def write(self, frame: Frame) -> None:
        """Add the states of a frame. JournalError when the disk refuses."""

    def commit(self) -> int:
        """Make everything written durable and return the position. JournalError when the disk refuses."""

    def close(self) -> None:
        """Release the files."""


class CsvStates:
    """``states.csv``: a row for each state of each report, in the order of arrival.

    ``t`` is ISO 8601 in UTC with nanoseconds and ``t_ns`` the same as an integer; floats read back exactly.
    """

    full = False

    def __init__(self, directory: Path, position: int) -> None:
        self._log = CsvLog(directory / "states.csv", COLUMNS, position)

    def write(self, frame: Frame) -> None:
        """Add the states of a frame."""
        self._log.write(_rows(frame))

    def commit(self) -> int:
        """Make everything written durable; returns the size of the file."""
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


def iso(t_ns: int) -> str:
    """A time in nanoseconds since 1970 as ISO 8601 in UTC, exactly."""
    seconds, ns = divmod(t_ns, NS)
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{ns:09d}Z"
