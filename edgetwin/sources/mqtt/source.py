"""An MQTT source: connects, subscribes, reconnects; samples take the data path and never become Python objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from edgetwin.clock import NS, Clock
from edgetwin.config.schema import MqttSource as MqttConfig
from edgetwin.config.urls import endpoint
from edgetwin.engine import Engine
from edgetwin.errors import ConfigError
from edgetwin.instruments import Histogram
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.mqtt.bindings import TopicBindings
from edgetwin.sources.mqtt.receiver import Receiver
from edgetwin.sources.mqtt.session import LINK_ERRORS, Login, Session, connected
from edgetwin.sources.mqtt.subscriptions import Subscriptions
from edgetwin.sources.tls import tls_context

log = structlog.get_logger()

PROVED_AFTER_S = 10.0
"""A session that lasts so long is a good one; until then the pauses between attempts keep growing."""
SHORT_MAX = 3
"""After so many short sessions in a row the likely reason is told."""


class MqttSource:
    """One broker.

    ``up`` tells whether the session is there, ``messages`` counts PUBLISH packets, ``latency`` is the time from the
    return of the socket read to the updated states, per sample, in seconds. ``last_error`` says why the source is
    down, or which filters the broker refuses while others bring samples; else it is empty.
    """

    kind = "mqtt"

    def __init__(
        self,
        config: MqttConfig,
        engine: Engine,
        clock: Clock,
        *,
        password: str | None = None,
        base: Path = Path(),
    ) -> None:
        self.config = config
        self.name = config.name
        self.up = False
        self.last_error = "not connected yet"
        self.reconnects = 0
        self.latency = Histogram()
        self._clock = clock
        self._password = password
        self._base = base
        self._client_id = config.client_id or f"edgetwin-{engine.config.gateway}-{config.name}"
        self._address = f"{config.url.split('://', 1)[0]}://{endpoint(config.url).address}"
        self._subscriptions = Subscriptions(config.qos)
        self._wake = asyncio.Event()
        self._short = 0
        self.receiver = Receiver(config, clock, self.latency)
        self.attach(engine)

    def attach(self, engine: Engine) -> None:
        """Bind to an engine; again after a reload, while the connection stays and its subscriptions follow."""
        self.bindings = TopicBindings(self.name, engine, self._clock)
        self.receiver.attach(engine, engine.source_index(self.name), self.bindings)
        self._wake.set()

    def restore(self, position: bytes, wanted: Callable[[], None]) -> None:
        """See :meth:`Held.restore`."""
        self.receiver.held.restore(position, wanted)

    def position(self) -> bytes:
        """See :meth:`Held.position`."""
        return self.receiver.held.position()

    def mark(self) -> int:
        """See :meth:`Held.mark`."""
        return self.receiver.held.mark()

    def release(self, mark: int) -> None:
        """See :meth:`Held.release`."""
        self.receiver.held.release(mark)

    @property
    def messages(self) -> int:
        """PUBLISH packets received."""
        return self.receiver.messages

    async def run(self) -> None:
        """Keep a session until cancelled; faults of the link are retried with jittered backoff."""
        backoff = Backoff(first_s=0.5, max_s=60.0)
        while True:
            try:
                await self._keep_session(backoff)
            except (*LINK_ERRORS, ConfigError) as exc:
                self._disconnected(exc)
            finally:
                self.up = False
            await asyncio.sleep(backoff.next_s())
            self.reconnects += 1

    async def _keep_session(self, backoff: Backoff) -> None:
        """One session from CONNECT to its end, which is always an exception."""
        tls = None
        if endpoint(self.config.url).tls:
            tls = await asyncio.to_thread(tls_context, self.config.tls, self._base)
        session = Session(self.config, Login(self._client_id, self._password, tls), self.receiver, self._wake)
        async with connected(session):
            began_ns = self._clock.monotonic_ns()
            try:
                await self._serve(session)
            finally:
                self._short += 1
                if self._clock.monotonic_ns() - began_ns > PROVED_AFTER_S * NS:
                    self._short = 0
                    backoff.reset()

    async def _serve(self, session: Session) -> None:
        """Keep the subscriptions in step with the bindings until the connection is lost; SourceError then."""
        self._subscriptions.renew(session.resumed)
        while session.lost is None:
            self._wake.clear()
            await self._subscriptions.follow(session, self.bindings.filters())
            if session.lost is None:
                self._connected()
            await self._wake.wait()
        raise session.lost

    def _connected(self) -> None:
        complaint = self._subscriptions.complaint
        if not self.up:
            log.info("source_connected", source=self.name, url=self._address)
        if complaint and complaint != self.last_error:
            log.error("subscription_refused", source=self.name, url=self._address, error=complaint)
        self.up, self.last_error = True, complaint

    def _disconnected(self, exc: Exception) -> None:
        reason = str(exc) or repr(exc)
        if self.up and self._short >= SHORT_MAX and "client_id" not in reason:
            reason += f": again and again: does another client use the client_id {self._client_id!r}?"
        if self.up or reason != self.last_error:
            log.warning("source_disconnected", source=self.name, url=self._address, error=reason)
        self.last_error = reason
