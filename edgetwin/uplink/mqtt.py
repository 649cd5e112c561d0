"""Frames to the cloud over MQTT, QoS 1.

A frame leaves the outbox when the broker has acknowledged it (PUBACK without a refusal). After a lost connection
everything not acknowledged is sent again, oldest first; the receiver knows a frame by (gateway, epoch, sequence) and
stores it once.

A broker says so when it took a frame and nobody subscribes to it (MQTT 5, reason 0x10). Such a frame is lost as soon as
it is acknowledged, so unless ``require_subscriber`` is off it stays, and one frame is tried again from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import structlog

from edgetwin.config.credentials import password_of, username_of
from edgetwin.config.schema import MqttUplink as MqttConfig
from edgetwin.config.urls import endpoint
from edgetwin.errors import ConfigError, UplinkError
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.outbox import Outbox
from edgetwin.uplink.queued import Key, Queued
from edgetwin.uplink.session import LINK_ERRORS, REFUSED, Login, Session, connected

log = structlog.get_logger()

WINDOW = 16
"""Frames on their way at once."""

NOBODY = 0x10
"""The broker took the message and nobody subscribes to it (MQTT 5)."""

_PUBLISH_BYTES_MAX = 64
"""What a PUBLISH adds to topic and payload, at most."""


class MqttUplink:
    """One broker. An :class:`edgetwin.uplink.port.Uplink`."""

    def __init__(
        self,
        config: MqttConfig,
        gateway: str,
        outbox: Outbox,
        *,
        password: str | None = None,
        base: Path = Path(),
        backoff: Backoff | None = None,
    ) -> None:
        """``password`` overrides that of ``config``; ``base`` is where relative files of ``config`` are."""
        self.up = False
        self.last_error = "not connected yet"
        self._config = config
        self._endpoint = endpoint(config.url)
        self._topic = config.topic.replace("{gateway}", gateway)
        self._client_id = config.client_id or f"edgetwin-{gateway}-uplink"
        self._outbox = outbox
        self._password = password
        self._base = base
        self._backoff = backoff or Backoff(first_s=0.5, max_s=60.0)
        self._flight: dict[int, Key] = {}
        self._unheard = False
        self._draining = asyncio.Event()
        self._gave_up = asyncio.Event()

    @property
    def frames(self) -> dict[str, int]:
        """Frames so far by outcome."""
        c = self._outbox.counters
        return {"sent": c.sent, "acknowledged": c.acknowledged, "failed": c.failed, "dropped": c.dropped}

    @property
    def bytes_total(self) -> int:
        """Bytes of frames handed to the broker so far, repetitions included."""
        return self._outbox.counters.bytes_sent

    @property
    def backlog_bytes(self) -> int:
        """Bytes of frames that wait to be acknowledged."""
        return self._outbox.bytes

    async def run(self) -> None:
        """Send until cancelled; faults of the link are retried with jittered backoff."""
        while True:
            last_try = self._draining.is_set()
            try:
                async with connected(Session(self._login(), self._outbox.changed)) as session:
                    self._unheard = False
                    self._connected()
                    await self._pump(session)
            except (*LINK_ERRORS, ConfigError) as exc:
                self._disconnected(exc)
            finally:
                self.up = False
                self._outbox.counters.failed += len(self._flight)
                self._flight.clear()
            if last_try:
                self._give_up()
            await self._pause()

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

    # ---- the link

    def _login(self) -> Login:
        """Read anew for each connection, so that a changed password file takes effect."""
        config = self._config
        return Login(
            endpoint=self._endpoint,
            client_id=self._client_id,
            username=username_of(config),
            password=self._password if self._password is not None else password_of(config, self._base),
            tls=config.tls,
            base=self._base,
            v5=config.protocol == "5",
            keepalive_s=config.keepalive,
        )

    def _connected(self) -> None:
        self.up, self.last_error = True, ""
        log.info("uplink_connected", broker=self._endpoint.address, topic=self._topic, waiting=len(self._outbox))

    def _disconnected(self, exc: Exception) -> None:
        reason = exc.message if isinstance(exc, UplinkError | ConfigError) else str(exc)
        if self.up or reason != self.last_error:
            log.warning("uplink_disconnected", broker=self._endpoint.address, error=reason)
        self.last_error = reason

    async def _pause(self) -> None:
        """Wait before the next attempt; draining cuts it short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.next_s()):
                await self._draining.wait()

    # ---- the frames

    async def _pump(self, session: Session) -> None:
        changed = self._outbox.changed
        while True:
            changed.clear()
            self._settle(session)
            if (lost := session.lost) is not None:
                raise lost
            if self._unheard and not self._flight:
                await self._pause()
            self._fill(session)
            await changed.wait()

    def _settle(self, session: Session) -> None:
        """Take in the acknowledgements that have come."""
        while session.outcomes:
            mid, code = session.outcomes.popleft()
            key = self._flight.pop(mid, None)
            if key is None:
                continue
            if code >= REFUSED:
                self._outbox.counters.failed += 1
                raise UplinkError(f"the broker refuses a frame (MQTT reason {code:#04x})", hint="check its ACL")
            if code == NOBODY and self._config.require_subscriber:
                self._keep()
            else:
                self._acknowledge(key)

    def _keep(self) -> None:
        """Nobody was there to take the frame: it stays in the outbox."""
        self._outbox.counters.failed += 1
        self.up, self.last_error = False, f"nobody subscribes to {self._topic}"
        if not self._unheard:
            hint = "start the receiver, or set require_subscriber: false where the broker itself reads frames"
            log.warning("uplink_nobody_listens", topic=self._topic, hint=hint)
        self._unheard = True
        if self._draining.is_set():
            self._give_up()

    def _give_up(self) -> None:
        """Draining has had its attempt."""
        self._draining.clear()
        self._gave_up.set()

    def _acknowledge(self, key: Key) -> None:
        self._outbox.acknowledge(key)
        self._backoff.reset()
        if self._unheard:
            self._unheard = False
            self._connected()

    def _fill(self, session: Session) -> None:
        """Send in order for as long as the window has room; one at a time while nobody listens."""
        window = 1 if self._unheard else min(WINDOW, session.receive_maximum)
        under_way = set(self._flight.values())
        for queued in _first(self._outbox, window + len(under_way)):
            if len(self._flight) >= window:
                return
            if queued.key not in under_way:
                self._send(session, queued)

    def _send(self, session: Session, queued: Queued) -> None:
        if len(queued.data) + len(self._topic.encode()) + _PUBLISH_BYTES_MAX > session.packet_bytes_max:
            self._outbox.drop(queued.key, "larger_than_the_broker_takes")
            self._outbox.changed.set()
            return
        self._outbox.counters.sent += 1
        self._outbox.counters.bytes_sent += len(queued.data)
        try:
            self._flight[session.send(self._topic, queued.data)] = queued.key
        except UplinkError:
            self._outbox.counters.failed += 1
            raise


def _first(outbox: Outbox, n: int) -> list[Queued]:
    return [queued for queued, _ in zip(outbox, range(n), strict=False)]
