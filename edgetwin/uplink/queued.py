"""A frame in the outbox, and how reports are divided among frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetwin.codec.frames import FrameGap
from edgetwin.codec.header import chain_of
from edgetwin.errors import FrameError
from edgetwin.records import Report

VALUES_PER_FRAME = 16_384
"""About 300 kB: small enough for a broker's packet limit, large enough that the envelope does not matter."""

_OVERHEAD_BYTES = 256
_GAP_BYTES = 128

Key = tuple[int, int]
"""(epoch, sequence)"""


@dataclass(frozen=True, slots=True)
class Queued:
    """An encoded frame with what it takes to account for it: the values in it, the gap records it carries, and the
    sequence number of the key frame without which it means nothing (None: it stands alone).

    ``position`` is its place in the store (:class:`edgetwin.uplink.port.Outbox`).
    """

    key: Key
    data: bytes
    values: int
    gaps: tuple[FrameGap, ...] = ()
    run: int | None = None
    position: int = 0

    @property
    def key_frame(self) -> bool:
        """Whether it can be decoded without those before it."""
        return self.run is None or self.run == self.key[1]

    @property
    def size(self) -> int:
        """Bytes it holds in memory, about."""
        return len(self.data) + _OVERHEAD_BYTES + _GAP_BYTES * len(self.gaps)


def chain(data: bytes) -> tuple[int, int] | None:
    """As :func:`edgetwin.codec.header.chain_of`; None as well for a frame of another release, which is for the cloud to
    judge."""
    try:
        return chain_of(data)
    except FrameError:
        return None


def split(reports: Sequence[Report], values_max: int = VALUES_PER_FRAME) -> list[list[Report]]:
    """Groups of reports of at most ``values_max`` values, in order; a report too large for one is cut by rows."""
    groups: list[list[Report]] = []
    room = 0
    for report in reports:
        start = 0
        while start < len(report):
            if room == 0:
                groups.append([])
                room = values_max
            part = rows(report, start, start + room)
            groups[-1].append(part)
            room -= len(part)
            start += len(part)
    return groups


def halve(reports: Sequence[Report]) -> list[list[Report]]:
    """Two groups of about half the values each; one when there is a single value or none."""
    values = sum(len(report) for report in reports)
    return split(reports, (values + 1) // 2) if values > 1 else [list(reports)]


def rows(report: Report, start: int, stop: int) -> Report:
    """Rows ``start`` to ``stop`` (exclusive) as a report of their own."""
    if start == 0 and stop >= len(report):
        return report
    part = slice(start, stop)
    return Report(
        report.t_ns,
        report.columns[part],
        report.mean[part].copy(),
        report.std[part].copy(),
        report.quality[part].copy(),
    )
