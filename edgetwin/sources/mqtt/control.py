"""A connection of its own to a source's broker, for what is published to assets and for commands that come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiomqtt
import structlog

from edgetwin.config.credentials import username_of
from edgetwin.config.schema import MqttSource as MqttConfig
from edgetwin.config.urls import endpoint
from edgetwin.errors import ConfigError, ControlError
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.mqtt.client import Client
from edgetwin.sources.tls import tls_context

log = structlog.get_logger()

ACKNOWLEDGED_IN_S = 2.0
CONNECT_TIMEOUT_S = 15.0
MESSAGES_MAX = 1_000
BYTES_MAX = 16_384

Handler = Callable[[bytes], Awaitable[bytes | None]]


class ControlConnection:
    """Publishes with QoS 1 and hands messages of one topic to a handler; ``run`` keeps it up until cancelled.

    Nothing is queued while the connection is down: a write that cannot go out now fails now. The session is clean:
    commands that nobody heard are not delivered later.
    """

    def __init__(self, config: MqttConfig, gateway: str, password: str | None, base: Path) -> None:
        self.name = config.name
        self.last_error = "not connected yet"
        self._config = config
        self._password = password
        self._base = base
        self._client_id = f"edgetwin-{gateway}-{config.name}-control"
        self._client: aiomqtt.Client | None = None
        self._topic = ""
        self._handler: Handler | None = None

    @property
    def up(self) -> bool:
        """Whether something can be published."""
        return self._client is not None

    def listen(self, topic: str, handler: Handler) -> None:
        """Hand every message on ``topic`` to ``handler``; what it returns is published on ``topic`` + ``/answers``."""
        self._topic, self._handler = topic, handler

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, and return when the broker has it. ControlError otherwise."""
        if self._client is None:
            raise ControlError(f"the broker of {self.name} is not connected: {self.last_error}")
        try:
            await self._client.publish(topic, payload, qos=1, timeout=ACKNOWLEDGED_IN_S)
        except aiomqtt.MqttError as exc:
            raise ControlError(f"the broker of {self.name} did not acknowledge: {exc}", sent=True) from exc

    async def run(self) -> None:
        """Connect again and again, with jittered backoff."""
        backoff = Backoff(first_s=0.5, max_s=60.0)
        while True:
            try:
                await self._serve(backoff)
            except (aiomqtt.MqttError, OSError, ConfigError) as exc:
                if str(exc) != self.last_error:
                    log.warning("control_disconnected", source=self.name, error=str(exc))
                self.last_error = str(exc)
            finally:
                self._client = None
            await asyncio.sleep(backoff.next_s())

    async def _serve(self, backoff: Backoff) -> None:
        async with await self._open() as client:
            if self._handler is not None:
                await client.subscribe(self._topic, qos=1)
            self._client, self.last_error = client, ""
            log.info("control_connected", source=self.name)
            backoff.reset()
            async for message in client.messages:
                if self._handler is not None and isinstance(message.payload, bytes) and not message.retain:
                    await self._answer(client, message.payload[: BYTES_MAX + 1])

    async def _answer(self, client: aiomqtt.Client, payload: bytes) -> None:
        assert self._handler is not None
        answer = await self._handler(payload)
        if answer is not None:
            await client.publish(self._topic + "/answers", answer, qos=1)

    async def _open(self) -> Client:
        config, place = self._config, endpoint(self._config.url)
        tls = await asyncio.to_thread(tls_context, config.tls, self._base) if place.tls else None
        return Client(
            place.host,
            place.port,
            username=username_of(config),
            password=self._password or place.password,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if config.protocol == "5" else aiomqtt.ProtocolVersion.V311,
            clean_session=None if config.protocol == "5" else True,
            keepalive=max(round(config.keepalive), 1),
            tls_context=tls,
            timeout=CONNECT_TIMEOUT_S,
            max_queued_incoming_messages=MESSAGES_MAX,
        )


class MqttWriter:
    """An output that is a topic. ``shown`` is how many samples the signal that shows the value has had, and the last
    of them; None when there is no such signal."""

    resolution = 0.0

    def __init__(
        self, connection: ControlConnection, topic: str, payload: str, shown: Callable[[], tuple[int, float] | None]
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._payload = payload
        self._shown = shown
        self._samples = self._count()  # what a snapshot has brought says nothing of now

    def _count(self) -> int:
        found = self._shown()
        return found[0] if found else 0

    async def write(self, value: float) -> None:
        """Publish; the acknowledgement is the broker's."""
        self._samples = self._count()
        text = str(int(value)) if value.is_integer() else repr(value)
        await self._connection.publish(self._topic, self._payload.replace("{value}", text).encode())

    async def read(self) -> float | None:
        """What the signal has shown since the start or the last write; None when it has shown nothing."""
        found = self._shown()
        return found[1] if found and found[0] > self._samples else None
