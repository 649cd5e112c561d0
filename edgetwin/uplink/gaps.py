"""Gap records: what will never reach the cloud."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgetwin.codec.frames import FrameGap


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
