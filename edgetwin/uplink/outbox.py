"""Frames that wait for the cloud's acknowledgement, in memory, bounded in bytes.

The outbox numbers frames: (epoch, sequence) of a frame is unique, so the cloud can apply each exactly once. The
epoch is random and kept over a clean stop, where the sequence goes on. After any other stop nobody knows how far the
sequence had come, so a new epoch begins, and its first frame says with a gap record that the old one has ended.

When full, the oldest frame makes room, and with it those that continue it, as nobody could decode them. What they held
goes into the next frame as gap records; if that frame is dropped too, its gap records live on. So every number is
delivered or accounted for.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile, zip_longest

import structlog

from edgetwin.clock import Clock
from edgetwin.codec.encoder import Encoder
from edgetwin.codec.frames import FrameGap, FrameTooLargeError, PlainEncoder
from edgetwin.codec.limits import GAPS_MAX, U64_MAX
from edgetwin.ratelimit import RateLimiter
from edgetwin.records import Event, Report, SignalSummary
from edgetwin.uplink import saved
from edgetwin.uplink.gaps import coalesce
from edgetwin.uplink.queued import Key, Queued, halve, split

log = structlog.get_logger()

CONTINUES_LOST = "continues_a_lost_frame"


@dataclass(slots=True)
class Counters:
    """Frames since the start, by what became of them: enqueued + restored = acknowledged + dropped + waiting."""

    enqueued: int = 0
    acknowledged: int = 0
    dropped: int = 0


class Outbox:
    """At most ``bytes_max`` bytes of frames of ``gateway``. An :class:`edgetwin.uplink.port.Outbox`; one consumer; for
    the event loop's thread."""

    def __init__(
        self,
        gateway: str,
        bytes_max: int,
        *,
        epoch: int | None = None,
        clock: Clock | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        """``encoder`` makes the frames of ``gateway`` (of codec ``plain-1``, if none is given); it may be replaced."""
        self.gateway = gateway
        self.encoder: Encoder = encoder or PlainEncoder(gateway)
        self.epoch = secrets.randbits(64) if epoch is None else epoch
        self.bytes = 0
        self.counters = Counters()
        self.changed = asyncio.Event()
        self.drained = asyncio.Event()
        self.drained.set()
        self._bytes_max = bytes_max
        self._next_seq = 0
        self._queued: OrderedDict[int, Queued] = OrderedDict()  # by position
        self._starts: dict[int, tuple[int, int]] = {}  # epoch -> position and sequence number of its first frame here
        self._end = 0
        self._gaps: list[FrameGap] = []
        self._limiter = RateLimiter(clock=clock)

    def __len__(self) -> int:
        return len(self._queued)

    def __iter__(self) -> Iterator[Queued]:
        """The frames in the order in which they were made."""
        return iter(self._queued.values())

    @property
    def backlog_bytes(self) -> int:
        """Bytes of frames that wait."""
        return self.bytes

    @property
    def dropped(self) -> int:
        """Frames given up so far."""
        return self.counters.dropped

    @property
    def front(self) -> int:
        """Position of the oldest frame; :attr:`end` when there is none."""
        return next(iter(self._queued), self._end)

    @property
    def end(self) -> int:
        """Position that the next frame will have."""
        return self._end

    def read(self, position: int) -> Queued | None:
        """The first frame at or after a position."""
        for at in range(max(position, self.front), self._end):
            if (queued := self._queued.get(at)) is not None:
                return queued
        return None

    def locate(self, key: Key) -> int | None:
        """Where frame (epoch, sequence) stands, stood or would stand; None when no frame of its epoch is known."""
        epoch, seq = key
        start = self._starts.get(epoch)
        return None if start is None else start[0] + seq - start[1]

    def key_at(self, position: int) -> Key | None:
        """The reverse of :meth:`locate`."""
        for epoch, (first, seq) in reversed(self._starts.items()):
            if first <= position:
                return epoch, seq + position - first
        return None

    def request_key(self) -> None:
        """The next frame with reports can be decoded without those before it."""
        self.encoder.request_key()

    # ---- in

    def put(
        self, reports: Sequence[Report], events: Sequence[Event] = (), signals: Sequence[SignalSummary] = ()
    ) -> int:
        """Encode and append; returns how many frames it took: large reports are split, and a frame holds one summary at
        most. FrameError when a report is malformed."""
        before = self._next_seq
        groups = split(reports) or ([[]] if events else [])
        for group, summary in zip_longest(groups, signals):
            self._encode(group or [], events, () if summary is None else (summary,))
            events = ()
        return self._next_seq - before

    def _encode(
        self, reports: Sequence[Report], events: Sequence[Event], signals: Sequence[SignalSummary] = ()
    ) -> None:
        gaps = tuple(self._gaps[:GAPS_MAX])
        try:
            data = self.encoder.encode(reports, self.epoch, self._next_seq, events, gaps, signals)
        except FrameTooLargeError:
            halves = halve(reports)
            if len(halves) < 2:
                raise
            self._encode(halves[0], events, signals)
            self._encode(halves[1], ())
            return
        self._gaps = self._gaps[GAPS_MAX:]
        values = sum(len(report) for report in reports)
        self._append((self.epoch, self._next_seq), data, values, gaps, self.encoder.run)
        self._next_seq += 1
        self.counters.enqueued += 1
        self.changed.set()

    def _append(self, key: Key, data: bytes, values: int, gaps: tuple[FrameGap, ...], run: int | None) -> None:
        epoch, seq = key
        first, first_seq = self._starts.setdefault(epoch, (self._end, seq))
        queued = Queued(key, data, values, gaps, run, position=first + seq - first_seq)
        self._queued[queued.position] = queued
        self._end = queued.position + 1
        self.bytes += queued.size
        self.drained.clear()
        while self.bytes > self._bytes_max:
            self.drop(self._queued[self.front].key, "outbox_full")

    # ---- out

    def acknowledge(self, through: Key) -> int:
        """The cloud has every frame of the epoch up to and including this sequence number; returns how many that
        freed."""
        last = self.locate(through)
        if last is None:
            return 0
        found = list(takewhile(lambda q: q.position <= last, self))
        mine = [queued.position for queued in found if queued.key[0] == through[0]]
        for position in mine:
            self._remove(position)
        self.counters.acknowledged += len(mine)
        return len(mine)

    def drop(self, key: Key, reason: str) -> None:
        """Give a frame up, and those after it that continue it; the next one tells the cloud."""
        position = self.locate(key)
        queued = None if position is None else self._queued.get(position)
        if queued is None:
            return
        self._drop(queued, reason)
        epoch, run = key[0], queued.run
        if run is None:
            return
        self.encoder.request_key()
        for other in [q for q in self if q.run == run and q.key[0] == epoch and q.key > key]:
            self._drop(other, CONTINUES_LOST)

    def _drop(self, queued: Queued, reason: str) -> None:
        self._remove(queued.position)
        epoch, seq = queued.key
        self.counters.dropped += 1
        self._gaps = coalesce([*self._gaps, *queued.gaps, FrameGap(epoch, seq, seq, reason, queued.values)])
        if (suppressed := self._limiter.allow(reason)) is not None:
            log.warning("frame_dropped", seq=seq, reason=reason, values=queued.values, suppressed=suppressed)

    def _remove(self, position: int) -> Queued | None:
        queued = self._queued.pop(position, None)
        if queued is not None:
            self.bytes -= queued.size
            if not self._queued:
                self.drained.set()
        return queued

    # ---- over a stop

    def snapshot(self, *, clean: bool) -> bytes:
        """Everything not yet acknowledged. ``clean`` says that no frame is made after it; only then may the sequence
        go on, so a restored outbox must be saved again, unclean, before its first new frame is sent."""
        return saved.pack(saved.Saved(self.epoch, self._next_seq, clean, tuple(self), tuple(self._gaps)))

    def restore(self, blob: bytes) -> int:
        """Take up a snapshot, to be called before the first :meth:`put`; returns the frames restored.

        JournalError, with nothing changed, when it cannot be read.
        """
        state = saved.unpack(blob)
        assert not self._queued and self._next_seq == 0, "restore comes first"
        self._gaps = list(state.gaps)
        if state.clean:
            self.epoch, self._next_seq = state.epoch, state.next_seq
        else:
            self._gaps = coalesce([*self._gaps, FrameGap(state.epoch, state.next_seq, U64_MAX, "unclean_stop")])
        for queued in state.queued:
            self._append(queued.key, queued.data, queued.values, queued.gaps, queued.run)
        if self._queued:
            self.changed.set()
        return len(self._queued)
