"""Frames to the cloud over MQTT, QoS 1.

A broker's PUBACK says that the broker has the frame, which is not the cloud: the frame stays until the receiver
acknowledges it on the acknowledgement topic, where its last answer is retained. With ``acknowledge: broker`` the PUBACK
is enough. The receiver knows a frame by (gateway, epoch, sequence) and stores it once.

A broker says so when it took a frame and nobody subscribes to it (MQTT 5, reason 0x10). Such a frame is lost as soon as
it is acknowledged, so unless ``require_subscriber`` is off it stays, and one frame is tried again from time to time.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from edgetwin.clock import Clock
from edgetwin.codec.acks import acks_topic
from edgetwin.config.credentials import password_of, username_of
from edgetwin.config.schema import MqttUplink as MqttConfig
from edgetwin.config.urls import endpoint
from edgetwin.errors import FrameError
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.courier import Courier
from edgetwin.uplink.faults import Reason, UplinkFaultError
from edgetwin.uplink.port import Outbox
from edgetwin.uplink.proxy import proxy_of
from edgetwin.uplink.queued import Queued
from edgetwin.uplink.schedule import Lane, Window
from edgetwin.uplink.session import REFUSED, Login, Session, connected

log = structlog.get_logger()

FRAMES_MAX = 32
BYTES_MAX = 262_144
"""On their way to the broker in each lane. A live frame waits behind no more than this of the backlog."""

NOBODY = 0x10
"""The broker took the message and nobody subscribes to it (MQTT 5)."""

_PUBLISH_BYTES_MAX = 64
"""What a PUBLISH adds to topic and payload, at most."""

_REASONS = {0x87: Reason.CREDENTIALS, 0x97: Reason.BUSY}
"""PUBACK: not authorised, quota exceeded (MQTT 5, §3.4.2.1)."""


class MqttUplink(Courier):
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
        clock: Clock | None = None,
        dead_letters: Path | None = None,
    ) -> None:
        """``password`` overrides that of ``config``; ``base`` is where relative files of ``config`` are."""
        self._config = config
        self._endpoint = endpoint(config.url)
        self._topic = config.topic.replace("{gateway}", gateway)
        self._client_id = config.client_id or f"edgetwin-{gateway}-uplink"
        self._password = password
        self._base = base
        self._by_broker = config.acknowledge == "broker"
        self._on_their_way: dict[int, Queued] = {}
        self._unheard = False
        super().__init__(
            outbox,
            self._endpoint.address,
            bandwidth=config.bandwidth,
            ack_wait_s=None if self._by_broker else config.ack_timeout,
            quiet_s=config.ack_timeout / 3.0,
            backoff=backoff,
            clock=clock,
            dead_letters=dead_letters,
        )

    async def _serve(self) -> None:
        self._on_their_way.clear()
        self._unheard = False
        session = Session(self._login(), self._outbox.changed)
        async with connected(session):
            if not self._by_broker:
                await session.receive(acks_topic(self._topic))
            self._connected()
            await self._pump(session)

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
            proxy=proxy_of(config.proxy),
        )

    async def _pump(self, session: Session) -> None:
        while True:
            self._outbox.changed.clear()
            self._settle(session)
            self._hear(session)
            self._tick()
            if (lost := session.lost) is not None:
                raise lost
            if self._unheard and not self._on_their_way:
                await self._pause()
            self._fill(session)
            await self._until_changed()

    # ---- what comes back

    def _settle(self, session: Session) -> None:
        """Take in the broker's acknowledgements that have come."""
        while session.outcomes:
            mid, code = session.outcomes.popleft()
            queued = self._on_their_way.pop(mid, None)
            if queued is None:
                continue
            if code >= REFUSED:
                reason = _REASONS.get(code, Reason.REFUSED)
                raise UplinkFaultError(
                    reason, f"the broker refuses a frame (MQTT reason {code:#04x})", hint="check its ACL"
                )
            if code == NOBODY and self._config.require_subscriber:
                self._keep(queued)
            else:
                self._delivered(queued)

    def _keep(self, queued: Queued) -> None:
        """Nobody was there to take the frame: it stays in the outbox."""
        self._failed += 1
        self.schedule.failed(queued.position)
        if not self._unheard:
            hint = "start the receiver, or set require_subscriber: false where the broker itself reads frames"
            self._impaired(UplinkFaultError(Reason.UNHEARD, f"nobody subscribes to {self._topic}", hint=hint))
        self._unheard = True
        if self._draining.is_set():
            self._give_up()

    def _delivered(self, queued: Queued) -> None:
        self.schedule.delivered(queued.position)
        if self._unheard:
            self._unheard = False
            self._backoff.reset()
            self._connected()
        if self._by_broker:
            self._land()

    def _hear(self, session: Session) -> None:
        """Take in the receiver's answers."""
        while session.received:
            message = session.received.popleft()
            try:
                self._answer(bytes(message.payload))
            except FrameError as exc:
                if self._limiter.allow("malformed") is not None:
                    log.warning("uplink_ack_malformed", error=str(exc), size=len(message.payload))

    # ---- what goes out

    def _fill(self, session: Session) -> None:
        """Send for as long as there is room; one at a time while nobody listens."""
        window = Window(1 if self._unheard else min(FRAMES_MAX, max(session.receive_maximum // 2, 1)), BYTES_MAX)
        while not (self._unheard and self._on_their_way):
            if len(self._on_their_way) >= session.receive_maximum:
                return
            queued = self._take(Lane.LIVE, window) or self._take(Lane.BACKLOG, window)
            if queued is None:
                return
            self._send(session, queued)

    def _send(self, session: Session, queued: Queued) -> None:
        size = len(queued.data) + len(self._topic.encode()) + _PUBLISH_BYTES_MAX
        if size > session.packet_bytes_max:
            detail = f"the broker takes packets of {session.packet_bytes_max} bytes at most"
            self._sent -= 1
            self._bytes -= len(queued.data)
            self._condemn(queued, "larger_than_the_broker_takes", detail)
            return
        self._on_their_way[session.send(self._topic, queued.data)] = queued
