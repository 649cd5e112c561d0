"""What stores of frames share: making frames, their positions, their account."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import zip_longest

import structlog

from edgetwin.clock import Clock
from edgetwin.codec.encoder import Encoder
from edgetwin.codec.frames import FrameGap, FrameTooLargeError
from edgetwin.codec.limits import GAPS_MAX
from edgetwin.ratelimit import RateLimiter
from edgetwin.records import Event, Report, SignalSummary
from edgetwin.uplink.account import Counters, FrameAccount
from edgetwin.uplink.gaps import coalesce
from edgetwin.uplink.positions import Positions
from edgetwin.uplink.queued import Key, Queued, halve, split

log = structlog.get_logger()

CONTINUES_LOST = "continues_a_lost_frame"


class FrameStore(ABC):
    """Half of an :class:`edgetwin.uplink.port.Outbox`, for the event loop's thread. ``encoder`` may be replaced."""

    def __init__(self, gateway: str, encoder: Encoder, epoch: int, clock: Clock | None) -> None:
        self.gateway = gateway
        self.encoder = encoder
        self.epoch = epoch
        self.counters = Counters()
        self.changed = asyncio.Event()
        self.drained = asyncio.Event()
        self.drained.set()
        self.positions = Positions()
        self._again: list[FrameGap] = []
        self._limiter = RateLimiter(clock=clock)

    @abstractmethod
    def __len__(self) -> int:
        """Frames that wait."""

    @property
    @abstractmethod
    def front(self) -> int:
        """Position of the oldest frame; :attr:`end` when there is none."""

    @property
    def staged(self) -> int:
        """Frames that are made and may not be sent yet."""
        return 0

    @property
    def account(self) -> FrameAccount:
        """What became of every frame."""
        c = self.counters
        return FrameAccount(c.enqueued, c.restored, c.acknowledged, c.dropped, len(self), self.staged)

    @property
    def dropped(self) -> int:
        """Frames given up so far."""
        return self.counters.dropped

    @property
    def end(self) -> int:
        """Position that the next frame will have."""
        return self.positions.end

    def locate(self, key: Key) -> int | None:
        """Where frame (epoch, sequence) stands, stood or would stand; None when no frame of its epoch is known."""
        return self.positions.locate(key)

    def key_at(self, position: int) -> Key | None:
        """The reverse of :meth:`locate`."""
        return self.positions.key_at(position)

    def request_key(self) -> None:
        """The next frame with reports can be decoded without those before it, and the next frame of all tells of every
        gap that frames before it tell of: they may come later, and only so far does the cloud acknowledge."""
        self.encoder.request_key()
        self._again = coalesce(self._told())

    def put(
        self, reports: Sequence[Report], events: Sequence[Event] = (), signals: Sequence[SignalSummary] = ()
    ) -> int:
        """Encode and append; returns how many frames it took: large reports are split, and a frame holds one summary at
        most. FrameError when a report is malformed."""
        before = self.counters.enqueued
        groups = split(reports) or ([[]] if events else [])
        for group, summary in zip_longest(groups, signals):
            self._encode(group or [], events, () if summary is None else (summary,))
            events = ()
        return self.counters.enqueued - before

    def _encode(
        self, reports: Sequence[Report], events: Sequence[Event] = (), signals: Sequence[SignalSummary] = ()
    ) -> None:
        gaps = tuple(self._untold()[:GAPS_MAX])
        again = self._again[: GAPS_MAX - len(gaps)]
        number = self._next_number()
        try:
            data = self.encoder.encode(reports, self.epoch, number, events, (*gaps, *again), signals)
        except FrameTooLargeError:
            halves = halve(reports)
            if len(halves) < 2:
                raise
            self._encode(halves[0], events, signals)
            self._encode(halves[1])
            return
        self._again = self._again[len(again) :]
        values = sum(len(report) for report in reports)
        self.counters.enqueued += 1
        self._enter(Queued((self.epoch, number), data, values, gaps, self.encoder.run), events)

    @abstractmethod
    def _untold(self) -> list[FrameGap]:
        """Gap records that are in no frame yet."""

    @abstractmethod
    def _told(self) -> Iterable[FrameGap]:
        """Gap records that frames which wait tell of."""

    @abstractmethod
    def _next_number(self) -> int:
        """The sequence number of the next frame; the same again until a frame of that number is entered."""

    @abstractmethod
    def _enter(self, queued: Queued, events: Sequence[Event]) -> None:
        """Take a new frame, which tells of the first of the gap records that were untold; it has no position yet."""

    def log_dropped(self, seq: int, reason: str, frames: int, values: int) -> None:
        """Tell the operator, rarely, of frames from ``seq`` on that will never reach the cloud."""
        if (suppressed := self._limiter.allow(reason)) is not None:
            log.warning("frame_dropped", seq=seq, reason=reason, frames=frames, values=values, suppressed=suppressed)
