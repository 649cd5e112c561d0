"""What is gone and was not delivered: gap records, and the ledger of those the cloud has still to hear of."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import msgpack

from edgetwin.errors import JournalError
from edgetwin.journal.layout import Kind
from edgetwin.ranges import Ranges

U64_MAX = 2**64 - 1

RANGES_MAX = 4_096
"""Gaps kept in memory, in round figures; they are joined beyond."""

FrameKey = tuple[int, int]
"""(epoch, sequence) of a frame"""

Wire = tuple[int, int, int, int, int, int, str]


@dataclass(frozen=True, slots=True)
class Gap:
    """Records of ``kind`` and ``epoch`` numbered ``first`` to ``last`` (inclusive) that are gone.

    For frames these are frame sequence numbers, every one of the range is gone, and neighbours are joined. For other
    kinds they are record numbers, and of those between only the records of ``kind`` are gone. ``records`` counts them,
    ``values`` the values in them as far as known. ``reason``: evicted, aged_out, damaged, segment_missing,
    epoch_ended (nothing lost, no further number of that epoch will ever come), or the caller's own.
    """

    epoch: int
    kind: Kind
    first: int
    last: int
    records: int
    values: int
    reason: str

    def to_wire(self) -> Wire:
        return (self.epoch, int(self.kind), self.first, self.last, self.records, self.values, self.reason)


def pack_gaps(gaps: Iterable[Gap]) -> bytes:
    """The payload of a GAP record."""
    return bytes(msgpack.packb([gap.to_wire() for gap in gaps]))


def unpack_gaps(payload: bytes) -> list[Gap]:
    """The reverse of :func:`pack_gaps`. JournalError when ``payload`` is anything else."""
    return [gap_from_wire(item) for item in unpack(payload)]


def unpack(payload: bytes) -> list[object]:
    """A msgpack array. JournalError when ``payload`` is anything else."""
    try:
        found = msgpack.unpackb(payload)
    except Exception as exc:  # msgpack has no common base for what it raises
        raise JournalError("a record of the journal is not msgpack") from exc
    if type(found) is not list:
        raise JournalError("a record of the journal is not an array")
    return found


def gap_from_wire(wire: object) -> Gap:
    """The reverse of :meth:`Gap.to_wire`. JournalError when ``wire`` is anything else."""
    if type(wire) is list and len(wire) == 7:
        *numbers, reason = wire
        whole = all(type(n) is int and 0 <= n <= U64_MAX for n in numbers) and type(reason) is str
        if whole and numbers[1] in Kind._value2member_map_:
            epoch, kind, first, last, records, values = numbers
            return Gap(epoch, Kind(kind), first, last, records, values, reason)
    raise JournalError("not a gap record")


def coalesce(gaps: Iterable[Gap]) -> list[Gap]:
    """The same gaps in order, neighbours joined: frames when adjacent, other kinds always."""
    joined: list[Gap] = []
    for gap in sorted(gaps, key=lambda g: (g.epoch, g.kind, g.kind != Kind.FRAME and g.reason, g.first, g.last)):
        before = joined[-1] if joined else None
        if before is not None and _joins(before, gap):
            last = max(before.last, gap.last)
            joined[-1] = replace(
                before, last=last, records=before.records + gap.records, values=before.values + gap.values
            )
        else:
            joined.append(gap)
    return joined


def _joins(before: Gap, gap: Gap) -> bool:
    if (before.epoch, before.kind, before.reason) != (gap.epoch, gap.kind, gap.reason):
        return False
    return gap.kind != Kind.FRAME or gap.first == before.last + 1


def subtract(gaps: Iterable[Gap], told: Iterable[Gap]) -> list[Gap]:
    """What of ``gaps`` is not in ``told``. Values of a gap that is told in part stay with the first part left."""
    by_key: dict[tuple[int, Kind, str], list[Gap]] = {}
    for gap in sorted(told, key=lambda g: g.first):
        by_key.setdefault((gap.epoch, gap.kind, gap.reason), []).append(gap)
    return [part for gap in gaps for part in _left(gap, by_key.get((gap.epoch, gap.kind, gap.reason), []))]


def _left(gap: Gap, told: list[Gap]) -> list[Gap]:
    """``told``: of the same epoch, kind and reason, in order, apart from each other."""
    low = max(bisect_right(told, gap.first, key=lambda g: g.first) - 1, 0)
    mine = [t for t in told[low : bisect_right(told, gap.last, key=lambda g: g.first)] if t.last >= gap.first]
    if not mine:
        return [gap]
    records = max(gap.records - sum(t.records for t in mine), 0)
    values = max(gap.values - sum(t.values for t in mine), 0)
    if gap.kind != Kind.FRAME:
        return [replace(gap, records=records, values=values)] if records else []
    parts = []
    starts = [gap.first, *(t.last + 1 for t in mine)]
    stops = [*(t.first - 1 for t in mine), gap.last]
    for first, last in zip(starts, stops, strict=True):
        if first <= last:
            share = min(records, last - first + 1)
            parts.append(replace(gap, first=first, last=last, records=share, values=values))
            records, values = records - share, 0
    return parts


def _sacrifice(gaps: list[Gap]) -> list[Gap]:
    """Pairs of neighbours of one epoch joined; frames between them are given up and counted as gone."""
    joined: list[Gap] = []
    merged = False
    for gap in gaps:
        before = joined[-1] if joined else None
        if merged or before is None or gap.last == U64_MAX or not before.kind == gap.kind == Kind.FRAME:
            joined.append(gap)
            merged = False
        elif before.epoch == gap.epoch:
            records = gap.last - before.first + 1
            joined[-1] = replace(before, last=gap.last, records=records, values=before.values + gap.values)
            merged = True
        else:
            joined.append(gap)
    return joined


def runs(epoch: int, frames: Iterable[tuple[int, int]], reason: str) -> Iterator[Gap]:
    """One gap per run of consecutive frames. ``frames``: (sequence, values), ascending."""
    first = last = -1
    count = values = 0
    for sequence, weight in frames:
        if count and sequence != last + 1:
            yield Gap(epoch, Kind.FRAME, first, last, count, values, reason)
            count = values = 0
        if not count:
            first = sequence
        last = sequence
        count += 1
        values += weight
    if count:
        yield Gap(epoch, Kind.FRAME, first, last, count, values, reason)


class GapLedger:
    """Gaps the cloud has still to hear of: pending ones, and those that a frame not yet acknowledged carries.
    ``losses`` grows whenever frames are given up."""

    def __init__(self) -> None:
        self.losses = 0
        self.pending: list[Gap] = []
        self.carried: dict[FrameKey, tuple[Gap, ...]] = {}
        self._frames: dict[int, Ranges] | None = None

    def __len__(self) -> int:
        return len(self.pending) + sum(map(len, self.carried.values()))

    def __iter__(self) -> Iterator[Gap]:
        yield from self.pending
        for gaps in self.carried.values():
            yield from gaps

    def copy(self) -> GapLedger:
        """One that changes apart from this."""
        other = GapLedger()
        other.pending, other.carried = list(self.pending), dict(self.carried)
        return other

    def add(self, gaps: Iterable[Gap]) -> None:
        """Enter gaps to be told. Beyond :data:`RANGES_MAX` of them neighbours are joined with what lies between."""
        added = list(gaps)
        if not added:
            return
        self.pending = coalesce([*self.pending, *added])
        while len(self.pending) > RANGES_MAX and len(thinner := _sacrifice(self.pending)) < len(self.pending):
            self.pending = thinner
        self.losses += 1
        self._frames = None

    def carry(self, key: FrameKey, gaps: tuple[Gap, ...]) -> None:
        """The frame ``key`` tells the cloud of ``gaps``."""
        self.pending = subtract(self.pending, gaps)
        self.carried[key] = gaps
        self._frames = None

    def settle(self, arrived: Callable[[FrameKey], bool], over: Callable[[Gap], bool]) -> None:
        """Forget gaps that the cloud has heard of: those that frames which have ``arrived`` carried, once what they
        tell of is ``over``. Until then it would be taken to wait again."""
        for key, gaps in [(key, gaps) for key, gaps in self.carried.items() if arrived(key)]:
            kept = tuple(gap for gap in gaps if not over(gap))
            if kept != gaps:
                self.carried[key] = kept
                self._frames = None
            if not kept:
                del self.carried[key]

    def give_back(self, lost: Iterable[Gap]) -> None:
        """What frames that are now lost carried is to be told anew."""
        for gap in lost:
            for key in [k for k in self.carried if k[0] == gap.epoch and gap.first <= k[1] <= gap.last]:
                self.add(self.carried.pop(key))

    def covers(self, epoch: int, sequence: int) -> bool:
        """Whether the frame is known to be gone."""
        return sequence in self._gone(epoch)

    def without(self, epoch: int, first: int, last: int) -> list[tuple[int, int]]:
        """What of ``first`` to ``last`` (inclusive) no gap covers, as first and last of ranges."""
        return [(start, stop - 1) for start, stop in self._gone(epoch).missing(first, last + 1)]

    def _gone(self, epoch: int) -> Ranges:
        """The frames of ``epoch`` that are in gaps."""
        if self._frames is None:
            frames: dict[int, Ranges] = {}
            for gap in self:
                if gap.kind == Kind.FRAME:
                    frames.setdefault(gap.epoch, Ranges()).add(gap.first, gap.last + 1)
            self._frames = frames
        return self._frames.get(epoch, _NONE)


_NONE = Ranges()


def over(gap: Gap, acks: Mapping[int, int], living: Container[int]) -> bool:
    """Whether none of the frames that ``gap`` tells of can be read any more: there were none, the acknowledgements are
    past them, or their epoch is not among those with frames on the disk (``living``)."""
    frames = gap.kind == Kind.FRAME and gap.records > 0
    return not frames or gap.epoch not in living or gap.last <= acks.get(gap.epoch, -1)
