"""Records back from the disk: one segment in memory at a time, checked again as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from edgetwin.errors import JournalError
from edgetwin.journal.disk import Disk
from edgetwin.journal.gaps import FrameKey, Gap, runs
from edgetwin.journal.index import Index
from edgetwin.journal.layout import HISTORY, Class, Header, Kind
from edgetwin.journal.scan import Damage, Record, scan
from edgetwin.journal.segments import Segment
from edgetwin.journal.state import Ref
from edgetwin.journal.store import read_segment, records

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A frame as it was committed."""

    epoch: int
    sequence: int
    cls: Class
    values: int
    wall_ns: int
    payload: bytes

    @property
    def key(self) -> FrameKey:
        return self.epoch, self.sequence


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record of history. ``(epoch, number)`` is unique."""

    kind: Kind
    epoch: int
    number: int
    wall_ns: int
    payload: bytes


def frames(disk: Disk, index: Index, after: FrameKey | None) -> Iterator[StoredFrame]:
    """See :meth:`Journal.frames`."""
    number = -1
    if after is not None:
        number = _segment_after(index, after)
    while (segment := _next_segment(index, number)) is not None:
        number = segment.number
        low = index.acks.get(segment.epoch, -1)
        if after is not None and segment.epoch == after[0]:
            low = max(low, after[1])
        if segment.last_frame > low:
            yield from _frames_of(disk, index, segment, low)


def waiting(disk: Disk, index: Index) -> Iterator[tuple[int, int, int]]:
    """See :meth:`Journal.waiting`."""
    number = -1
    while (segment := _next_segment(index, number)) is not None:
        number = segment.number
        low = index.acks.get(segment.epoch, -1)
        if segment.last_frame <= low or segment.first_frame > segment.last_frame:
            continue
        if segment.count(Kind.FRAME).records == segment.last_frame - segment.first_frame + 1:
            with index.lock:
                parts = index.gaps.without(segment.epoch, max(segment.first_frame, low + 1), segment.last_frame)
        else:
            found = _frames_among(index, segment, scan(_read(disk, segment), segment.epoch), low)
            parts = [(g.first, g.last) for g in runs(segment.epoch, ((f.sequence, 0) for f in found), "")]
        yield from ((segment.epoch, first, last) for first, last in parts)


def _read(disk: Disk, segment: Segment) -> bytes:
    try:
        return read_segment(disk, segment)
    except OSError as exc:
        raise JournalError(f"journal {disk.name} cannot be read ({exc.strerror})", hint="check the disk") from exc


def _segment_after(index: Index, after: FrameKey) -> int:
    """The number of a segment before the one in which frames after ``after`` begin."""
    epoch, sequence = after
    with index.lock:
        own = [s for s in index.segments if s.epoch == epoch]
        done = [s.number for s in own if s.first_frame > s.last_frame or s.last_frame <= sequence]
        left = [s.number for s in own if s.last_frame > sequence and s.first_frame <= s.last_frame]
        if left:
            return left[0] - 1
        return max(done, default=-1)


def _next_segment(index: Index, number: int) -> Segment | None:
    with index.lock:
        return next((s for s in index.segments if s.number > number), None)


def _frames_of(disk: Disk, index: Index, segment: Segment, low: int) -> Iterator[StoredFrame]:
    yield from _frames_among(index, segment, _items(disk, segment), low)


def _frames_among(index: Index, segment: Segment, items: Iterator[Record | Damage], low: int) -> Iterator[StoredFrame]:
    damaged = False
    for item in items:
        if isinstance(item, Damage):
            damaged = True
            continue
        header = item.header
        if header.kind != Kind.FRAME or header.sequence <= low:
            continue
        if damaged:
            _lost(index, segment, low + 1, header.sequence - 1)
            damaged = False
        low = header.sequence
        with index.lock:
            wanted = _wanted(index, header)
        if wanted:
            yield _stored(item)
    if damaged:
        _lost(index, segment, low + 1, segment.last_frame)


def _items(disk: Disk, segment: Segment) -> Iterator[Record | Damage]:
    try:
        data = read_segment(disk, segment)
    except FileNotFoundError:
        return  # everything in it was acknowledged or evicted meanwhile
    except OSError as exc:
        log.warning("journal_segment_unreadable", segment=segment.name, error=exc.strerror)
        return
    yield from scan(data, segment.epoch)


def _lost(index: Index, segment: Segment, first: int, last: int) -> None:
    """Frames were damaged after they had been found whole: say so."""
    with index.lock:
        segment.damaged = True
        first = max(first, segment.first_frame, index.acks.get(segment.epoch, -1) + 1)
        ranges = index.gaps.without(segment.epoch, first, last) if first <= last else []
        index.give_up(Gap(segment.epoch, Kind.FRAME, a, b, b - a + 1, 0, "damaged") for a, b in ranges)
    if ranges:
        log.warning("journal_damaged", segment=segment.name, frames=sum(b - a + 1 for a, b in ranges))


def _wanted(index: Index, header: Header) -> bool:
    acked = header.sequence <= index.acks.get(header.epoch, -1)
    return not acked and not index.gaps.covers(header.epoch, header.sequence)


def _stored(record: Record) -> StoredFrame:
    h = record.header
    return StoredFrame(h.epoch, h.sequence, h.cls, h.values, h.wall_ns, record.payload)


def frame(disk: Disk, index: Index, epoch: int, sequence: int) -> StoredFrame | None:
    """See :meth:`Journal.frame`."""
    with index.lock:
        holders = [s for s in index.segments if s.epoch == epoch and s.first_frame <= sequence <= s.last_frame]
    for segment in holders:
        for found in _frames_of(disk, index, segment, sequence - 1):
            if found.sequence == sequence:
                return found
            break
    return None


def state(disk: Disk, index: Index) -> Iterator[tuple[Kind, bytes]]:
    """See :meth:`Journal.state`."""
    with index.lock:
        current = index.chain.current
        refs = list(current.refs) if current is not None else []
    yield from ((record.header.kind, record.payload) for record in _follow(disk, index, refs))


def positions(disk: Disk, index: Index) -> bytes | None:
    """See :meth:`Journal.positions`."""
    with index.lock:
        ref = index.chain.positions
    return None if ref is None else next(_follow(disk, index, [ref])).payload


def _follow(disk: Disk, index: Index, refs: list[Ref]) -> Iterator[Record]:
    """The records that ``refs``, in the order of the log, name."""
    at = 0
    while at < len(refs):
        number = refs[at].segment
        with index.lock:
            segment = next((s for s in index.segments if s.number == number), None)
        for record in records(disk, segment) if segment is not None else ():
            if at < len(refs) and (refs[at].segment, refs[at].number) == (number, record.header.number):
                yield record
                at += 1
        if at < len(refs) and refs[at].segment == number:
            raise JournalError(
                f"the state in journal {disk.name} was damaged after it had been found whole",
                hint="check the disk; the daemon starts again without a state",
            )


def history(disk: Disk, index: Index, kinds: frozenset[Kind]) -> Iterator[StoredRecord]:
    """See :meth:`Journal.history`."""
    assert kinds <= HISTORY
    number = -1
    while (segment := _next_segment(index, number)) is not None:
        number = segment.number
        if not any(kind in kinds for kind, _ in segment.tallies):
            continue
        for item in _items(disk, segment):
            if isinstance(item, Record) and item.header.kind in kinds:
                h = item.header
                yield StoredRecord(h.kind, h.epoch, h.number, h.wall_ns, item.payload)
