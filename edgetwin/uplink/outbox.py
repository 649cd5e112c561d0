"""Frames that wait for the cloud's acknowledgement, in memory, bounded in bytes.

(epoch, sequence) of a frame is unique, so the cloud can apply each exactly once: the epoch is random. Nothing outlives
the process; :mod:`edgetwin.uplink.journaled` is the outbox of a gateway with a ``state_dir``.

When full, the oldest frame makes room, and with it those that continue it, as nobody could decode them. What they held
goes into the next frame as gap records; if that frame is dropped too, its gap records live on. So every number is
delivered or accounted for.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from edgetwin.clock import Clock
from edgetwin.codec.encoder import Encoder
from edgetwin.codec.frames import FrameGap, PlainEncoder
from edgetwin.records import Event
from edgetwin.uplink.gaps import coalesce
from edgetwin.uplink.queued import Key, Queued
from edgetwin.uplink.store import CONTINUES_LOST, FrameStore


class Outbox(FrameStore):
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
        super().__init__(
            gateway, encoder or PlainEncoder(gateway), secrets.randbits(64) if epoch is None else epoch, clock
        )
        self.bytes = 0
        self._bytes_max = bytes_max
        self._next_seq = 0
        self._queued: OrderedDict[int, Queued] = OrderedDict()  # by position
        self._gaps: list[FrameGap] = []

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
    def front(self) -> int:
        """Position of the oldest frame; :attr:`end` when there is none."""
        return next(iter(self._queued), self.end)

    def read(self, position: int) -> Queued | None:
        """The first frame at or after a position."""
        for at in range(max(position, self.front), self.end):
            if (queued := self._queued.get(at)) is not None:
                return queued
        return None

    # ---- in

    def _untold(self) -> list[FrameGap]:
        return self._gaps

    def _told(self) -> Iterator[FrameGap]:
        return (gap for queued in self for gap in queued.gaps)

    def _next_number(self) -> int:
        return self._next_seq

    def _enter(self, queued: Queued, events: Sequence[Event]) -> None:  # noqa: ARG002
        self._gaps = self._gaps[len(queued.gaps) :]
        self._next_seq += 1
        self._append(queued)
        self.changed.set()

    def _append(self, queued: Queued) -> None:
        position = self.positions.place(queued.key)
        self._queued[position] = replace(queued, position=position)
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
        self.log_dropped(seq, reason, 1, queued.values)

    def _remove(self, position: int) -> Queued | None:
        queued = self._queued.pop(position, None)
        if queued is not None:
            self.bytes -= queued.size
            if not self._queued:
                self.drained.set()
        return queued
