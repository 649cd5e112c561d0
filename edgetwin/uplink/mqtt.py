"""Frames over MQTT with QoS 1: a frame leaves the outbox when the broker has acknowledged it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiomqtt
import structlog

from edgetwin.config.credentials import password_of, username_of
from edgetwin.config.schema import MqttUplink as MqttUplinkConfig
from edgetwin.config.urls import endpoint
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.mqtt.tls import tls_context
from edgetwin.uplink.outbox import Outbox

log = structlog.get_logger()

WINDOW = 16
PUBLISH_TIMEOUT_S = 30.0


class MqttUplink:
    """Sends an outbox; ``up`` tells whether the session is there."""

    def __init__(self, config: MqttUplinkConfig, gateway: str, outbox: Outbox, *, base: Path = Path()) -> None:
        self.config = config
        self.outbox = outbox
        self.up = False
        self.last_error = "not connected yet"
        self._base = base
        self._topic = config.topic.replace("{gateway}", gateway)
        self._identifier = config.client_id or f"edgetwin-{gateway}-uplink"

    @property
    def frames(self) -> dict[str, int]:
        """Frames by outcome."""
        return self.outbox.counters

    @property
    def bytes_total(self) -> int:
        """Bytes handed to the transport."""
        return self.outbox.bytes_sent

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait to be acknowledged."""
        return self.outbox.backlog_bytes

    async def run(self) -> None:
        """Keep a session and send until cancelled; faults of the link are retried with jittered backoff."""
        backoff = Backoff(first_s=0.5, max_s=60.0)
        while True:
            try:
                async with self._client() as client:
                    self.up, self.last_error = True, ""
                    log.info("uplink_connected", topic=self._topic)
                    backoff.reset()
                    await self._send(client)
            except* (aiomqtt.MqttError, OSError, ssl.SSLError) as group:
                self._disconnected(group.exceptions[0])
            finally:
                self.up = False
            await asyncio.sleep(backoff.next_s())

    async def drain(self, deadline_s: float) -> None:
        """Return when the outbox is empty, the session is lost, or ``deadline_s`` seconds have passed."""
        try:
            async with asyncio.timeout(deadline_s):
                while len(self.outbox) and self.up:
                    self.outbox.changed.clear()
                    await self.outbox.changed.wait()
        except TimeoutError:
            log.warning("uplink_not_drained", frames=len(self.outbox), kept="in the snapshot")

    def _client(self) -> aiomqtt.Client:
        place = endpoint(self.config.url)
        v5 = self.config.protocol == "5"
        return aiomqtt.Client(
            place.host,
            place.port,
            username=username_of(self.config),
            password=password_of(self.config, self._base),
            identifier=self._identifier,
            protocol=aiomqtt.ProtocolVersion.V5 if v5 else aiomqtt.ProtocolVersion.V311,
            keepalive=max(round(self.config.keepalive), 1),
            tls_context=tls_context(self.config.tls, self._base) if place.tls else None,
            max_inflight_messages=WINDOW,
            timeout=15,
        )

    async def _send(self, client: aiomqtt.Client) -> None:
        """WINDOW frames on their way at a time, taken in order of sequence."""
        client.pending_calls_threshold = 2 * WINDOW

        async def worker() -> None:
            while True:
                taken = self.outbox.take()
                if taken is None:
                    self.outbox.changed.clear()
                    await self.outbox.changed.wait()
                    continue
                key, frame = taken
                try:
                    await client.publish(self._topic, frame, qos=1, timeout=PUBLISH_TIMEOUT_S)
                except BaseException:
                    self.outbox.release(key)
                    raise
                self.outbox.acknowledge(key)

        async with asyncio.TaskGroup() as group:
            for _ in range(WINDOW):
                group.create_task(worker())

    def _disconnected(self, exc: BaseException) -> None:
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        if self.up or str(exc) != self.last_error:
            log.warning("uplink_disconnected", topic=self._topic, error=str(exc))
        self.last_error = str(exc)
