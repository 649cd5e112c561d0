"""Frames from a broker, over an MQTT 5 session that the broker keeps while we are away; acknowledgements to gateways.

A frame is acknowledged to the broker after the commit that made it durable, so that whatever ends this process, the
broker sends again what is not stored; what is stored and comes again is a duplicate, which the receiver knows. What a
gateway may forget is told after the same commit, in a retained message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
from paho.mqtt.client import MQTTMessage

from edgetwin.codec.acks import Ack, acks_topic, encode_ack
from edgetwin.codec.limits import FRAME_BYTES_MAX
from edgetwin.config.credentials import password_of, username_of
from edgetwin.config.schema import MqttUplink
from edgetwin.config.urls import endpoint
from edgetwin.errors import ConfigError, UplinkError
from edgetwin.receive.config import MqttFrames, gateway_of
from edgetwin.receive.pipeline import LAST_COMMIT_S, Pipeline
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.session import LINK_ERRORS, REFUSED, Inbox, Login, Session, connected

log = structlog.get_logger()

PENDING_BYTES_MAX = 64 * 1024 * 1024
"""Frames in memory that wait for the store; past it no more are taken from the broker."""

TOPICS_MAX = 65_536

_TURN = 16
"""Frames taken before the loop looks elsewhere."""

_PACKET_BYTES_MAX = FRAME_BYTES_MAX + 65_536 + 1024


class MqttFeed:
    """One broker. ``run`` ends after :meth:`stop`. ``acks`` counts acknowledgements sent to gateways."""

    def __init__(
        self, config: MqttFrames, pipeline: Pipeline, *, base: Path = Path(), backoff: Backoff | None = None
    ) -> None:
        self.up = False
        self.last_error = "not connected yet"
        self.acks = 0
        self._config = config
        self._endpoint = endpoint(config.url)
        self._pipeline = pipeline
        self._base = base
        self._backoff = backoff or Backoff(first_s=0.5, max_s=60.0)
        self._wake = asyncio.Event()
        self._stopping = False
        self._unacknowledged: deque[tuple[int, MQTTMessage]] = deque()
        self._untold: dict[tuple[str, int], Ack] = {}
        self._topics: dict[str, str] = {}
        self._session: Session | None = None
        pipeline.listen(self._on_commit)

    def stop(self) -> None:
        """Ask for an orderly end: a last commit, acknowledgements, goodbye."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Receive until the end; faults of the link are retried with jittered backoff."""
        await self._until_ready()
        while not self._stopping:
            try:
                session = Session(self._login(), self._wake, self._inbox())
                async with connected(session):
                    await self._serve(session)
            except (*LINK_ERRORS, ConfigError) as exc:
                self._disconnected(exc)
            finally:
                self.up, self._session = False, None
                self._unacknowledged.clear()
            if not self._stopping:
                await self._wait(self._backoff.next_s())

    # ---- the link

    async def _until_ready(self) -> None:
        """The store must have said what it has before anything can be told from what is new."""
        ready = asyncio.ensure_future(self._pipeline.ready.wait())
        try:
            while not ready.done() and not self._stopping:
                self._wake.clear()
                wake = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait((ready, wake), return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
        finally:
            ready.cancel()

    def _login(self) -> Login:
        config, share = self._config, self._pipeline.receiver.share
        account = MqttUplink(url=config.url, username=config.username, password_file=config.password_file)
        return Login(
            endpoint=self._endpoint,
            client_id=config.client_id if share.of == 1 else f"{config.client_id}-{share.index}-of-{share.of}",
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

    async def _wait(self, timeout_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    # ---- the frames

    async def _serve(self, session: Session) -> None:
        await session.receive(self._config.topic)
        self.up, self.last_error, self._session = True, "", session
        self._backoff.reset()
        log.info("receiver_connected", broker=self._endpoint.address, topic=self._config.topic)
        self._untold = {(ack.gateway, ack.epoch): ack for ack in self._pipeline.receiver.acks()}
        while not self._stopping:
            self._wake.clear()
            self._take(session)
            self._tell(session)
            if (lost := session.lost) is not None:
                raise lost
            if session.received and self._has_room():
                await asyncio.sleep(0)  # one turn for the rest of the loop
            elif not self._stopping:
                await self._wait(None)
        await self._finish(session)

    async def _finish(self, session: Session) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_COMMIT_S):
                await self._pipeline.committed(self._pipeline.taken)
        self._tell(session)

    def _has_room(self) -> bool:
        return self._pipeline.receiver.pending_bytes < PENDING_BYTES_MAX

    def _take(self, session: Session) -> None:
        for message in _next(session, _TURN):
            topic = _topic(message)
            taken = self._pipeline.take(bytes(message.payload), topic, gateway_of(topic, self._config.topic))
            self._unacknowledged.append((self._pipeline.taken, message))
            if taken.gateway:
                self._remember(taken.gateway, topic)
            if not self._has_room():
                break
        if 2 * len(self._unacknowledged) >= self._config.receive_maximum:
            self._pipeline.hurry()

    def _remember(self, gateway: str, topic: str) -> None:
        self._topics.pop(gateway, None)
        self._topics[gateway] = topic
        if len(self._topics) > TOPICS_MAX:
            del self._topics[next(iter(self._topics))]

    # ---- after a commit

    def _on_commit(self, acks: Sequence[Ack]) -> None:
        for ack in acks:
            self._untold.pop((ack.gateway, ack.epoch), None)
            self._untold[ack.gateway, ack.epoch] = ack
        self._wake.set()

    def _tell(self, session: Session) -> None:
        """Acknowledge what is durable: to the broker each message, to the gateways how far they have come."""
        while self._unacknowledged and self._unacknowledged[0][0] <= self._pipeline.durable:
            session.acknowledge(self._unacknowledged.popleft()[1])
        while self._untold:
            key = next(iter(self._untold))
            topic = self._topic_of(key[0])
            if topic is not None:
                session.send(acks_topic(topic), encode_ack(self._untold[key]), retain=True)
                self.acks += 1
            del self._untold[key]
        while session.outcomes:
            _, code = session.outcomes.popleft()
            if code >= REFUSED:
                raise UplinkError(
                    f"the broker refuses an acknowledgement (MQTT reason {code:#04x})",
                    hint=f"let this client publish to {acks_topic(self._config.topic)}",
                )

    def _topic_of(self, gateway: str) -> str | None:
        """The topic of a gateway's frames: as they came, else as the filter says; None when neither tells."""
        known = self._topics.get(gateway)
        if known is not None or "+" not in self._config.topic or any(c in gateway for c in "+#/\0"):
            return known
        return self._config.topic.replace("+", gateway)


def _next(session: Session, n: int) -> Iterator[MQTTMessage]:
    for _ in range(min(n, len(session.received))):
        yield session.received.popleft()


def _topic(message: MQTTMessage) -> str:
    try:
        return str(message.topic)
    except UnicodeDecodeError:
        return "?"
