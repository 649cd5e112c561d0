"""The MQTT session of a source: aiomqtt keeps it, and this puts the data path under it and adds what aiomqtt hides.

That is: a connection lost before it was made, the reason for a loss, and sockets of attempts that came to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgetwin.config.credentials import username_of
from edgetwin.config.schema import MqttSource as MqttConfig
from edgetwin.config.urls import endpoint
from edgetwin.errors import SourceError
from edgetwin.sources.mqtt.client import Client
from edgetwin.sources.mqtt.datapath import DataPath
from edgetwin.sources.mqtt.receiver import Receiver

LINK_ERRORS = (aiomqtt.MqttError, SourceError, OSError)
"""What a session that cannot be made or kept raises."""

CONNECT_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 2.0

_CLOSED = "the broker closed the connection"
_TAKEN_OVER = 0x8E


@dataclass(frozen=True, slots=True)
class Login:
    """As whom to connect; ``tls`` is None on a connection in clear."""

    client_id: str
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None


class Session(Client):
    """One connection, to be opened by :func:`connected`.

    ``wake`` is set when it is lost. ``resumed``: the broker had kept the session of the one before.
    """

    def __init__(self, config: MqttConfig, login: Login, receiver: Receiver, wake: asyncio.Event) -> None:
        place = endpoint(config.url)
        v5 = config.protocol == "5"
        kept = config.qos > 0
        super().__init__(
            place.host,
            place.port,
            username=username_of(config),
            password=login.password or place.password,
            identifier=login.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if v5 else aiomqtt.ProtocolVersion.V311,
            clean_start=not kept if v5 else mqtt.MQTT_CLEAN_START_FIRST_ONLY,
            clean_session=None if v5 else not kept,
            properties=_connect_properties(config, receiver.packet_max) if v5 else None,
            keepalive=max(round(config.keepalive), 1),
            tls_context=login.tls,
            timeout=CONNECT_TIMEOUT_S,
        )
        self.resumed = False
        self._receiver = receiver
        self._wake = wake
        self._abandoned = False
        self._datapath: DataPath | None = None
        self._paho: Any = self._client
        # paho owes these to us and to the broker (QoS 2, received but not released), whatever becomes of a connection.
        self._paho._in_messages = receiver.unreleased
        self._install()

    def _install(self) -> None:
        """Put the data path under the session.

        paho asks ``_create_socket`` for its socket, which is the seam: what it gets reads in bulk, keeps the PUBLISH
        packets and hands on every other byte.
        """
        create = self._paho._create_socket

        def create_datapath() -> DataPath:
            self._datapath = DataPath(create(), self._paho, self._receiver)
            return self._datapath

        self._paho._create_socket = create_datapath
        self._paho.loop_read = self._loop_read
        self._paho._send_simple_command = self._send_simple_command
        self._paho._handle_pingresp = self._handle_pingresp

    def _loop_read(self, max_packets: int = 1) -> int:
        """paho's, but an exception ends the connection at once, as any other fault of the stream does.

        paho raises what it likes on a malformed packet, and aiomqtt would leave the socket open and wait.
        """
        try:
            return int(mqtt.Client.loop_read(self._client, max_packets))
        except Exception as exc:
            if self._datapath and not self._datapath.fault:
                self._datapath.fault = f"the broker sent a packet that cannot be read ({exc!r})"
            return int(self._paho._loop_rc_handle(mqtt.MQTT_ERR_PROTOCOL))

    def _send_simple_command(self, command: int) -> int:
        """paho's; a PINGREQ stands behind the acknowledgements that are queued."""
        if command == mqtt.PINGREQ:
            self._receiver.held.pinged()
        return int(mqtt.Client._send_simple_command(self._client, command))

    def _handle_pingresp(self) -> int:
        self._receiver.held.answered()
        return int(mqtt.Client._handle_pingresp(self._client))

    @property
    def lost(self) -> Exception | None:
        """Why the connection is gone; None while it is there. A SourceError unless the failure is our own."""
        if not self._disconnected.done():
            return None
        if self._datapath and self._datapath.failure:
            return self._datapath.failure
        cause = None if self._disconnected.cancelled() else self._disconnected.exception()
        return SourceError(self._fault or _reason(cause), hint=_hint(cause))

    @property
    def _fault(self) -> str:
        return self._datapath.fault if self._datapath else ""

    def watch(self) -> None:
        """Set ``wake`` when the connection goes, and let nobody wait for answers that cannot come any more."""

        def gone(future: asyncio.Future[None]) -> None:
            if not future.cancelled():
                future.exception()  # seen; without this asyncio logs it as never retrieved
            for waiting in self._pending_subscribes.values():
                if not waiting.done():
                    waiting.set_exception(self.lost or SourceError("the connection is closed"))
            for confirmation in self._pending_unsubscribes.values():
                confirmation.set()
            self._wake.set()

        self._disconnected.add_done_callback(gone)

    async def open(self) -> None:
        """Connect. Raises one of LINK_ERRORS."""
        try:
            await self.__aenter__()
            self._check_open()
        except BaseException:
            # Last in the loop's queue: what paho's thread has already asked of the loop goes first.
            self._abandoned = True
            self._loop.call_soon(self._abandon)
            raise
        self.watch()

    def _check_open(self) -> None:
        """aiomqtt forgets a loss that comes together with CONNACK."""
        if self._paho.socket() is None:
            raise SourceError(self._fault or _CLOSED)

    async def close(self) -> None:
        """Disconnect, in CLOSE_TIMEOUT_S or without the broker's help; the socket is closed when this returns."""
        self.timeout = CLOSE_TIMEOUT_S
        try:
            with contextlib.suppress(aiomqtt.MqttError):  # it is gone either way
                await self.__aexit__(None, None, None)
        finally:
            self._abandon()

    def _abandon(self) -> None:
        if self._paho.socket() is not None:
            self._paho._sock_close()

    # ---- what aiomqtt calls, or gives to paho, by these names

    def _client_connect(self) -> None:
        """In a thread, which goes on when its caller has been cancelled."""
        super()._client_connect()
        if self._abandoned:
            self._loop.call_soon_threadsafe(self._abandon)

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any = None) -> None:
        self.resumed = bool(flags.session_present)
        if not self.resumed and not code.is_failure:
            self._receiver.unreleased.clear()
        super()._on_connect(client, userdata, flags, code, properties)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any = None) -> None:
        if not self._connected.done():
            failure = self._datapath.failure if self._datapath else None
            self._connected.set_exception(
                failure or aiomqtt.MqttError(f"{self._fault or _CLOSED} before it answered CONNECT")
            )
        super()._on_disconnect(client, userdata, flags, code, properties)

    def _on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:  # noqa: ARG002
        """QoS 2, once it is released; all else has taken the data path."""
        try:
            self._receiver.take_message(message._topic, bytes(message.payload), message.retain)
        except Exception as exc:
            if self._datapath:
                self._datapath.failure = exc
            raise


@contextlib.asynccontextmanager
async def connected(session: Session) -> AsyncIterator[Session]:
    """Open the session and close it again. Raises one of LINK_ERRORS when it cannot be opened."""
    await session.open()
    try:
        yield session
    finally:
        await session.close()


def _connect_properties(config: MqttConfig, packet_max: int) -> Properties:
    """CONNECT properties of MQTT 5 (§3.1.2.11)."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = config.receive_maximum
    properties.MaximumPacketSize = packet_max
    if config.qos > 0:
        properties.SessionExpiryInterval = min(round(config.session_expiry), 0xFFFF_FFFF)
    return properties


def _reason(cause: BaseException | None) -> str:
    return str(cause) if cause is not None else _CLOSED


def _hint(cause: BaseException | None) -> str:
    code = getattr(cause, "rc", None)
    if isinstance(code, ReasonCode) and code.value == _TAKEN_OVER:
        return "another client uses the same client_id"
    return ""
