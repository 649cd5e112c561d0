"""The journal of one gateway: groups in, durable when :meth:`Journal.commit` returns.

``commit``, ``maintain`` and ``close`` block on the disk and are for one thread at a time, the writer's. The other
methods may be called from any thread beside them.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator

import structlog

from edgetwin.clock import NS, Clock
from edgetwin.errors import JournalError, JournalWriteError
from edgetwin.instruments import Histogram
from edgetwin.journal import reading
from edgetwin.journal.disk import Disk, File
from edgetwin.journal.encoding import Encoder, own
from edgetwin.journal.findings import Findings
from edgetwin.journal.gaps import U64_MAX, FrameKey, Gap, coalesce, pack_gaps
from edgetwin.journal.group import Group, Item
from edgetwin.journal.index import Index
from edgetwin.journal.layout import BLOCK_BYTES, HEADER_BYTES, Class, Kind, SegmentHeader
from edgetwin.journal.limits import Limits
from edgetwin.journal.manifest import pack_ack, pack_carried, pack_manifest
from edgetwin.journal.outcomes import Recovered, Stats, full_error, lock, unwritable, write_error
from edgetwin.journal.recovery import recover
from edgetwin.journal.retention import Plan, Planner, View
from edgetwin.journal.segments import Segment
from edgetwin.journal.store import FULL, Store, records

log = structlog.get_logger()

_GAPS_PER_RECORD = 4_096
_SMALL = 65_536
"""Room beyond what is needed in a segment made from the reserve."""


class Journal:
    """Made by :meth:`open`. ``epoch`` and the numbers of frames are never used again, whatever happens to the files.
    ``sync_seconds``: how long the disk took to sync a commit."""

    def __init__(self, disk: Disk, limits: Limits, clock: Clock, epoch: int, found: Findings) -> None:
        self.epoch = epoch
        self._disk = disk
        self._limits = limits
        self._clock = clock
        self._index = Index(found)
        self._store = Store(disk, limits.reserve_bytes, found.redundant)
        self._writing = threading.Lock()
        self._active: tuple[Segment, File] | None = None
        self._number = 1
        self._void_from: int | None = None
        self._next_segment = found.last_number + 1
        self._next_frame = 0
        self._run_base_ns = found.run_ns - clock.monotonic_ns()
        self._evicted: set[tuple[int, Class]] = set()
        self.sync_seconds = Histogram()
        self._commits = self._records = self._bytes = self._syncs = self._failures = self._frames_evicted = 0
        self._full = False
        self._closed = False

    @classmethod
    def open(cls, disk: Disk, limits: Limits, clock: Clock, *, epoch: int | None = None) -> tuple[Journal, Recovered]:
        """Become the owner of the directory and read what is there. What is found is durable when this returns: the
        newest segment is written anew. The first commit also removes what is redundant.

        JournalLockedError when another process owns it, JournalUnwritableError when it cannot be written,
        JournalError when a newer release wrote it or it cannot be read.
        """
        lock(disk)
        try:
            found = recover(disk)
            while epoch is None or epoch in found.epochs:
                epoch = secrets.randbits(64)
            journal = cls(disk, limits, clock, epoch, found)
            journal._prepare()
        except BaseException:
            disk.close()
            raise
        if (found.counts.lost, found.counts.damaged, found.counts.torn) != (0, 0, 0):
            log.warning("journal_damaged", lost=found.counts.lost, damaged=found.counts.damaged, torn=found.counts.torn)
        previous = list(found.epochs)[-1:]
        journal._index.unwritten(found.new_gaps)
        journal._index.give_up(_ended(e, found.epochs[e]) for e in previous)
        return journal, journal._recovered(found)

    def _prepare(self) -> None:
        newest = self._index.segments[-1:]
        try:
            for segment in newest:
                if not segment.thinned:  # those are whole before they have a name
                    self._store.secure(segment)
            self._store.hold_reserve()
            if not self._store.reserve_bytes:
                self._full = True
        except OSError as exc:
            raise unwritable(self._disk, exc) from exc

    def _recovered(self, found: Findings) -> Recovered:
        waiting = self._index.waiting()
        chain = found.chain
        return Recovered(
            epoch=self.epoch,
            epochs=dict(found.epochs),
            counts=found.counts,
            gaps=tuple(coalesce(found.new_gaps)),
            frames=waiting.records,
            frames_bytes=waiting.bytes,
            has_state=chain.current is not None,
            has_positions=chain.positions is not None,
            state_behind=chain.frozen,
        )

    # ---- in

    def take_frame_number(self) -> int:
        """The number of the next frame of this epoch: frames carry it in their own bytes. One that is taken and never
        committed is to be accounted for with :meth:`drop`."""
        number, self._next_frame = self._next_frame, self._next_frame + 1
        return number

    def commit(self, *groups: Group) -> None:
        """Make groups durable, all of them or none, and the marks that have gathered meanwhile.

        JournalFullError: nothing was written. JournalWriteError: the disk failed, also on a new segment. After either
        the same groups may be committed again; none of them counts until then, even if the disk has them in part.
        """
        with self._writing:
            if self._closed:
                raise JournalError("the journal is closed")
            if self._commit(groups):
                self._collect()

    def maintain(self) -> None:
        """Write the marks that have gathered, evict what is too old, and let go of what is acknowledged; for when
        there is nothing else to commit. Errors as of :meth:`commit`."""
        with self._writing:
            if self._closed:
                raise JournalError("the journal is closed")
            view = self._view()
            plan = self._plan(view, self._active[0].size if self._active is not None else 0)
            self._index.give_up(plan.gaps)
            active = self._active
            self._commit(())
            if self._active is active and active is not None:  # else it was done on the way
                self._carry_out(plan, view, small=False)

    def acknowledge(self, epoch: int, through: int) -> bool:
        """The cloud has every frame of ``epoch`` up to ``through``. Durable with the next commit. False, and counted,
        when it goes back, is beyond what was written, or of no epoch here."""
        return self._index.acknowledge(epoch, through)

    def drop(self, epoch: int, first: int, last: int, reason: str, values: int = 0) -> None:
        """Frames ``first`` to ``last`` will never reach the cloud; durable with the next commit."""
        self._index.give_up([Gap(epoch, Kind.FRAME, first, last, last - first + 1, values, reason)])

    def close(self) -> None:
        """Seal and let go of the directory. What was not committed is not written."""
        with self._writing:
            if not self._closed:
                self._closed = True
                if self._active is not None:
                    self._store.seal(*self._active)
                self._disk.close()

    # ---- out

    def frames(self, after: FrameKey | None = None) -> Iterator[reading.StoredFrame]:
        """Frames neither acknowledged nor in a gap, oldest first, those after the frame ``after``. One segment is in
        memory at a time. Ends with what was durable when it began its last segment."""
        return reading.frames(self._disk, self._index, after)

    def frame(self, epoch: int, sequence: int) -> reading.StoredFrame | None:
        """One frame; None when it is acknowledged, in a gap, or unknown."""
        return reading.frame(self._disk, self._index, epoch, sequence)

    def waiting(self) -> Iterator[tuple[int, int, int]]:
        """The numbers of the frames that :meth:`frames` gives, in the same order, as (epoch, first, last). Only
        segments with holes are read for it; JournalError when one cannot be."""
        return reading.waiting(self._disk, self._index)

    def present(self, epoch: int, first: int, last: int) -> list[tuple[int, int]]:
        """What of the frames ``first`` to ``last`` (inclusive) no gap tells of, as ranges (first, last)."""
        with self._index.lock:
            return self._index.gaps.without(epoch, first, last)

    def epochs(self) -> dict[int, int]:
        """The last durable frame of each epoch that has one."""
        with self._index.lock:
            return dict(self._index.last_frame)

    def acknowledged(self, epoch: int) -> int:
        """The frame of ``epoch`` up to which the cloud has all; -1: none."""
        return self._index.acks.get(epoch, -1)

    def state(self) -> Iterator[tuple[Kind, bytes]]:
        """The base's records and what changed since, in order. JournalError when they have been damaged meanwhile."""
        return reading.state(self._disk, self._index)

    def positions(self) -> bytes | None:
        """The sources' positions that belong to :meth:`state`."""
        return reading.positions(self._disk, self._index)

    def history(self, *kinds: Kind) -> Iterator[reading.StoredRecord]:
        """Records of these kinds (EVENT, AUDIT, INTENT, RESULT) that are kept, oldest first."""
        return reading.history(self._disk, self._index, frozenset(kinds))

    def gaps(self) -> list[Gap]:
        """Gaps that no frame has told the cloud of yet."""
        with self._index.lock:
            return list(self._index.gaps.pending)

    def carried_gaps(self) -> list[Gap]:
        """Gaps that frames tell of which are not acknowledged yet."""
        with self._index.lock:
            carried = self._index.gaps.carried.items()
            return [gap for key, gaps in carried if key[1] > self.acknowledged(key[0]) for gap in gaps]

    @property
    def losses(self) -> int:
        """Grows whenever frames are given up, whoever does: by :meth:`drop`, for room, for their age or as damaged."""
        return self._index.gaps.losses

    @property
    def base_due(self) -> bool:
        """Whether the next group should hold a base: there is none, or the changes have grown larger than it."""
        with self._index.lock:
            return self._index.chain.base_due

    def stats(self) -> Stats:
        """Figures for metrics."""
        waiting = self._index.waiting()
        with self._index.lock:
            segments = list(self._index.segments)
            gaps = len(self._index.gaps)
        return Stats(
            commits=self._commits, records=self._records, bytes_written=self._bytes, syncs=self._syncs,
            write_failures=self._failures, frames_evicted=self._frames_evicted,
            acks_refused=self._index.acks_refused, segments=len(segments),
            bytes=sum(s.size for s in segments) + self._store.reserve_bytes,
            frames_waiting=waiting.records, frames_waiting_bytes=waiting.bytes, gaps=gaps, full=self._full,
        )  # fmt: skip

    # ---- writing

    def _commit(self, groups: tuple[Group, ...]) -> bool:
        """True when acknowledgements became durable that nothing has been removed for yet."""
        self._check_frames(groups)
        acks, gaps = self._index.marks()
        marks = _marks(acks, gaps)
        if not marks and not any(g.items or g.gaps for g in groups):
            return False
        encoder = self._encode([marks] if marks else [], groups)
        active = self._active
        if active is None or active[0].end + encoder.size > active[0].size:
            self._roll(groups, acks, gaps, again=True)
            return False
        try:
            self._append(active, encoder)
        except OSError as exc:
            self._abandon(active, encoder, exc)
            self._roll(groups, acks, gaps)
            return False
        self._told(groups, acks, gaps)
        return bool(acks)

    def _check_frames(self, groups: tuple[Group, ...]) -> None:
        last = self._index.next_frame(self.epoch) - 1
        for item in (item for group in groups for item in group.items if item.kind == Kind.FRAME):
            if not last < item.sequence < self._next_frame:
                raise JournalError(
                    f"frame {item.sequence} was not taken from this journal, or comes after {last} of the same epoch",
                    hint="number frames with take_frame_number and commit them in order",
                )
            last = item.sequence

    def _encode(self, leading: list[list[Item]], groups: tuple[Group, ...]) -> Encoder:
        times = self._clock.wall_ns(), self._run_ns()
        encoder = Encoder(self.epoch, self._number, times, self._index.chain)
        for items in leading:
            encoder.group(items)
        for group in groups:
            encoder.group([*group.items, *self._group_marks(group)])
        encoder.commit()
        return encoder

    def _group_marks(self, group: Group) -> Iterator[Item]:
        for sequence, gaps in group.carried.items():
            yield own(Kind.CARRIED, pack_carried((self.epoch, sequence), gaps))
        if group.gaps:
            yield own(Kind.GAP, pack_gaps(group.gaps))

    def _append(self, active: tuple[Segment, File], encoder: Encoder) -> None:
        segment, file = active
        file.write_at(segment.end, encoder.joined())
        began = self._clock.monotonic_ns()
        file.sync()
        self.sync_seconds.observe((self._clock.monotonic_ns() - began) / NS)
        self._confirmed(segment, encoder, segment.end + encoder.size)

    def _confirmed(self, segment: Segment, encoder: Encoder, end: int) -> None:
        self._index.confirm(segment, encoder.headers, end)
        self._number = encoder.number
        self._commits += 1
        self._syncs += 1
        self._records += len(encoder.headers)
        self._bytes += encoder.size

    def _told(self, groups: tuple[Group, ...], acks: dict[int, int], gaps: list[Gap]) -> None:
        self._index.written(acks, gaps)
        carried = {(self.epoch, s): told for group in groups for s, told in group.carried.items()}
        self._index.tell((gap for group in groups for gap in group.gaps), carried)

    def _abandon(self, active: tuple[Segment, File], encoder: Encoder, exc: OSError) -> None:
        """A write or sync failed. What the disk holds of it nobody knows, so nothing is written there again and the
        records' numbers are void; those confirmed before are moved when there is time."""
        segment, file = active
        self._failures += 1
        self._void(encoder)
        file.close()
        segment.damaged = True
        log.warning("journal_segment_abandoned", segment=segment.name, error=exc.strerror)

    def _void(self, encoder: Encoder) -> None:
        """The numbers of ``encoder`` may be on the disk and do not count: the next segment says so."""
        if self._void_from is None:
            self._void_from = self._number
        self._number = encoder.number
        self._active = None

    # ---- segments

    def _roll(self, groups: tuple[Group, ...], acks: dict[int, int], gaps: list[Gap], *, again: bool = False) -> None:
        """Begin a segment with the groups, after making room for it. ``again``: when that fails, try one more."""
        essential = not any(group.items for group in groups)
        try:
            self._begin(groups, acks, gaps, small=False)
        except OSError as exc:
            if exc.errno not in FULL:
                if again:
                    self._failures += 1
                    log.warning("journal_segment_failed", error=exc.strerror)
                    self._roll(groups, acks, gaps)
                    return
                raise self._write_error(exc) from exc
            if not self._full:
                log.warning("journal_disk_full", directory=self._disk.name)
            self._full = True
            self._roll_when_full(groups, acks, gaps, essential, exc)

    def _roll_when_full(
        self, groups: tuple[Group, ...], acks: dict[int, int], gaps: list[Gap], essential: bool, cause: OSError
    ) -> None:
        """Marks go into the room of the reserve, and let segments be removed; other groups into what that gives."""
        try:
            plan = self._plan(self._view(), 0, seal=True)
            if not essential and not plan.remove and not plan.thin:
                raise full_error(self._disk, "the disk is full") from cause
            self._store.release_reserve()
            self._begin(groups if essential else (), acks, gaps, small=True)
            if not essential:
                self._begin(groups, {}, [], small=False)
        except OSError as exc:
            raise (full_error(self._disk, "the disk is full") if exc.errno in FULL else self._write_error(exc)) from exc

    def _begin(self, groups: tuple[Group, ...], acks: dict[int, int], gaps: list[Gap], *, small: bool) -> None:
        """A new segment with ``groups``, whose manifest says everything that marks say. OSError when the disk fails,
        with the numbers used void unless nothing was written."""
        view = self._view()
        room = max(self._limits.segment_bytes, sum(group.bytes for group in groups))
        plan = self._plan(view, room, seal=True)
        if not plan.suffices and any(group.items for group in groups):
            raise full_error(self._disk, "what may not be evicted fills it")
        void = self._number if self._void_from is None else self._void_from
        manifest = self._index.manifest({segment.number for segment in plan.remove}, view.gaps)
        encoder = self._encode([[own(Kind.MANIFEST, pack_manifest(manifest), void)]], groups)
        room = -(-(HEADER_BYTES + encoder.size) // BLOCK_BYTES) * BLOCK_BYTES
        size = room + _SMALL if small else max(room, self._limits.segment_bytes)
        next_frame = self._index.next_frame(self.epoch)
        header = SegmentHeader(self._next_segment, self.epoch, self._number, void, 0, 0, next_frame)
        self._next_segment += 1
        segment, file = self._store.create(header, size)
        try:
            self._store.fill(segment, file, header, encoder.joined())
        except OSError:
            self._void(encoder)
            raise
        self._install(segment, file, encoder)
        self._index.tell(plan.gaps, {})
        self._told(groups, acks, gaps)
        self._carry_out(plan, view, small=small)

    def _install(self, segment: Segment, file: File, encoder: Encoder) -> None:
        if self._active is not None:
            self._store.seal(*self._active)
        self._active = segment, file
        with self._index.lock:
            self._index.segments.append(segment)
        self._confirmed(segment, encoder, HEADER_BYTES + encoder.size)
        self._syncs += 1  # the directory
        self._bytes += HEADER_BYTES
        self._void_from = None

    # ---- room

    def _view(self) -> View:
        """What is live by all that is known now."""
        history_from_ns = self._run_ns() - round(self._limits.history_age_s * NS)
        with self._index.lock:
            index = self._index
            return View(dict(index.acks), index.gaps.copy(), index.chain.live(), history_from_ns, set(self._evicted))

    def _plan(self, view: View, room: int, *, seal: bool = False) -> Plan:
        """What may go to make ``room``; of the active segment only if that is going to be sealed."""
        active = self._active[0] if self._active is not None else None
        with self._index.lock:
            segments = [s for s in self._index.segments if seal or s is not active]
        number = active.number if active is not None else -1
        planner = Planner(segments, view, self._limits, number, lambda segment: records(self._disk, segment))
        return planner.plan(self._run_ns(), room + self._store.reserve_bytes)

    def _carry_out(self, plan: Plan, view: View, *, small: bool) -> None:
        """What was planned, now that it is durable. What fails here is tried again with the next segment."""
        evicted = sum(gap.records for gap in plan.gaps if gap.kind == Kind.FRAME)
        if evicted:
            self._frames_evicted += evicted
            log.warning("journal_frames_evicted", frames=evicted, segments=len(plan.remove) + len(plan.thin))
        self._evicted |= view.evicted
        try:
            # What was abandoned goes first: the marks that say which of its records are void are in later segments.
            for segment in [s for s in plan.thin if s.damaged]:
                self._thin(segment, view)
            self._store.clean()
            self._remove(plan.remove)
            for segment in [s for s in plan.thin if not s.damaged]:
                self._thin(segment, view)
            if not small:
                self._full = not self._store.hold_reserve()
        except OSError as exc:
            self._failures += 1
            log.warning("journal_cleaning_failed", error=exc.strerror)

    def _remove(self, segments: list[Segment]) -> None:
        for segment in segments:
            self._store.remove(segment)
            self._gone(segment)
            self._index.forget(segment)
        if segments:
            self._disk.sync_directory()

    def _thin(self, segment: Segment, view: View) -> None:
        thinned = self._store.thin(segment, view)
        self._gone(segment)
        if thinned is None:
            self._index.forget(segment)
        else:
            self._syncs += 2
            self._bytes += thinned.size
            self._index.replace(segment, thinned)

    def _gone(self, segment: Segment) -> None:
        self._evicted = {(number, cls) for number, cls in self._evicted if number != segment.number}

    def _collect(self) -> None:
        """Remove segments in which nothing is live, now that the acknowledgements that say so are durable."""
        view = self._view()
        view.acks = self._index.acks_written()
        active = self._active[0] if self._active is not None else None
        with self._index.lock:
            abandoned = self._store.redundant or any(s.damaged for s in self._index.segments)
            dead = [s for s in self._index.segments if s is not active and view.bytes_live(s) == 0 and not abandoned]
        try:
            self._remove(dead)
        except OSError as exc:
            self._failures += 1
            log.warning("journal_cleaning_failed", error=exc.strerror)

    # ---- helpers

    def _run_ns(self) -> int:
        return self._run_base_ns + self._clock.monotonic_ns()

    def _write_error(self, exc: OSError) -> JournalWriteError:
        self._failures += 1
        return write_error(self._disk, exc)


def _marks(acks: dict[int, int], gaps: list[Gap]) -> list[Item]:
    items = [own(Kind.ACK, pack_ack(epoch, through)) for epoch, through in acks.items()]
    for at in range(0, len(gaps), _GAPS_PER_RECORD):
        items.append(own(Kind.GAP, pack_gaps(gaps[at : at + _GAPS_PER_RECORD])))
    return items


def _ended(epoch: int, next_frame: int) -> Gap:
    """No frame of ``epoch`` from ``next_frame`` on exists or ever will."""
    return Gap(epoch, Kind.FRAME, next_frame, U64_MAX, 0, 0, "epoch_ended")
