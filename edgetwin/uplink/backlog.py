"""Frames of a journal that wait for the cloud: read by position, acknowledged, given up.

What the journal gives up, for room, for its age or as damaged, is noticed at the next call, and with it go the frames
that continue it. Memory holds ranges of the positions that wait, never the frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from edgetwin.journal import Journal
from edgetwin.journal.gaps import runs
from edgetwin.uplink.cursors import Cursors
from edgetwin.uplink.queued import Key, Queued, chain
from edgetwin.uplink.store import CONTINUES_LOST, FrameStore
from edgetwin.uplink.waiting import Waiting


class Backlog:
    """Counts what was there at the start, is acknowledged and is dropped in ``store.counters``. Asks the encoder of
    ``store`` for a key frame when the run of the newest frame may be broken."""

    def __init__(self, journal: Journal, store: FrameStore) -> None:
        """Takes up what the journal holds of earlier epochs. JournalError when that cannot be read."""
        self.waiting = Waiting()
        self._journal = journal
        self._store = store
        self._positions = store.positions
        self._open: dict[int, int] = {}  # earlier epochs with frames that wait, and their last frame
        self._losses = journal.losses
        self._cursors = Cursors(journal, store.positions)
        self._restore()

    def _restore(self) -> None:
        epochs = self._journal.epochs()
        holes = []
        for epoch, first, last in self._journal.waiting():
            if epoch not in self._open:
                self._open[epoch] = epochs[epoch]
                self._positions.begin(epoch)
                self._positions.place((epoch, epochs[epoch]))
            start, _ = self._positions.span(epoch)
            self.waiting.add(start + first, start + last + 1)
            if first - 1 > self._journal.acknowledged(epoch):
                holes.append((epoch, first - 1))
        self._positions.begin(self._journal.epoch)
        self.waiting.bytes = float(self._journal.stats().frames_waiting_bytes)
        self._store.counters.restored = len(self.waiting)
        for epoch, last in epochs.items():
            if epoch not in self._open:
                self._journal.acknowledge(epoch, last)
        self._mend(holes)
        self.notice()

    # ---- in

    def append(self, frames: Sequence[Queued]) -> None:
        """Frames of the journal's epoch that have become durable; they have no positions yet."""
        first = self._positions.end
        for queued in frames:
            position = self._positions.place(queued.key)
            self.waiting.add(position, position + 1)
            self.waiting.bytes += len(queued.data)
            self._cursors.keep(replace(queued, position=position))
        self._take_out(self._journal.epoch, first, self._positions.end)  # the journal may have joined gaps over them
        self._drop_unanchored(frames)
        self.notice()

    def _drop_unanchored(self, frames: Iterable[Queued]) -> None:
        """Give up new frames that continue one that was lost before they became durable."""
        lost: dict[int, int] = {}
        for queued in frames:
            epoch, seq = queued.key
            continued = None if queued.key_frame else chain(queued.data)
            if continued is not None and (continued[1] in lost or not self._there(epoch, continued[1])):
                lost[seq] = queued.values
                self._store.encoder.request_key()
        self.give_up(self._journal.epoch, lost.items(), CONTINUES_LOST)

    # ---- out

    def read(self, position: int) -> Queued | None:
        """The first frame at or after a position."""
        self.notice()
        while (at := self.waiting.first(position)) is not None:
            queued = self._cursors.read(at)
            self.notice()  # damage may have been found
            if queued is None or queued.position in self.waiting:
                return queued
            position = at + 1
        return None

    def acknowledge(self, through: Key) -> int:
        """The cloud has the frames of an epoch up to this one; returns how many that freed. Durable with the next
        commit."""
        self.notice()
        epoch = through[0]
        last = self._positions.locate(through)
        if last is None:
            return 0
        first, stop = self._positions.span(epoch)
        stop = min(last + 1, stop)
        freed = self.waiting.remove(first, stop)
        self._store.counters.acknowledged += freed
        self._journal.acknowledge(epoch, stop - 1 - first)
        self._cursors.forget(self._store.front)
        self._close(epoch)
        return freed

    def drop(self, key: Key, reason: str) -> None:
        """Give a frame up, and those after it that continue it."""
        position = self._positions.locate(key)
        queued = None if position is None else self.read(position)
        if queued is not None and queued.key == key:
            self.give_up(key[0], [(key[1], queued.values)], reason)
            self.notice()

    # ---- what is lost

    def notice(self) -> None:
        """Take out what the journal has given up, and what continues that."""
        while self._losses != self._journal.losses:
            self._losses = self._journal.losses
            holes: list[Key] = []
            for epoch in (*self._open, self._journal.epoch):
                first, stop = self._positions.span(epoch)
                if (low := self.waiting.first(first, stop)) is not None:
                    holes += self._take_out(epoch, low, stop)
                self._close(epoch)
            self._mend(holes)

    def _take_out(self, epoch: int, first: int, stop: int) -> list[Key]:
        """Of the frames at these positions of an epoch, those that gaps tell of; the last one of each hole."""
        zero, _ = self._positions.span(epoch)
        holes = []
        for low, high in (*self._journal.present(epoch, first - zero, stop - 1 - zero), (stop - zero, -1)):
            if dropped := self.waiting.remove(first, zero + low):
                self._store.counters.dropped += dropped
                holes.append((epoch, low - 1))
            first = zero + high + 1
        return holes

    def _mend(self, holes: Iterable[Key]) -> None:
        """Give up the frames after these that continue what is gone: nobody could decode them."""
        done: Key = (-1, -1)
        for hole in holes:
            if hole[0] != done[0] or hole[1] >= done[1]:
                done = self._sweep(hole)

    def _sweep(self, hole: Key) -> Key:
        """As :meth:`_mend`; returns the frame from which on nothing continues what is gone."""
        epoch, through = hole
        lost: dict[int, int] = {}
        for stored in self._journal.frames(after=hole):
            if stored.epoch != epoch:
                break
            if not self._waits(stored.key):
                continue
            through = stored.sequence
            if (continued := chain(stored.payload)) is None:
                continue
            key, previous = continued
            if key == through or (previous not in lost and self._there(epoch, previous)):
                break
            lost[through] = stored.values
        else:
            if epoch == self._journal.epoch:
                self._store.encoder.request_key()
        self.give_up(epoch, lost.items(), CONTINUES_LOST)
        return epoch, through

    def _there(self, epoch: int, seq: int) -> bool:
        """Whether the cloud has a frame, or will get it."""
        return seq <= self._journal.acknowledged(epoch) or self._waits((epoch, seq))

    def _waits(self, key: Key) -> bool:
        position = self._positions.locate(key)
        return position is not None and position in self.waiting

    def give_up(self, epoch: int, frames: Iterable[tuple[int, int]], reason: str) -> None:
        """(sequence, values) of frames, ascending, that will never reach the cloud."""
        for gap in runs(epoch, frames, reason):
            self._journal.drop(epoch, gap.first, gap.last, reason, gap.values)
            self._store.log_dropped(gap.first, reason, gap.records, gap.values)

    def _close(self, epoch: int) -> None:
        """Tell the journal of an earlier epoch of which nothing waits any more, that its files may go."""
        if epoch in self._open and self.waiting.first(*self._positions.span(epoch)) is None:
            self._journal.acknowledge(epoch, self._open.pop(epoch))
