"""What every transport shares: the loop of connections, draining, what is known of faults, and figures.

A transport derives from :class:`Courier` and gives :meth:`Courier._serve`, one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from pathlib import Path

import structlog

from edgetwin.clock import NS, Clock, SystemClock
from edgetwin.codec.acks import decode_ack
from edgetwin.codec.header import newest_time
from edgetwin.errors import FrameError
from edgetwin.instruments import Histogram
from edgetwin.ratelimit import RateLimiter
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.answers import Answers, Ignored, Verdict
from edgetwin.uplink.deadletters import DeadLetters
from edgetwin.uplink.faults import FAULTS, Reason, UplinkFaultError, fault_of
from edgetwin.uplink.port import Outbox
from edgetwin.uplink.queued import Queued
from edgetwin.uplink.schedule import Lane, Schedule, Window

log = structlog.get_logger()

ACK_BOUNDS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
RETRY_AFTER_MAX_S = 600.0
RETRY_MAX_S = 60.0

_ORDINARY = (None, Ignored.OTHER_EPOCH)
"""A retained answer about an epoch that is over is nothing to warn of."""


class Courier(ABC):
    """An :class:`edgetwin.uplink.port.Uplink` without its connection."""

    def __init__(
        self,
        outbox: Outbox,
        place: str,
        *,
        bandwidth: float | None,
        ack_wait_s: float | None,
        quiet_s: float,
        backoff: Backoff | None,
        clock: Clock | None,
        dead_letters: Path | None,
    ) -> None:
        """``place`` is what the log calls the far end; ``ack_wait_s`` and ``quiet_s`` as for :class:`Schedule`."""
        self.up = False
        self.last_error = "not connected yet"
        self.reason: Reason | None = None
        self.ack_latency = Histogram(ACK_BOUNDS_S)
        self._outbox = outbox
        self._place = place
        self._clock = clock or SystemClock()
        self.schedule = Schedule(outbox, self._clock, bandwidth=bandwidth, ack_wait_s=ack_wait_s, quiet_s=quiet_s)
        self._answers = Answers(outbox, self.schedule, self._clock)
        self._backoff = backoff or Backoff(first_s=0.5, max_s=RETRY_MAX_S)
        self._dead = DeadLetters(dead_letters)
        self._draining = asyncio.Event()
        self._gave_up = asyncio.Event()
        self._limiter = RateLimiter(clock=self._clock)
        self._errors = dict.fromkeys(Reason, 0)
        self._ignored = dict.fromkeys(Ignored, 0)
        self._sent = self._acknowledged = self._failed = self._resent = 0
        self._bytes = 0
        self._highest = self._outbox.front
        self._probe: tuple[int, int] | None = None

    # ---- figures

    @property
    def frames(self) -> dict[str, int]:
        """Frames so far by outcome; ``sent`` counts every attempt, ``resent`` those that were not the first."""
        return {
            "sent": self._sent,
            "resent": self._resent,
            "acknowledged": self._acknowledged,
            "failed": self._failed,
            "dropped": self._outbox.dropped,
            "dead_lettered": self._dead.count,
        }

    @property
    def errors(self) -> dict[str, int]:
        """Faults so far by reason."""
        return {str(reason): count for reason, count in self._errors.items()}

    @property
    def acks_ignored(self) -> dict[str, int]:
        """Answers of the cloud that were not believed, by reason."""
        return {str(reason): count for reason, count in self._ignored.items()}

    @property
    def bytes_total(self) -> int:
        """Bytes of frames handed to the transport so far, repetitions included."""
        return self._bytes

    @property
    def backlog_bytes(self) -> int:
        """Bytes of frames that wait to be acknowledged."""
        return self._outbox.backlog_bytes

    @property
    def backlog_age_s(self) -> float:
        """Seconds since the last report in the oldest frame that waits; 0 when none does or it holds no report."""
        oldest = self._outbox.read(self._outbox.front)
        newest_ns = None
        if oldest is not None:
            with contextlib.suppress(FrameError):
                newest_ns = newest_time(oldest.data)
        return 0.0 if newest_ns is None else max(self._clock.wall_ns() - newest_ns, 0) / NS

    # ---- the loop

    @abstractmethod
    async def _serve(self) -> None:
        """Make one connection and send over it until it fails, with one of FAULTS."""

    async def run(self) -> None:
        """Send until cancelled; faults of the link are retried with jittered backoff."""
        while True:
            last_try = self._draining.is_set()
            wait_s = 0.0
            self.schedule.begin()
            try:
                await self._serve()
            except FAULTS as exc:
                wait_s = self._fell(fault_of(exc, connected=self.up))
            finally:
                self.up = False
                self._failed += self.schedule.lose()
                self._probe = None
            if last_try:
                self._give_up()
            await self._pause(wait_s)

    async def drain(self, deadline_s: float) -> bool:
        """While :meth:`run` runs: wait until everything is acknowledged, ``deadline_s`` at most.

        Without a connection one more attempt is made at once, and waiting ends when it fails.
        """
        self._gave_up.clear()
        self._draining.set()
        ends = [asyncio.ensure_future(event.wait()) for event in (self._outbox.drained, self._gave_up)]
        try:
            await asyncio.wait(ends, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            self._draining.clear()
        return self._outbox.drained.is_set()

    def _give_up(self) -> None:
        """Draining has had its attempt."""
        self._draining.clear()
        self._gave_up.set()

    async def _pause(self, at_least_s: float = 0.0) -> None:
        """Wait before the next attempt; draining cuts it short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(self._backoff.next_s(), at_least_s)):
                await self._draining.wait()

    async def _until_changed(self) -> None:
        """Until something may be done: a frame came, an answer came, or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.schedule.delay_s()):
                await self._outbox.changed.wait()

    # ---- state of the link

    def _connected(self) -> None:
        if not self.up:
            self.up, self.last_error, self.reason = True, "", None
            log.info("uplink_connected", cloud=self._place, waiting=len(self._outbox))

    def _fell(self, fault: UplinkFaultError) -> float:
        """The connection failed; returns the least time to wait."""
        self._impaired(fault)
        return min(fault.retry_after_s or 0.0, RETRY_AFTER_MAX_S)

    def _impaired(self, fault: UplinkFaultError) -> None:
        """Count and tell a fault; frames do not reach the cloud until :meth:`_connected`."""
        self._errors[fault.reason] += 1
        if self.up or fault.message != self.last_error:
            log.warning(
                "uplink_down", cloud=self._place, reason=str(fault.reason), error=fault.message, hint=fault.hint
            )
        self.up, self.last_error, self.reason = False, fault.message, fault.reason

    # ---- frames

    def _take(self, lane: Lane, window: Window) -> Queued | None:
        """The next frame to send, counted as sent."""
        queued = self.schedule.take(lane, window)
        if queued is None:
            return None
        self._sent += 1
        self._resent += queued.position < self._highest
        self._highest = max(self._highest, queued.position + 1)
        self._bytes += len(queued.data)
        if self._probe is None:
            self._probe = (queued.position, self._clock.monotonic_ns())
        return queued

    def _tick(self) -> None:
        """Look at the time."""
        if self.schedule.tick():
            hint = "is a receiver running and does it publish acknowledgements? Else set uplink.acknowledge: broker"
            self._impaired(UplinkFaultError(Reason.UNANSWERED, "frames arrive but nobody acknowledges them", hint=hint))
            if self._draining.is_set():
                self._give_up()

    def _answer(self, payload: bytes) -> Verdict:
        """Take an answer of the cloud. FrameError when it is none."""
        try:
            verdict = self._answers.take(decode_ack(payload))
        except FrameError:
            self._ignored[Ignored.MALFORMED] += 1
            raise
        if verdict.ignored is not None:
            self._ignored[verdict.ignored] += 1
        if verdict.ignored not in _ORDINARY and self._limiter.allow(verdict.ignored) is not None:
            log.warning("uplink_ack_ignored", cloud=self._place, reason=str(verdict.ignored))
        self._progress(verdict.freed)
        return verdict

    def _land(self) -> None:
        """Acknowledge what the far end of the hop has taken, where that is enough."""
        while (stop := self.schedule.landed()) > self._outbox.front:
            through = self._outbox.key_at(stop - 1)
            freed = 0 if through is None else self._outbox.acknowledge(through)
            if not freed:
                return
            self.schedule.acknowledged()
            self._progress(freed)

    def _progress(self, freed: int) -> None:
        """Frames have left the outbox."""
        self._acknowledged += freed
        if not freed:
            return
        self._backoff.reset()
        self._connected()
        if self._probe is not None and self._probe[0] < self._outbox.front:
            self.ack_latency.observe((self._clock.monotonic_ns() - self._probe[1]) / NS)
            self._probe = None

    def _condemn(self, queued: Queued, reason: str, detail: str) -> None:
        """A frame that can never be sent becomes a dead letter, and a gap for the cloud."""
        self.schedule.park(queued.position)
        self._dead.add(queued, self._outbox.gateway, detail)
        self._outbox.drop(queued.key, reason)
        self._outbox.changed.set()
