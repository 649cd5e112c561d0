"""One committer for all transports: takes payloads, commits them together, tells who waits.

The store works in a thread of its own; meanwhile more is taken, for the commit after. When the store fails, it is asked
where it stands with jittered backoff, and nobody is told anything until a commit has succeeded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from edgetwin.clock import NS, Clock
from edgetwin.codec.acks import Ack
from edgetwin.errors import JournalError, StoreError
from edgetwin.instruments import Histogram
from edgetwin.receive.batch import Batch
from edgetwin.receive.receiver import Outcome, Receiver, Taken
from edgetwin.sources.backoff import Backoff

log = structlog.get_logger()

LAST_COMMIT_S = 10.0
"""How long a stop waits for a store that cannot be reached."""

_COMMIT_BOUNDS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

Listener = Callable[[Sequence[Ack]], None]


@dataclass(slots=True)
class Figures:
    """About the store, since the start. ``answer`` is the time from the arrival of a frame to its commit."""

    commits: int = 0
    failures: int = 0
    commit: Histogram = field(default_factory=lambda: Histogram(_COMMIT_BOUNDS_S))
    answer: Histogram = field(default_factory=lambda: Histogram(_COMMIT_BOUNDS_S))


class Pipeline:
    """``run`` it in a task; everything else is for the same event loop.

    Tickets number what has been taken; all up to ``durable`` are safe. ``store_error`` says why the store cannot be
    reached (empty while it can).
    """

    def __init__(
        self, receiver: Receiver, clock: Clock, *, commit_every_s: float, backoff: Backoff | None = None
    ) -> None:
        self.receiver = receiver
        self.figures = Figures()
        self.store_error = "not opened yet"
        self.heard_ns = clock.monotonic_ns()
        self.ready = asyncio.Event()
        self.taken = 0
        self.durable = 0
        self._clock = clock
        self._commit_every_ns = round(commit_every_s * NS)
        self._backoff = backoff or Backoff(first_s=0.2, max_s=30.0)
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._first_ns: int | None = None
        self._hurry = False
        self._arrivals: deque[tuple[int, int]] = deque()
        self._listeners: list[Listener] = []
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    # ---- in

    def take(self, payload: bytes, topic: str = "", gateway: str | None = None) -> Taken:
        """One payload; :attr:`taken` is its ticket."""
        now = self._clock.monotonic_ns()
        taken = self.receiver.take(payload, topic, gateway)
        self.taken += 1
        self.heard_ns = now
        if taken.outcome in (Outcome.STORED, Outcome.DUPLICATE):
            self._arrivals.append((self.taken, now))
        if self._first_ns is None:
            self._first_ns = now
        self._wake.set()
        return taken

    def hurry(self) -> None:
        """Commit as soon as may be."""
        self._hurry = True
        self._wake.set()

    def listen(self, listener: Listener) -> None:
        """``listener`` is called after each commit with what the gateways may now be told."""
        self._listeners.append(listener)

    async def committed(self, ticket: int) -> None:
        """Wait until everything up to ``ticket`` is durable; others may join the commit."""
        if ticket > self.durable:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((ticket, waiter))
            self.hurry()
            await waiter

    # ---- the store

    def stop(self) -> None:
        """Let :meth:`run` make a last commit and return."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Commit until stopped. JournalError or ConfigError when the store cannot be opened at the start."""
        with ThreadPoolExecutor(1, "store") as thread:
            try:
                await self._run(thread)
            finally:
                for _, waiter in self._waiters:
                    waiter.cancel()
                await asyncio.get_running_loop().run_in_executor(thread, self.receiver.store.close)

    async def _run(self, thread: ThreadPoolExecutor) -> None:
        await self._open(thread, patient=False)
        while not self._stop.is_set():
            self._wake.clear()
            if self._is_due():
                await self._commit(thread)
            else:
                await _wait(self._wake, self._patience_s())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_COMMIT_S):
                while self.durable < self.taken:
                    await self._commit(thread)

    async def _open(self, thread: ThreadPoolExecutor, *, patient: bool) -> None:
        """Find out where the store stands. ``patient``: it has been open before, so no error is final."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                rows = await loop.run_in_executor(thread, self.receiver.store.load)
                await loop.run_in_executor(thread, self.receiver.resume)
            except (StoreError, JournalError) as exc:
                if isinstance(exc, JournalError) and not patient:
                    raise
                self._failed(exc)
                await _wait(self._stop, self._backoff.next_s())
                if self._stop.is_set():
                    return
            else:
                self.receiver.restart(rows)
                self._reached()
                return

    async def _commit(self, thread: ThreadPoolExecutor) -> None:
        if self.store_error:
            await self._open(thread, patient=True)
            if self.store_error:
                raise TimeoutError
        ticket, start = self.taken, self._clock.monotonic_ns()
        self._first_ns, self._hurry = None, False
        batch = self.receiver.begin()
        if batch:
            try:
                await asyncio.get_running_loop().run_in_executor(thread, self.receiver.store.apply, batch)
            except (StoreError, JournalError) as exc:
                self.figures.failures += 1
                self._failed(exc)
                self._first_ns = start
                await _wait(self._stop, self._backoff.next_s())
                return
            self.figures.commits += 1
            self.figures.commit.observe((self._clock.monotonic_ns() - start) / NS)
        self._done(batch, ticket)

    def _done(self, batch: Batch, ticket: int) -> None:
        self.receiver.done(batch)
        self.durable = ticket
        now = self._clock.monotonic_ns()
        while self._arrivals and self._arrivals[0][0] <= ticket:
            self.figures.answer.observe((now - self._arrivals.popleft()[1]) / NS)
        for listener in self._listeners:
            listener(batch.acks)
        waiting, self._waiters = self._waiters, []
        for wanted, waiter in waiting:
            if wanted > ticket:
                self._waiters.append((wanted, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        if self._waiters:
            self._hurry = True

    def _failed(self, exc: StoreError | JournalError) -> None:
        if self.store_error != exc.message:
            log.warning("store_unreachable", error=exc.message, hint=exc.hint)
        self.store_error = exc.message or "unknown"

    def _reached(self) -> None:
        log.info("store_ready", gateways=len(self.receiver.acks()), share=str(self.receiver.share))
        self.store_error = ""
        self._backoff.reset()
        self.ready.set()

    # ---- time

    def _is_due(self) -> bool:
        if self._first_ns is None:
            return False
        aged = self._clock.monotonic_ns() - self._first_ns >= self._commit_every_ns
        return aged or self._hurry or self.receiver.full

    def _patience_s(self) -> float | None:
        if self._first_ns is None:
            return None
        return max(self._first_ns + self._commit_every_ns - self._clock.monotonic_ns(), 0) / NS


async def _wait(event: asyncio.Event, timeout_s: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
