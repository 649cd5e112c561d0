"""Frames from a broker to a receiver, over an MQTT 5 session that the broker keeps while we are away.

A frame is acknowledged after the commit that made it durable, so that whatever ends this process, the broker sends
again what is not on disk; what is on disk and comes again is a duplicate, which the receiver knows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import structlog
from paho.mqtt.client import MQTTMessage

from edgetwin.clock import NS, Clock
from edgetwin.codec.limits import FRAME_BYTES_MAX
from edgetwin.config.credentials import password_of, username_of
from edgetwin.config.schema import MqttUplink
from edgetwin.config.urls import endpoint
from edgetwin.errors import ConfigError, UplinkError
from edgetwin.receive.config import MqttFrames, gateway_of
from edgetwin.receive.receiver import Receiver
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.session import LINK_ERRORS, Inbox, Login, Session, connected

log = structlog.get_logger()

_TURN = 16
"""Frames taken before the loop looks elsewhere."""

_PACKET_BYTES_MAX = FRAME_BYTES_MAX + 65_536 + 1024


class MqttFeed:
    """One broker. ``run`` ends after :meth:`stop`, or after ``idle_exit_s`` without a frame."""

    def __init__(
        self,
        config: MqttFrames,
        receiver: Receiver,
        clock: Clock,
        *,
        commit_every_s: float,
        idle_exit_s: float | None = None,
        base: Path = Path(),
        backoff: Backoff | None = None,
    ) -> None:
        self.up = False
        self.last_error = "not connected yet"
        self._config = config
        self._endpoint = endpoint(config.url)
        self._receiver = receiver
        self._clock = clock
        self._commit_every_ns = round(commit_every_s * NS)
        self._idle_exit_ns = None if idle_exit_s is None else round(idle_exit_s * NS)
        self._base = base
        self._backoff = backoff or Backoff(first_s=0.5, max_s=60.0)
        self._wake = asyncio.Event()
        self._stopping = False
        self._heard_ns = clock.monotonic_ns()
        self._uncommitted_ns: int | None = None
        self._unacknowledged: list[MQTTMessage] = []

    def stop(self) -> None:
        """Ask for an orderly end: a last commit, acknowledgements, goodbye."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Receive until the end; faults of the link are retried with jittered backoff. JournalError when the disk
        refuses."""
        while not self._ended():
            try:
                session = Session(self._login(), self._wake, self._inbox())
                async with connected(session):
                    await self._serve(session)
            except (*LINK_ERRORS, ConfigError) as exc:
                self._disconnected(exc)
            finally:
                self.up = False
                self._unacknowledged.clear()
            await self._pause()
        await asyncio.to_thread(self._receiver.commit)

    # ---- the link

    def _login(self) -> Login:
        config = self._config
        account = MqttUplink(url=config.url, username=config.username, password_file=config.password_file)
        return Login(
            endpoint=self._endpoint,
            client_id=config.client_id,
            username=username_of(account),
            password=password_of(account, self._base),
            tls=config.tls,
            base=self._base,
            keepalive_s=config.keepalive,
        )

    def _inbox(self) -> Inbox:
        return Inbox(self._config.session_expiry, self._config.receive_maximum, _PACKET_BYTES_MAX)

    def _disconnected(self, exc: Exception) -> None:
        reason = exc.message if isinstance(exc, UplinkError | ConfigError) else str(exc)
        if self.up or reason != self.last_error:
            log.warning("receiver_disconnected", broker=self._endpoint.address, error=reason)
        self.last_error = reason

    async def _pause(self) -> None:
        if not self._ended():
            await self._wait(self._backoff.next_s())

    async def _wait(self, timeout_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    # ---- the frames

    async def _serve(self, session: Session) -> None:
        await session.receive(self._config.topic)
        self.up, self.last_error = True, ""
        self._backoff.reset()
        log.info("receiver_connected", broker=self._endpoint.address, topic=self._config.topic)
        while not self._ended():
            self._wake.clear()
            self._take(session)
            if self._commit_is_due():
                await self._commit(session)
            if (lost := session.lost) is not None:
                raise lost
            if session.received:
                await asyncio.sleep(0)  # one turn for the rest of the loop
            elif not self._stopping:
                await self._wait(self._patience_s())
        await self._commit(session)

    def _take(self, session: Session) -> None:
        for message in _next(session, _TURN):
            topic = _topic(message)
            self._receiver.take(bytes(message.payload), topic, gateway_of(topic, self._config.topic))
            self._heard_ns = self._clock.monotonic_ns()
            if self._uncommitted_ns is None:
                self._uncommitted_ns = self._heard_ns
            if message.qos:
                self._unacknowledged.append(message)

    def _commit_is_due(self) -> bool:
        if self._uncommitted_ns is None:
            return False
        aged = self._clock.monotonic_ns() - self._uncommitted_ns >= self._commit_every_ns
        return aged or self._receiver.full or 2 * len(self._unacknowledged) >= self._config.receive_maximum

    async def _commit(self, session: Session) -> None:
        await asyncio.to_thread(self._receiver.commit)
        self._uncommitted_ns = None
        for message in self._unacknowledged:
            session.acknowledge(message)
        self._unacknowledged.clear()

    # ---- time

    def _ended(self) -> bool:
        return self._stopping or self._idle()

    def _idle(self) -> bool:
        idle_ns = self._idle_exit_ns
        return idle_ns is not None and self._clock.monotonic_ns() - self._heard_ns >= idle_ns

    def _patience_s(self) -> float | None:
        """Until the next commit or the end of patience, whichever is first; None: for ever."""
        now = self._clock.monotonic_ns()
        ends = []
        if self._uncommitted_ns is not None:
            ends.append(self._uncommitted_ns + self._commit_every_ns)
        if self._idle_exit_ns is not None:
            ends.append(self._heard_ns + self._idle_exit_ns)
        return max(min(ends) - now, 0) / NS if ends else None


def _next(session: Session, n: int) -> Iterator[MQTTMessage]:
    for _ in range(min(n, len(session.received))):
        yield session.received.popleft()


def _topic(message: MQTTMessage) -> str:
    try:
        return str(message.topic)
    except UnicodeDecodeError:
        return "?"
