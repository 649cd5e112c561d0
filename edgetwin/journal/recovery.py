"""Reading a whole journal: which records count, what is damaged, and what that lost.

One pass over the segments in order, one segment in memory at a time. Records wait until a whole group of their epoch
ends at or after them: the writer begins a group only when the one before is durable, so everything up to the last
whole group was confirmed (and what is missing there is damage), and what comes after never was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from edgetwin.errors import JournalError
from edgetwin.journal.disk import Disk
from edgetwin.journal.findings import Findings, SegmentFile, read_file, segment_files, void_numbers
from edgetwin.journal.gaps import Gap, GapLedger, over, unpack_gaps
from edgetwin.journal.layout import (
    CHAINED,
    HEADER_BYTES,
    OWN,
    THINNED,
    Header,
    Kind,
    SegmentHeader,
)
from edgetwin.journal.manifest import Listed, unpack_ack, unpack_carried, unpack_manifest
from edgetwin.journal.scan import Damage, Record, scan, without_trailer
from edgetwin.journal.segments import Segment


class _Waiting(NamedTuple):
    """A record, or the header of one whose payload is damaged, that is not known to be confirmed yet."""

    segment: Segment
    header: Header
    payload: bytes | None
    end: int


def recover(disk: Disk) -> Findings:
    """Read everything. JournalError when the directory cannot be read, or a newer release wrote it."""
    found = Findings()
    try:
        files = segment_files(disk, found)
        reader = _Reader(found, void_numbers(files))
        for file in files:
            data = read_file(disk, file.name)
            if data is not None:
                reader.segment(file, data)
        reader.finish()
    except OSError as exc:
        raise JournalError(
            f"journal {disk.name} cannot be read ({exc.strerror})", hint="check the disk and the owner of the files"
        ) from exc
    return found


class _Reader:
    """Takes segments in order and fills the findings."""

    def __init__(self, found: Findings, void: dict[int, list[tuple[int, int]]]) -> None:
        self._found = found
        self._void = void
        self._epoch = -1
        self._before: SegmentFile | None = None
        self._waiting: list[_Waiting] = []
        self._seen = 0  # highest record number of the epoch read so far
        self._confirmed: int | None = 0  # highest record number accounted for; None: not known where the epoch goes on
        self._frame = -1  # highest frame number of the epoch
        self._suspect = False  # something is missing since that frame
        self._holes: list[tuple[int, int, int]] = []
        self._unknown: list[Gap] = []
        self._identified: list[tuple[int, Header]] = []
        self._listed: dict[int, Listed] = {}  # segments that the newest manifest names
        self._known = GapLedger()  # gaps since that manifest, even those the cloud has heard of

    # ---- segments

    def segment(self, file: SegmentFile, data: bytes) -> None:
        """Take one segment."""
        found, header = self._found, file.header
        if file.epoch != self._epoch:
            self._end_of_epoch()
            self._begin_epoch(file)
        first, void, frame = (header.first, header.void, header.next_frame) if header is not None else (0, 0, 0)
        segment = Segment(file.name, file.number, file.epoch, len(data), HEADER_BYTES, first, void, frame)
        segment.thinned = header is not None and bool(header.flags & THINNED)
        if header is None:
            found.counts.headers_damaged += 1
            if not self._follows(file) and not self._waiting:
                self._confirmed = None
            segment.damaged, self._suspect = True, True
        else:
            self._join(file, header)
        found.segments.append(segment)
        found.counts.bytes += len(data)
        if segment.thinned and header is not None:
            self._thinned(segment, header, without_trailer(data))
        else:
            self._written(segment, data)
        self._before = file

    def _begin_epoch(self, file: SegmentFile) -> None:
        self._epoch, self._before = file.epoch, None
        self._seen, self._confirmed, self._frame, self._suspect = 0, None, -1, False
        self._found.epochs[file.epoch] = 0

    def _follows(self, file: SegmentFile) -> bool:
        """Whether record numbers go on from the segment before: it is the one before, and none were left out of it."""
        before = self._before
        if before is None or before.number + 1 != file.number:
            return False
        return before.header is None or not before.header.flags & THINNED

    def _join(self, file: SegmentFile, header: SegmentHeader) -> None:
        """What is known at the start of a segment about those before it."""
        if self._follows(file):
            # A segment is begun when all before it is durable, so what waits was confirmed.
            self._confirm_all(header.first)
        else:
            # What lies between went by acknowledgement or eviction, or is missing; the manifest will tell.
            self._confirm_all()
            self._confirmed = header.first - 1
            if not self._suspect:
                self._frame = max(self._frame, header.next_frame - 1)
        if self._suspect and header.next_frame - 1 > self._frame:
            self._hole(header.next_frame)

    def _written(self, segment: Segment, data: bytes) -> None:
        for item in scan(data, segment.epoch):
            if isinstance(item, Damage):
                self._damage(segment, item)
            elif self._fresh(item.header, segment):
                waiting = _Waiting(segment, item.header, item.payload, item.offset + item.header.size)
                self._waiting.append(waiting)
                if item.header.kind == Kind.COMMIT:
                    self._commit(item.header)

    def _thinned(self, segment: Segment, header: SegmentHeader, data: bytes) -> None:
        records = 0
        for item in scan(data, segment.epoch):
            if isinstance(item, Record):
                records += 1
                if self._fresh(item.header, segment):
                    self._confirm(_Waiting(segment, item.header, item.payload, item.offset + item.header.size))
                continue
            self._count_damage(segment, item)
            self._suspect = True
            if item.header is not None:
                records += 1
                self._confirm(_Waiting(segment, item.header, None, item.offset + item.length))
        if records < header.records:
            segment.damaged = True
            self._found.counts.lost += header.records - records
            self._unknown.append(
                Gap(segment.epoch, Kind.UNKNOWN, header.first, self._seen, header.records - records, 0, "damaged")
            )

    def _fresh(self, header: Header, segment: Segment) -> bool:
        """Whether a record counts: it is neither void nor a second copy."""
        void = self._void.get(self._epoch)
        if void and any(start <= header.number < stop for start, stop in void):
            self._found.counts.void += 1
            segment.damaged = True  # rewritten without it, as the mark that it is void does not last for ever
            return False
        if header.number <= self._seen:
            self._found.counts.duplicates += 1
            return False
        self._seen = header.number
        return True

    def _damage(self, segment: Segment, item: Damage) -> None:
        header = item.header
        if header is not None:
            if not self._fresh(header, segment):
                return
            self._waiting.append(_Waiting(segment, header, None, item.offset + item.length))
        elif item.tail:
            self._found.counts.torn += 1
            self._found.counts.torn_bytes += item.length
            return
        self._count_damage(segment, item)

    def _count_damage(self, segment: Segment, item: Damage) -> None:
        segment.damaged = True
        self._found.counts.damaged += 1
        self._found.counts.damaged_bytes += item.length

    # ---- groups

    def _commit(self, commit: Header) -> None:
        """A COMMIT was read: when its group is whole, everything before it was confirmed."""
        members = [w for w in self._waiting if w.header.number >= commit.sequence]
        first = members[0].header
        if first.kind == Kind.MANIFEST and first.sequence < first.number:
            # The header of this segment says so too, unless it is damaged.
            self._void.setdefault(self._epoch, []).append((first.sequence, first.number))
            self._waiting = [w for w in self._waiting if not first.sequence <= w.header.number < first.number]
        whole = len(members) == commit.number - commit.sequence + 1 and all(w.payload is not None for w in members)
        if whole:
            self._confirm_all(commit.sequence)
            for waiting in members:
                self._confirm(waiting)

    def _confirm_all(self, before: int | None = None) -> None:
        """Confirm what waits, up to the record number ``before`` (exclusive), and account for what is missing there."""
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            if before is None or item.header.number < before:
                self._confirm(item)
        if before is not None:
            self._missing_until(before)

    def _missing_until(self, number: int) -> None:
        """Records between the last one accounted for and ``number`` (exclusive) are lost, save for void ones."""
        if self._confirmed is None:
            self._confirmed = number - 1
        first = self._confirmed + 1
        for start, stop in sorted(self._void.get(self._epoch, ())):
            self._lose(first, min(start, number) - 1)
            first = max(first, min(stop, number))
        self._lose(first, number - 1)
        self._confirmed = max(self._confirmed, number - 1)

    def _lose(self, first: int, last: int) -> None:
        if first <= last:
            self._suspect = True
            self._found.segments[-1].damaged = True  # rewritten, so that the loss is found once
            self._found.counts.lost += last - first + 1
            self._unknown.append(Gap(self._epoch, Kind.UNKNOWN, first, last, last - first + 1, 0, "damaged"))

    def _confirm(self, waiting: _Waiting) -> None:
        header, segment, found = waiting.header, waiting.segment, self._found
        if not segment.thinned and self._confirmed != header.number - 1:
            self._missing_until(header.number)
        self._confirmed = header.number
        found.run_ns = max(found.run_ns, header.run_ns)
        segment.end = max(segment.end, waiting.end)
        if header.kind == Kind.FRAME:
            if header.sequence <= self._frame:
                found.counts.duplicates += 1
                return
            if self._suspect and header.sequence > self._frame + 1:
                self._hole(header.sequence)
            self._frame, self._suspect = max(self._frame, header.sequence), False
        if waiting.payload is None:
            found.counts.lost += 1
            self._identified.append((self._epoch, header))
            return
        found.counts.records += 1
        found.kinds[header.kind] = found.kinds.get(header.kind, 0) + 1
        segment.enter(header)
        if header.kind in CHAINED:
            found.chain.offer(header, segment.number)
        if header.kind in OWN:
            try:
                self._mark(header.kind, waiting.payload)
            except JournalError:
                found.counts.lost += 1

    def _mark(self, kind: Kind, payload: bytes) -> None:
        """Take a record of the journal itself. JournalError when it is none, whatever its checksum says."""
        found = self._found
        if kind == Kind.MANIFEST:
            manifest = unpack_manifest(payload)
            found.acks = dict(manifest.acks)
            found.gaps = GapLedger()
            found.gaps.add(manifest.pending)
            for key, gaps in manifest.carried.items():
                found.gaps.carry(key, gaps)
            self._listed = {s.number: s for s in manifest.segments}
            self._known = GapLedger()
            self._known.add(found.gaps)
        elif kind == Kind.ACK:
            epoch, through = unpack_ack(payload)
            found.acks[epoch] = max(through, found.acks.get(epoch, -1))
            found.gaps.settle(
                lambda key: key[1] <= found.acks.get(key[0], -1), lambda gap: over(gap, found.acks, found.epochs)
            )
        elif kind == Kind.GAP:
            told = unpack_gaps(payload)
            found.gaps.give_back(g for g in told if g.kind == Kind.FRAME)
            found.gaps.add(told)
            self._known.add(told)
        elif kind == Kind.CARRIED:
            found.gaps.carry(*unpack_carried(payload))

    # ---- the end

    def _hole(self, next_frame: int) -> None:
        self._holes.append((self._epoch, self._frame + 1, next_frame - 1))
        self._frame = next_frame - 1

    def _end_of_epoch(self) -> None:
        if self._epoch < 0:
            return
        self._found.counts.dropped += len(self._waiting)
        self._waiting = []
        self._found.epochs[self._epoch] = self._frame + 1

    def finish(self) -> None:
        """All segments are read: say what is lost, now that every acknowledgement and gap is known."""
        self._end_of_epoch()
        found = self._found
        self._tell(gap for hole in self._holes for gap in self._frames_lost(*hole, "damaged"))
        self._tell(gap for epoch, header in self._identified for gap in self._record_lost(epoch, header))
        present = {s.number: s for s in found.segments}
        for listed in self._listed.values():
            if listed.first_frame <= listed.last_frame:
                self._tell(list(self._end_missing(listed, present.get(listed.number))))
        self._tell(self._unknown)
        found.redundant += [s.name for s in found.segments if not s.tallies]
        found.segments = [s for s in found.segments if s.tallies]

    def _tell(self, gaps: Iterable[Gap]) -> None:
        told = list(gaps)
        self._found.new_gaps += told
        self._known.add(told)
        self._found.gaps.give_back(g for g in told if g.kind == Kind.FRAME)
        self._found.gaps.add(told)

    def _end_missing(self, listed: Listed, segment: Segment | None) -> Iterator[Gap]:
        """Frames that a later manifest saw in a segment and that are beyond what is left of it."""
        first = listed.first_frame
        if segment is not None and segment.first_frame <= segment.last_frame:
            first = segment.last_frame + 1
        ranges = list(self._uncovered(listed.epoch, first, listed.last_frame))
        if not ranges:
            return
        if segment is None:
            self._found.counts.segments_missing += 1
        thin = listed.frames <= listed.last_frame - listed.first_frame
        for start, stop in ranges:
            count = min(listed.frames, stop - start + 1) if thin else stop - start + 1
            self._found.counts.lost += count
            reason = "segment_missing" if segment is None else "damaged"
            yield Gap(listed.epoch, Kind.FRAME, start, stop, count, 0, reason)

    def _record_lost(self, epoch: int, header: Header) -> Iterator[Gap]:
        if header.kind == Kind.FRAME:
            yield from self._frames_lost(epoch, header.sequence, header.sequence, "damaged", header.values)
        elif header.kind not in OWN:
            yield Gap(epoch, header.kind, header.number, header.number, 1, 0, "damaged")

    def _frames_lost(self, epoch: int, first: int, last: int, reason: str, values: int = 0) -> Iterator[Gap]:
        for start, stop in self._uncovered(epoch, first, last):
            yield Gap(epoch, Kind.FRAME, start, stop, stop - start + 1, values, reason)

    def _uncovered(self, epoch: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What of a range is neither acknowledged nor in a gap."""
        first = max(first, self._found.acks.get(epoch, -1) + 1)
        if first <= last:
            yield from self._known.without(epoch, first, last)
