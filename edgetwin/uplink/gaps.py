"""Gap records: what will never reach the cloud."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgetwin.codec.frames import FrameGap
from edgetwin.journal import Gap
from edgetwin.records import Event, Scalar

RECORDS_LOST = "records_lost"
"""Kind of the event about records of the journal that are no frames and are gone."""


def coalesce(gaps: Iterable[FrameGap]) -> list[FrameGap]:
    """The same gaps in order, neighbours of one epoch and reason joined and their counts added."""
    joined: list[FrameGap] = []
    for gap in sorted(gaps, key=lambda g: (g.epoch, g.first, g.last)):
        before = joined[-1] if joined else None
        if before and (before.epoch, before.reason, before.last + 1) == (gap.epoch, gap.reason, gap.first):
            joined[-1] = replace(before, last=gap.last, count=before.count + gap.count)
        else:
            joined.append(gap)
    return joined


def frame_gap(gap: Gap) -> FrameGap:
    """A gap of frames as the cloud is told of it."""
    return FrameGap(gap.epoch, gap.first, gap.last, gap.reason, gap.values)


def lost_event(gap: Gap, now_ns: int) -> Event:
    """A gap of other records, such as audit entries, as the cloud is told of it."""
    data: dict[str, Scalar] = {
        "what": gap.kind.name.lower(),
        "epoch": gap.epoch,
        "records": gap.records,
        "reason": gap.reason,
    }
    return Event(RECORDS_LOST, now_ns, data)
