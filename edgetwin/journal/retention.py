"""Which segments go, and what goes with them.

Planned before a segment is begun, so that its first group says what is evicted; carried out when that is durable. A
crash in between leaves records that a gap already covers: they are passed over, and removed at the next start.

1. Segments in which nothing is live are removed, those mostly dead are rewritten without the dead (*thinned*).
2. Frames beyond their age are evicted.
3. While the rest is above the budget, the lowest class is evicted, oldest segment first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgetwin.clock import NS
from edgetwin.journal.gaps import Gap, GapLedger, runs
from edgetwin.journal.layout import BLOCK_BYTES, HISTORY, STATE, Class, Header, Kind
from edgetwin.journal.limits import Limits
from edgetwin.journal.scan import Record
from edgetwin.journal.segments import Segment

EVICTABLE = (Class.DATA, Class.AUDIT, Class.EVENT)
_UNUSED = 65_536
"""Bytes after the last record that are worth a rewriting: what a crash left of the room reserved for a segment."""


@dataclass(slots=True)
class Plan:
    """Segments to ``remove`` and to ``thin``, ``gaps`` that say what is evicted thereby, and whether that suffices."""

    remove: list[Segment] = field(default_factory=list)
    thin: list[Segment] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    suffices: bool = True


@dataclass(slots=True)
class View:
    """What decides whether a record is live: acknowledgements by epoch, gaps, the state's records by segment, and the
    running time before which history is past its age."""

    acks: dict[int, int]
    gaps: GapLedger
    state: dict[int, dict[int, int]]
    history_from_ns: int
    evicted: set[tuple[int, Class]] = field(default_factory=set)

    def live(self, segment: int, header: Header) -> bool:
        """Whether a record of ``segment`` must stay."""
        if (segment, header.cls) in self.evicted and header.kind not in STATE:
            return False
        if header.kind == Kind.FRAME:
            acked = header.sequence <= self.acks.get(header.epoch, -1)
            return not acked and not self.gaps.covers(header.epoch, header.sequence)
        if header.kind in HISTORY:
            return header.run_ns >= self.history_from_ns
        return header.number in self.state.get(segment, ())

    def frames_live(self, segment: Segment) -> int:
        """Bytes of frames that wait, about: those that gaps leave are taken to be of the class with the larger ones."""
        through = self.acks.get(segment.epoch, -1)
        left = segment.waiting(through)
        if not left.records:
            return 0
        parts = self.gaps.without(segment.epoch, max(segment.first_frame, through + 1), segment.last_frame)
        present = sum(last - first + 1 for first, last in parts)
        tallies = [tally for (kind, _), tally in segment.tallies.items() if kind == Kind.FRAME]
        return min(left.bytes, present * max(-(-tally.bytes // tally.records) for tally in tallies))

    def bytes_live(self, segment: Segment) -> int:
        """Bytes that must stay, about."""
        history = 0
        if segment.newest_run_ns >= self.history_from_ns:
            history = sum(
                tally.bytes
                for (kind, cls), tally in segment.tallies.items()
                if kind in HISTORY and (segment.number, cls) not in self.evicted
            )
        frames = self.frames_live(segment)
        return frames + history + sum(self.state.get(segment.number, {}).values())


class Planner:
    """Makes one plan. ``active``: the number of the segment that is about to be sealed. ``read``: the records of a
    segment."""

    def __init__(
        self,
        segments: list[Segment],
        view: View,
        limits: Limits,
        active: int,
        read: Callable[[Segment], Iterable[Record]],
    ) -> None:
        self._segments = segments
        self._view = view
        self._limits = limits
        self._active = active
        self._read = read
        self._plan = Plan()
        self._left = {segment.number: segment.size for segment in segments}
        self._thin: dict[int, Segment] = {}

    def plan(self, now_run_ns: int, other_bytes: int) -> Plan:
        """``other_bytes``: what lies on the disk beside the segments, the one to be begun included."""
        self._collect()
        if self._limits.frames_age_s > 0:
            self._age(now_run_ns - round(self._limits.frames_age_s * NS))
        for cls in EVICTABLE:
            for segment in self._segments:
                if not self._above(other_bytes):
                    break
                self._evict(segment, cls)
        self._plan.suffices = not self._above(other_bytes)
        self._plan.thin = list(self._thin.values())
        return self._plan

    def _above(self, other_bytes: int) -> bool:
        many = len(self._left) >= self._limits.segments_max
        return many or sum(self._left.values()) + other_bytes > self._limits.budget

    def _collect(self) -> None:
        for segment in self._segments:
            live = self._view.bytes_live(segment)
            size = segment.end if segment.number == self._active else segment.size
            unused = size - segment.end > _UNUSED
            if live == 0 or segment.damaged or unused or 2 * live < size - BLOCK_BYTES:
                self._shrink(segment, live)

    def _shrink(self, segment: Segment, live: int) -> None:
        if live == 0:
            self._left.pop(segment.number, None)
            self._thin.pop(segment.number, None)
            self._plan.remove.append(segment)
        else:
            self._left[segment.number] = min(self._left[segment.number], live)
            self._thin[segment.number] = segment

    def _age(self, from_ns: int) -> None:
        for segment in self._segments:
            if segment.newest_run_ns < from_ns and self._view.frames_live(segment):
                self._give_up(segment, EVICTABLE, "aged_out", {Kind.FRAME})

    def _evict(self, segment: Segment, cls: Class) -> None:
        if segment.number in self._left and any(own == cls for _, own in segment.tallies):
            self._give_up(segment, (cls,), "evicted", {Kind.FRAME, *HISTORY})

    def _give_up(self, segment: Segment, classes: tuple[Class, ...], reason: str, kinds: set[Kind]) -> None:
        view = self._view
        frames: list[tuple[int, int]] = []
        history: dict[Kind, list[int]] = {}
        for record in self._read(segment):
            header = record.header
            if header.kind not in kinds or header.cls not in classes or not view.live(segment.number, header):
                continue
            if header.kind == Kind.FRAME:
                frames.append((header.sequence, header.values))
            else:
                history.setdefault(header.kind, []).append(header.number)
        gaps = list(runs(segment.epoch, frames, reason))
        gaps += [Gap(segment.epoch, kind, min(n), max(n), len(n), 0, reason) for kind, n in history.items()]
        if not gaps:
            return
        view.gaps.give_back(gap for gap in gaps if gap.kind == Kind.FRAME)
        view.gaps.add(gaps)
        self._plan.gaps += gaps
        if reason == "evicted":
            view.evicted |= {(segment.number, cls) for cls in classes}
        live = sum(r.header.size for r in self._read(segment) if view.live(segment.number, r.header))
        self._shrink(segment, live)
