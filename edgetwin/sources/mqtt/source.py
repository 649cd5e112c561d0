"""An MQTT source: connects, subscribes, reconnects; samples take the data path and never become Python objects."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiomqtt
import structlog
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgetwin.clock import Clock
from edgetwin.config.credentials import username_of
from edgetwin.config.schema import MqttSource as MqttConfig
from edgetwin.config.urls import endpoint
from edgetwin.engine import Engine
from edgetwin.instruments import Histogram
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.mqtt.bindings import TopicBindings
from edgetwin.sources.mqtt.datapath import DataPath
from edgetwin.sources.mqtt.receiver import Receiver
from edgetwin.sources.mqtt.tls import tls_context

log = structlog.get_logger()


class MqttSource:
    """One broker.

    ``up`` tells whether the session is there, ``messages`` counts PUBLISH packets, ``latency`` is the time from the
    return of the socket read to the updated states, per sample, in seconds. ``last_error`` is empty while up.
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
        self.attach(engine)

    def attach(self, engine: Engine) -> None:
        """Bind to an engine; again after a reload, while the connection stays."""
        self.bindings = TopicBindings(self.name, engine)
        self.receiver = Receiver(
            self.config, engine, engine.source_index(self.name), self.bindings, self._clock, self.latency
        )

    @property
    def messages(self) -> int:
        """PUBLISH packets received."""
        return self.receiver.messages

    async def run(self) -> None:
        """Keep a session until cancelled; faults of the link are retried with jittered backoff."""
        backoff = Backoff(first_s=0.5, max_s=60.0)
        while True:
            try:
                async with self._client() as client:
                    await client.subscribe([(f, self.config.qos) for f in self.bindings.filters()])
                    self._connected()
                    backoff.reset()
                    async for message in client.messages:
                        self.receiver.take_message(message)
            except (aiomqtt.MqttError, OSError, ssl.SSLError) as exc:
                self._disconnected(exc)
            finally:
                self.up = False
            await asyncio.sleep(backoff.next_s())
            self.reconnects += 1

    def _client(self) -> aiomqtt.Client:
        place = endpoint(self.config.url)
        v5 = self.config.protocol == "5"
        persistent = self.config.qos > 0
        client = aiomqtt.Client(
            place.host,
            place.port,
            username=username_of(self.config),
            password=self._password or place.password,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if v5 else aiomqtt.ProtocolVersion.V311,
            clean_start=not persistent if v5 else MQTT_CLEAN_START_FIRST_ONLY,
            clean_session=None if v5 else not persistent,
            properties=self._properties() if v5 else None,
            keepalive=max(round(self.config.keepalive), 1),
            tls_context=tls_context(self.config.tls, self._base) if place.tls else None,
            timeout=15,
        )
        install(client, self.receiver)
        return client

    def _properties(self) -> Properties:
        """CONNECT properties of MQTT 5 (§3.1.2.11)."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = self.config.receive_maximum
        properties.MaximumPacketSize = self.receiver.packet_max
        if self.config.qos > 0:
            properties.SessionExpiryInterval = min(round(self.config.session_expiry), 0xFFFF_FFFF)
        return properties

    def _connected(self) -> None:
        self.up, self.last_error = True, ""
        log.info("source_connected", source=self.name, url=_without_secrets(self.config.url))

    def _disconnected(self, exc: Exception) -> None:
        reason = self.receiver.take_fault() or str(exc)
        if self.up or reason != self.last_error:
            log.warning("source_disconnected", source=self.name, url=_without_secrets(self.config.url), error=reason)
        self.last_error = reason


def install(client: aiomqtt.Client, receiver: Receiver) -> None:
    """Put the data path under the session.

    paho asks ``_create_socket`` for its socket, which is the seam: what it gets reads in bulk, keeps the PUBLISH packets
    and hands on every other byte.
    """
    paho: Any = client._client
    create = paho._create_socket

    def create_datapath() -> DataPath:
        return DataPath(create(), paho, receiver)

    paho._create_socket = create_datapath


def _without_secrets(url: str) -> str:
    place = endpoint(url)
    return f"{url.split('://', 1)[0]}://{place.host}:{place.port}"
