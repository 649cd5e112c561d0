"""An MQTT session for either end of the uplink: aiomqtt keeps it, and this adds what aiomqtt hides.

That is: the reason code of each acknowledgement, acknowledging received messages by hand, and the limits in CONNACK.
Nothing is awaited per message; ``wake`` is set whenever there is something to look at.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgetwin.config.schema import Tls
from edgetwin.config.urls import Endpoint
from edgetwin.errors import UplinkError
from edgetwin.sources.mqtt.client import Client
from edgetwin.sources.tls import tls_context
from edgetwin.uplink.faults import Reason, UplinkFaultError
from edgetwin.uplink.proxy import Proxy, tunnel

LINK_ERRORS = (aiomqtt.MqttError, UplinkError, OSError, ssl.SSLError)
"""What a session that cannot be made or kept raises."""

REFUSED = 0x80
"""Reason codes from here on are refusals (MQTT 5, §2.4)."""

_CONNECT_TIMEOUT_S = 15.0
_CLOSE_TIMEOUT_S = 2.0
_PACKET_BYTES_MAX = 268_435_455


@dataclass(frozen=True, slots=True)
class Login:
    """Where and as whom to connect. ``tls`` is used when the endpoint's scheme asks for it."""

    endpoint: Endpoint
    client_id: str
    username: str | None
    password: str | None
    tls: Tls | None = None
    base: Path = Path()
    v5: bool = True
    keepalive_s: float = 30.0
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class Inbox:
    """Receiving: a session the broker keeps for ``session_expiry_s``, with at most ``receive_maximum`` messages of at
    most ``packet_bytes_max`` bytes unacknowledged. MQTT 5 only."""

    session_expiry_s: float
    receive_maximum: int
    packet_bytes_max: int


SENDER_RECEIVES_MAX = 32
"""Messages a session without an Inbox keeps; the oldest make room."""
_SENDER_PACKET_BYTES_MAX = 131_072
_INFLIGHT_MAX = 1_024


