"""Reports, events and summaries that wait for the frame they go out in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgetwin.records import Event, Report, SignalSummary

VALUES_MAX = 20_000
EVENTS_MAX = 1_024


class Gathering:
    """What has been gathered since the last frame, and whether the next one is due."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.events: list[Event] = []
        self.signals: list[SignalSummary] = []
        self._values = 0
        self._opened_ns = 0

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.reports or self.events or self.signals)

    def add(
        self, now_ns: int, reports: Sequence[Report], events: Sequence[Event], signals: Sequence[SignalSummary]
    ) -> None:
        """Take in what came at ``now_ns``."""
        if not self.reports and not self.events:
            self._opened_ns = now_ns
        self.reports += reports
        self.events += events
        self.signals += signals
        self._values += sum(len(report) for report in reports)

    def due(self, now_ns: int, every_ns: int) -> bool:
        """Whether a frame is to be made at ``now_ns``: ``every_ns`` have passed, or it would become too large."""
        waited = now_ns - self._opened_ns >= every_ns
        return waited or self._values >= VALUES_MAX or len(self.events) >= EVENTS_MAX

    def clear(self) -> None:
        """It went into a frame."""
        self.reports, self.events, self.signals, self._values = [], [], [], 0

    # ---- persistence

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "opened_ns": self._opened_ns,
            "reports": [[r.t_ns, r.columns, r.mean, r.std, r.quality] for r in self.reports],
            "events": [[e.kind, e.t_ns, dict(e.data)] for e in self.events],
            "signals": [
                [s.t_ns, s.signals, s.count, s.low, s.high, s.mean, s.duration_s] for s in self.signals
            ],
        }  # fmt: skip

    def load(self, saved: dict[str, Any]) -> None:
        """What :meth:`dump` gave comes before what there is."""
        self._opened_ns = saved["opened_ns"]
        reports = [Report(t_ns, _keys(columns), *rows) for t_ns, columns, *rows in saved["reports"]]
        self.reports[:0] = reports
        self.events[:0] = [Event(*event) for event in saved["events"]]
        self.signals[:0] = [SignalSummary(t_ns, _keys(signals), *rows) for t_ns, signals, *rows in saved["signals"]]
        self._values += sum(len(report) for report in reports)


def _keys(saved: list[list[str]]) -> tuple[tuple[str, str, str], ...]:
    return tuple((twin, name, unit) for twin, name, unit in saved)
