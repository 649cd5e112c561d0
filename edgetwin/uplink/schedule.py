"""Which frame goes next: live ones first, the backlog beside them, each once unless it must be sent again.

Free of I/O; one for all connections of an uplink. Usually frames go in the order in which they were made. When the
link was down or is too slow, so that many wait, the schedule *splits*: it asks for a key frame, and from that frame on
new ones go first (the live lane) while those before it follow in their own order with what the link has to spare (the
backlog lane). The receiver decodes each run from its key frame on. When the backlog has gone, the lanes are one again.
When the live lane falls behind too, it is split anew, so what is newest never waits for what is older.

What the far end of the hop has taken is remembered until the cloud acknowledges it, over lost connections too: only
what was on its way is repeated then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgetwin.clock import NS, Clock
from edgetwin.ranges import Ranges
from edgetwin.uplink.budget import Budget
from edgetwin.uplink.port import Outbox
from edgetwin.uplink.queued import Queued
from edgetwin.uplink.requests import Requests

LAG_FRAMES = 64
"""More unsent frames than this split the schedule."""

LAG_BYTES = 1_048_576
LAG_S = 10.0
"""So do more bytes than these, or than the bandwidth carries in this time."""

AHEAD_FRAMES_MAX = 512
"""Frames of the backlog that may be with the broker before the receiver has acknowledged one of them: brokers keep a
bounded queue for a receiver that is away (mosquitto: 1,000 messages)."""

ACK_WAIT_MAX_S = 3600.0


class Lane(Enum):
    """``BACKLOG`` is the only lane, in order, while the schedule is not split."""

    LIVE = "live"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class Window:
    """How much may be on its way at once, in each lane. One frame always may."""

    frames: int
    bytes: int


class Schedule:
    """Positions of the outbox that were sent, and those to send. ``ack_wait_s``: how long the receiver may take; None
    when nobody but the broker acknowledges. ``quiet_s`` as for
    :class:`Requests`."""

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        *,
        bandwidth: float | None = None,
        ack_wait_s: float | None = 180.0,
        quiet_s: float = 60.0,
    ) -> None:
        self.budget = Budget(bandwidth, clock)
        self.unanswered = False
        self._outbox = outbox
        self._clock = clock
        self._ack_wait_s = ack_wait_s
        self._patience_s = ack_wait_s or 0.0
        self._busy = Ranges()
        self._ever = Ranges()
        self._ever.add(outbox.front, outbox.end)  # whatever an earlier run sent of these
        self._flight: dict[int, tuple[int, Lane]] = {}  # position -> bytes and lane
        self._frames = dict.fromkeys(Lane, 0)
        self._bytes = dict.fromkeys(Lane, 0)
        self._next = outbox.front
        self._live: int | None = None
        self._mark: int | None = None
        self._waiting_since_ns: int | None = None
        self.requests = Requests(clock, quiet_s)
        self._short_s = dict.fromkeys(Lane, 0.0)

    # ---- what goes out

    @property
    def split(self) -> bool:
        """Whether live frames go before others."""
        return self._live is not None

    @property
    def flight(self) -> int:
        """Frames on their way."""
        return len(self._flight)

    def begin(self) -> None:
        """A new connection: what was on its way on the last one goes again."""
        self.lose()
        self._next = self._outbox.front
        self._live = self._mark = None
        if self._waiting_since_ns is not None:
            self._waiting_since_ns = self._clock.monotonic_ns()  # nobody could answer meanwhile

    def lose(self) -> int:
        """The connection is gone; returns how many frames were on their way."""
        lost = len(self._flight)
        for position in list(self._flight):
            self.failed(position)
        return lost

    def take(self, lane: Lane, window: Window) -> Queued | None:
        """The next frame of a lane, which is on its way from now on; None when there is none, the window is full or the
        bandwidth is used up (:meth:`delay_s` tells how long)."""
        self._short_s[lane] = 0.0
        self._rearrange()
        queued = self._find_live() if lane is Lane.LIVE else self._find_backlog()
        if queued is None or not self._room(queued, lane, window) or not self._afford(queued, lane):
            return None
        position = queued.position
        self._busy.add(position, position + 1)
        self._ever.add(position, position + 1)
        self._flight[position] = (len(queued.data), lane)
        self._frames[lane] += 1
        self._bytes[lane] += len(queued.data)
        self.budget.spend(len(queued.data))
        if lane is Lane.LIVE:
            self._live = position + 1
        else:
            self._next = position + 1
        return queued

    def delay_s(self) -> float | None:
        """Seconds after which to look again though nothing has happened; None: no need."""
        delays = [short_s for short_s in self._short_s.values() if short_s > 0.0]
        now = self._clock.monotonic_ns()
        if (asked_s := self.requests.delay_s()) is not None:
            delays.append(asked_s)
        if self._waiting_since_ns is not None and self._ack_wait_s is not None:
            delays.append(self._waiting_since_ns / NS + self._patience_s - now / NS)
        return max(min(delays), 0.001) if delays else None

    # ---- what came of it

    def delivered(self, position: int) -> bool:
        """The far end of the hop has taken a frame. False when it was not on its way."""
        if not self._arrive(position):
            return False
        if self._waiting_since_ns is None:
            self._waiting_since_ns = self._clock.monotonic_ns()
        return True

    def failed(self, position: int) -> None:
        """A frame on its way did not arrive: it goes again."""
        if self._arrive(position):
            self.again(position)

    def again(self, position: int) -> None:
        """A frame that was not on its way shall go again."""
        self._busy.discard(position, position + 1)
        self._next = min(self._next, position)

    def park(self, position: int) -> None:
        """A frame on its way is held back until :meth:`again`, or until it is dropped."""
        self._arrive(position)

    def landed(self) -> int:
        """Everything before this position is at the far end of the hop."""
        first_on_its_way = min(self._flight, default=self._outbox.end)
        front = self._outbox.front
        return min(self._busy.skip(front), max(first_on_its_way, front))

    def unsent(self) -> int:
        """The first position never sent: no acknowledgement may reach it."""
        position = self._ever.skip(self._outbox.front)
        while (queued := self._outbox.read(position)) is not None:
            if queued.position == position:
                return position
            self._ever.add(position, queued.position)  # given up: nothing stands there
            position = self._ever.skip(position)
        return self._outbox.end

    # ---- what the cloud says

    def acknowledged(self) -> None:
        """The outbox has become shorter from its front, or from the front of an epoch."""
        front = self._outbox.front
        self._busy.discard(-(1 << 200), front)
        self._ever.discard(-(1 << 200), front)
        self._next = max(self._next, front)
        self._patience_s = self._ack_wait_s or 0.0
        self.unanswered = False
        waiting = self._busy.count() > len(self._flight)
        self._waiting_since_ns = self._clock.monotonic_ns() if waiting else None

    def tick(self) -> bool:
        """Look at the time. True when the receiver has kept silent for too long: what it has not acknowledged will be
        sent again, one frame at first."""
        now = self._clock.monotonic_ns()
        for first, stop in self.requests.due(self._busy, self._outbox.front):
            self._send_again(first, stop)
        if self._waiting_since_ns is not None and self._busy.count() <= len(self._flight):
            self._waiting_since_ns = None  # an acknowledgement can overtake the broker's
        overdue = (
            self._ack_wait_s is not None
            and self._waiting_since_ns is not None
            and now - self._waiting_since_ns >= self._patience_s * NS
        )
        if overdue:
            self._rewind(now)
        return overdue

    def _rewind(self, now: int) -> None:
        self._busy.clear()
        for position in self._flight:
            self._busy.add(position, position + 1)
        self._next = self._outbox.front
        self._live = self._mark = None
        self.unanswered = True
        self._patience_s = min(2.0 * self._patience_s, max(ACK_WAIT_MAX_S, self._ack_wait_s or 0.0))
        self._waiting_since_ns = now

    def _send_again(self, first: int, stop: int) -> None:
        on_their_way = [p for p in self._flight if first <= p < stop]
        self._busy.discard(first, stop)
        for position in on_their_way:
            self._busy.add(position, position + 1)
        self._next = min(self._next, first)

    # ---- lanes

    def _rearrange(self) -> None:
        """Split when too much waits."""
        outbox = self._outbox
        self._next = max(self._next, outbox.front)
        if self._live is None:
            lags = self._lags(len(outbox) - self._busy.count())
        else:
            lags = self._mark is not None and self._lags(outbox.end - self._live)
        if lags:
            self._live, self._mark = outbox.end, None
            outbox.request_key()

    def _lags(self, unsent: int) -> bool:
        if self.unanswered or unsent <= 1:
            return False
        rate = self.budget.bytes_per_s
        size = unsent * self._outbox.backlog_bytes / max(len(self._outbox), 1)
        return unsent > LAG_FRAMES or size > LAG_BYTES or (rate is not None and size > LAG_S * rate)

    def _find_live(self) -> Queued | None:
        if self._live is None or self.unanswered:
            return None
        queued = self._find(self._live, None)
        while queued is not None and self._mark is None:
            if queued.key_frame:
                self._mark = queued.position
            else:
                self._live = queued.position + 1
                queued = self._find(self._live, None)
        return queued

    def _find_backlog(self) -> Queued | None:
        if self._ack_wait_s is not None and self._busy.count(self._mark) >= self._ahead_max():
            return None
        queued = self._find(self._next, self._mark)
        if queued is None:
            self._live = self._mark = None  # the lanes are one again
        return queued

    def _ahead_max(self) -> int:
        return 1 if self.unanswered else AHEAD_FRAMES_MAX

    def _find(self, position: int, stop: int | None) -> Queued | None:
        """The first frame from ``position`` on, before ``stop``, that is neither on its way nor delivered."""
        while True:
            position = self._busy.skip(position)
            queued = self._outbox.read(position) if stop is None or position < stop else None
            if queued is None or (stop is not None and queued.position >= stop):
                return None
            assert queued.position >= position, "a store gives no frame before the position asked for"
            if queued.position not in self._busy:
                return queued
            position = queued.position

    def _room(self, queued: Queued, lane: Lane, window: Window) -> bool:
        frames, size = self._frames[lane], self._bytes[lane] + len(queued.data)
        return frames == 0 or (frames < window.frames and size <= window.bytes)

    def _arrive(self, position: int) -> bool:
        """A frame is no more on its way; whether it was."""
        size, lane = self._flight.pop(position, (0, None))
        if lane is None:
            return False
        self._frames[lane] -= 1
        self._bytes[lane] -= size
        return True

    def _afford(self, queued: Queued, lane: Lane) -> bool:
        self._short_s[lane] = self.budget.wait_s(1 if lane is Lane.LIVE else len(queued.data))
        return self._short_s[lane] == 0.0