class Session(Client):
    """One connection; to be opened by :func:`connected`.

    ``outcomes`` are (packet id, reason code) of acknowledged publishes, ``received`` messages in order of arrival,
    ``discarded`` counts QoS 0 messages for which there was no room.
    """

    def __init__(self, login: Login, wake: asyncio.Event, inbox: Inbox | None = None) -> None:
        self.wake = wake
        self.outcomes: deque[tuple[int, int]] = deque()
        self.received: deque[MQTTMessage] = deque()
        self.discarded = 0
        self.receive_maximum = 65_535
        self.packet_bytes_max = _PACKET_BYTES_MAX
        self._inbox = inbox
        place = login.endpoint
        self._tls = place.tls
        super().__init__(
            place.host,
            place.port,
            username=login.username,
            password=login.password,
            identifier=login.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if login.v5 else aiomqtt.ProtocolVersion.V311,
            clean_start=inbox is None if login.v5 else MQTT_CLEAN_START_FIRST_ONLY,
            clean_session=None if login.v5 else True,
            properties=_connect_properties(inbox) if login.v5 else None,
            keepalive=max(round(login.keepalive_s), 1),
            tls_context=tls_context(login.tls, login.base) if place.tls else None,
            timeout=_CONNECT_TIMEOUT_S,
        )
        self._paho: Any = self._client
        self._paho.manual_ack_set(inbox is not None)
        self._paho.max_inflight_messages_set(_INFLIGHT_MAX)  # whoever sends has a window of its own
        if login.proxy is not None:
            _lead_through(self._paho, login.proxy, place)

    @property
    def lost(self) -> UplinkError | None:
        """Why the connection is gone; None while it is there."""
        if not self._disconnected.done():
            return None
        cause = self._disconnected.exception()
        return UplinkError(str(cause or "the connection was closed"), hint="it is made again")

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Publish at QoS 1 and return the packet id that ``outcomes`` will hold. UplinkError when it cannot."""
        info = self._paho.publish(topic, payload, qos=1, retain=retain)
        if info.rc != 0:
            raise UplinkError(f"publishing failed ({info.rc})", hint="the connection is made again")
        return int(info.mid)

    def acknowledge(self, message: MQTTMessage) -> None:
        """Tell the broker that a received message is safe."""
        if message.qos:
            self._paho.ack(message.mid, message.qos)

    async def receive(self, topic: str) -> None:
        """Subscribe at QoS 1. UplinkError when the broker refuses."""
        for code in await self.subscribe(topic, qos=1):
            value = code if isinstance(code, int) else code.value
            if value >= REFUSED:
                raise UplinkError(f"the broker refuses a subscription to {topic} ({code})", hint="check its ACL")

    def watch(self) -> None:
        """Set ``wake`` when the connection goes."""

        def gone(future: asyncio.Future[None]) -> None:
            if not future.cancelled():
                future.exception()  # seen; without this asyncio logs it as never retrieved
            self.wake.set()

        self._disconnected.add_done_callback(gone)

    # ---- callbacks of paho, which aiomqtt binds by these names

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any = None) -> None:
        self.receive_maximum = getattr(properties, "ReceiveMaximum", self.receive_maximum)
        self.packet_bytes_max = getattr(properties, "MaximumPacketSize", self.packet_bytes_max)
        super()._on_connect(client, userdata, flags, code, properties)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any = None) -> None:
        """A broker that hangs up before CONNACK would else be waited for until the time-out. With TLS 1.3 that is how
        it refuses the client's certificate (RFC 8446, §4.4.2.4)."""
        if not self._connected.done():
            reason, hint = Reason.UNREACHABLE, "is it an MQTT broker?"
            if self._tls:
                reason, hint = Reason.TLS, "it may want a client certificate: tls.cert and tls.key"
            self._connected.set_exception(UplinkFaultError(reason, "the broker hangs up before it answers", hint=hint))
            self._connected.exception()  # seen, should nobody wait any more
            return
        super()._on_disconnect(client, userdata, flags, code, properties)

    def _on_publish(self, client: Any, userdata: Any, mid: int, code: Any, properties: Any) -> None:
        self.outcomes.append((mid, int(getattr(code, "value", 0))))
        self.wake.set()
        super()._on_publish(client, userdata, mid, code, properties)

    def _on_message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:  # noqa: ARG002
        room = self._inbox.receive_maximum if self._inbox else SENDER_RECEIVES_MAX
        if self._inbox is None and len(self.received) >= room:
            self.received.popleft()
        if message.qos or len(self.received) < room:
            self.received.append(message)
        else:
            self.discarded += 1
        self.wake.set()

    def abandon(self) -> None:
        """Close the socket of a connection that was never completed; aiomqtt leaves it open."""
        if self._paho.socket() is not None:
            self._paho._sock_close()


@contextlib.asynccontextmanager
async def connected(session: Session) -> AsyncIterator[Session]:
    """Open the session and close it again. Raises one of LINK_ERRORS when it cannot be opened."""
    try:
        await session.__aenter__()
    except BaseException:
        session.abandon()
        raise
    session.watch()
    try:
        yield session
    finally:
        session.timeout = _CLOSE_TIMEOUT_S
        with contextlib.suppress(aiomqtt.MqttError):  # it is gone either way
            await session.__aexit__(None, None, None)
        session.abandon()


def _lead_through(paho: Any, proxy: Proxy, place: Endpoint) -> None:
    """Let paho connect through a proxy; of its own accord it does so with PySocks alone."""
    paho._create_socket_connection = lambda: tunnel(proxy, place.host, place.port, _CONNECT_TIMEOUT_S)


def _connect_properties(inbox: Inbox | None) -> Properties:
    """CONNECT properties (MQTT 5, §3.1.2.11)."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if inbox is None:
        properties.ReceiveMaximum = SENDER_RECEIVES_MAX
        properties.MaximumPacketSize = _SENDER_PACKET_BYTES_MAX
        return properties
    properties.SessionExpiryInterval = min(round(inbox.session_expiry_s), 0xFFFF_FFFF)
    properties.ReceiveMaximum = inbox.receive_maximum
    properties.MaximumPacketSize = inbox.packet_bytes_max
    return properties
