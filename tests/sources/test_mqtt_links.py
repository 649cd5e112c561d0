"""The MQTT source through the life of its connection: TLS, restarts of the broker, reloads, kept sessions, takeovers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgetwin.engine import Engine
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.mqtt import receiver, source
from tests.certificates import make_authority, make_certificate
from tests.conftest import Broker, free_port
from tests.sources.broker_double import (
    PUBCOMP,
    PUBREC,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Connection,
    Packet,
    broker_double,
    politely,
)
from tests.sources.mqtt_rig import HOST, JSON, PLAIN, Sent, config, eventually, publish_all, running, template

ONE = template({"x": {"source": "plant", "topic": "plant/m/temp", "noise": 1.0}}, "m")


# ---- TLS


@dataclass
class SecureBroker:
    """A mosquitto that listens with TLS for the source and in clear for the publisher."""

    broker: Broker
    port: int
    folder: Path


@pytest.fixture
def secure_broker(broker: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SecureBroker]:
    assert shutil.which("openssl"), "openssl is not installed"
    make_authority(tmp_path, "ca")
    make_authority(tmp_path, "other")
    make_certificate(tmp_path, "server", getattr(request, "param", "IP:127.0.0.1"))
    broker.stop()
    port = free_port()
    listener = f"listener {port} 127.0.0.1\ncertfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\n"
    # Where the tests run as root mosquitto would become another user, who may not read the key.
    broker.config.write_text("user root\n" + broker.config.read_text() + listener)
    broker.start()
    yield SecureBroker(broker, port, tmp_path)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_tls_takes_the_same_data_path(
    secure_broker: SecureBroker, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: list[bytes] = []
    monkeypatch.setattr(receiver.Receiver, "_read_packet", lambda _s, packet, _at: slow.append(packet) or [])
    monkeypatch.setattr(receiver.Receiver, "take_message", lambda _s, topic, *_: slow.append(topic))
    settings = config(secure_broker.port, [ONE], scheme="mqtts", tls={"ca": "ca.pem"}, protocol=protocol)
    async with running(settings, base=secure_broker.folder) as rig:
        await rig.up()
        # Long payloads: many TLS records, and packets across their borders.
        await publish_all(secure_broker.broker.port, [Sent("plant/m/temp", b"%01000d" % k) for k in range(3000)])
        await rig.have(3000)
        assert rig.ledger == {"fused": 3000}
        assert rig.signal("m").value == 2999.0
        assert slow == []


async def test_tls_with_the_wrong_authority_is_refused(secure_broker: SecureBroker) -> None:
    settings = config(secure_broker.port, [ONE], scheme="mqtts", tls={"ca": "other.pem"})
    async with running(settings, base=secure_broker.folder) as rig:
        await eventually(lambda: rig.source.reconnects > 1, "another attempt")
        assert "certificate verify failed" in rig.source.last_error
        assert not rig.source.up


@pytest.mark.parametrize("secure_broker", ["DNS:elsewhere.example"], indirect=True)
async def test_tls_with_the_wrong_name_is_refused(secure_broker: SecureBroker) -> None:
    settings = config(secure_broker.port, [ONE], scheme="mqtts", tls={"ca": "ca.pem"})
    async with running(settings, base=secure_broker.folder) as rig:
        await eventually(lambda: rig.source.reconnects > 0, "an attempt")
        assert "IP address mismatch" in rig.source.last_error
        assert not rig.source.up


async def test_tls_sends_nothing_in_clear_to_a_peer_that_has_none() -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(65_536))
        writer.write(b"\x20\x03\0\0\0")
        heard.extend(await reader.read(65_536))
        writer.close()

    server = await asyncio.start_server(listen, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(config(port, [ONE], scheme="mqtts", username="anna", client_id="gate-7")) as rig:
        await eventually(lambda: rig.source.reconnects > 0, "an attempt")
        assert not rig.source.up
        assert "ssl" in rig.source.last_error.lower()
    assert heard[0] == 0x16, "a TLS handshake record"
    assert not any(word in heard for word in (b"MQTT", b"anna", b"gate-7"))


async def test_a_missing_certificate_file_is_told_and_looked_for_again(tmp_path: Path) -> None:
    settings = config(free_port(), [ONE], scheme="mqtts", tls={"ca": "absent.pem"})
    async with running(settings, base=tmp_path) as rig:
        await eventually(lambda: rig.source.reconnects > 0, "an attempt")
        assert "tls" in rig.source.last_error


# ---- brokers that come and go


async def test_a_killed_broker_is_found_again_and_subscribed_to(broker: Broker) -> None:
    async with running(config(broker.port, [template(JSON)])) as rig:
        await rig.up()
        await publish_all(broker.port, [Sent("plant/m/temp", b'{"t": 1700000000, "v": 1}')])
        await rig.have(1)
        broker.kill()
        await eventually(lambda: not rig.source.up, "the loss to be seen")
        assert rig.source.last_error
        broker.start()
        await rig.up()
        assert rig.source.reconnects >= 1
        await publish_all(broker.port, [Sent("plant/m/temp", b'{"t": 1700000001, "v": 2}')])
        await rig.have(2)
        assert rig.signal("m").value == 2.0


async def test_a_broker_that_is_down_at_the_start_is_waited_for(broker: Broker) -> None:
    broker.stop()
    async with running(config(broker.port, [template(JSON)])) as rig:
        await eventually(lambda: rig.source.reconnects >= 2, "attempts")
        assert not rig.source.up
        assert "refused" in rig.source.last_error.lower()
        broker.start()
        await rig.up()
        await publish_all(broker.port, [Sent("plant/m/temp", b'{"t": 1700000000, "v": 1}')])
        await rig.have(1)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("client_id", ["gate-7", None])
async def test_messages_published_while_away_arrive(broker: Broker, protocol: str, client_id: str | None) -> None:
    settings = config(broker.port, [template(JSON)], protocol=protocol, client_id=client_id)
    async with running(settings) as rig:
        await rig.up()
    messages = [Sent("plant/m/temp", b'{"t": %d, "v": %d}' % (1_700_000_000 + k, k), qos=1) for k in range(1000)]
    await publish_all(broker.port, messages)
    async with running(settings) as rig:
        await rig.have(1000)
        assert rig.ledger == {"fused": 1000}


async def test_a_qos_2_message_survives_a_connection_lost_before_its_release() -> None:
    """The broker will not send it again: it has our PUBREC, and on the next connection only releases it."""

    def answer(connection: Connection, packet: Packet) -> bytes:
        if packet.kind == PUBREC:
            connection.close()
            return b""
        kept = packet.kind == 1 and connection is not broker.connections[0]
        return b"\x20\x03\1\0\0" if kept else politely(connection, packet)

    async with broker_double(answer) as broker, running(config(broker.port, [template(PLAIN)], qos=2)) as rig:
        client = await broker.subscribed()
        client.publish(b"plant/m/temp", b"20", qos=2, mid=9)
        client = await broker.subscribed(1)
        assert rig.received == 0
        client.send(b"\x62\2\0\x09")
        await client.until(lambda c: [p.mid for p in c.of(PUBCOMP)] == [9], "the end of the exchange")
        await rig.have(1)
        assert rig.ledger == {"fused": 1}


@pytest.mark.parametrize("at", [1, SUBSCRIBE, UNSUBSCRIBE])
async def test_a_stop_that_comes_together_with_an_answer_is_not_lost(at: int) -> None:
    """As :func:`asyncio.wait_for` of Python 3.11 would lose it: the task would go on for ever."""

    def answer(connection: Connection, packet: Packet) -> bytes:
        if packet.kind == at:
            connection.send(politely(connection, packet))
            answered.set()
            return b""
        return politely(connection, packet)

    answered = asyncio.Event()
    other = [template({"x": {**PLAIN["x"], "topic": "other/{machine}"}})]
    async with broker_double(answer) as broker:
        for turns in range(8):
            answered.clear()
            async with asyncio.timeout(10), running(config(broker.port, [template(PLAIN)])) as rig:
                if at == UNSUBSCRIBE:
                    await rig.up()
                    rig.source.attach(Engine(config(broker.port, other)))
                await answered.wait()
                for _ in range(turns):
                    await asyncio.sleep(0)


# ---- reload


async def test_reload_brings_new_topics_and_ends_old_ones_on_the_same_connection(broker: Broker) -> None:
    other = template({"x": {**PLAIN["x"], "topic": "hall/{machine}/temp"}}, "hall-{machine}")
    before, after = config(broker.port, [template(PLAIN)]), config(broker.port, [other])
    async with running(before) as rig:
        await rig.up()
        await publish_all(broker.port, [Sent("plant/a/temp", b"1"), Sent("hall/a/temp", b"2")])
        await rig.have(1)
        rig.engine = Engine(after)
        rig.source.attach(rig.engine)
        # A message is asked for until it comes: the subscription is made by a task of its own.
        while not rig.received:
            await publish_all(broker.port, [Sent("hall/a/temp", b"3")])
        assert rig.signal("hall-a").value == 3.0
        assert rig.source.up
        assert rig.source.reconnects == 0
        assert rig.source.messages == 1 + rig.received, "counts go on through a reload"


async def test_reload_asks_only_for_what_is_new_and_drops_only_what_is_gone() -> None:
    def twins(*topics: str) -> list[dict[str, Any]]:
        return [template({"x": {**PLAIN["x"], "topic": t + "/{machine}"}}, t + "-{machine}") for t in topics]

    async with broker_double() as broker, running(config(broker.port, twins("a", "b"))) as rig:
        client = await broker.subscribed()
        await rig.up()
        rig.source.attach(Engine(config(broker.port, twins("b", "c"))))
        await client.until(lambda c: c.of(UNSUBSCRIBE), "the end of a")
        assert [p.filters for p in client.of(SUBSCRIBE)] == [["a/+", "b/+"], ["c/+"]]
        assert [p.filters for p in client.of(UNSUBSCRIBE)] == [["a/+"]]
        # The same again changes nothing.
        rig.source.attach(Engine(config(broker.port, twins("b", "c"))))
        rig.source.attach(Engine(config(broker.port, twins("c", "b", "d"))))
        await client.until(lambda c: len(c.of(SUBSCRIBE)) == 3, "d")
        assert client.of(SUBSCRIBE)[2].filters == ["d/+"]
        assert len(client.of(UNSUBSCRIBE)) == 1


async def test_reload_while_away_ends_what_the_kept_session_still_holds() -> None:
    def answer(connection: Connection, packet: Packet) -> bytes:
        kept = packet.kind == 1 and connection is not broker.connections[0]
        return b"\x20\x03\1\0\0" if kept else politely(connection, packet)

    old, new = ([template({"x": {**PLAIN["x"], "topic": t + "/{machine}"}})] for t in ("old", "new"))
    async with broker_double(answer) as broker, running(config(broker.port, old)) as rig:
        client = await broker.subscribed()
        await rig.up()
        client.close()
        await eventually(lambda: not rig.source.up, "the loss")
        rig.source.attach(Engine(config(broker.port, new)))
        client = await broker.subscribed(1)
        await client.until(lambda c: c.of(UNSUBSCRIBE), "the end of the old filter")
        assert client.of(SUBSCRIBE)[0].filters == ["new/+"]
        assert client.of(UNSUBSCRIBE)[0].filters == ["old/+"]


async def test_a_source_without_signals_is_up_and_asks_for_nothing() -> None:
    twin = {"name": "t", "signals": {"x": {"source": "device", "register": {"address": 1}}}, "model": "random_walk"}
    async with broker_double() as broker:
        settings = config(broker.port, [twin])
        async with running(settings) as rig:
            await rig.up()
            assert broker.connections[0].of(SUBSCRIBE) == []
            broker.connections[0].close()
            await broker.connection(1)


async def test_many_filters_are_asked_for_in_packets_of_bounded_length() -> None:
    twins = [
        {**ONE, "name": f"m{k}", "signals": {"x": {"source": "plant", "topic": f"plant/m{k}"}}} for k in range(250)
    ]
    async with broker_double() as broker, running(config(broker.port, twins)) as rig:
        await rig.up()
        asked = [p.filters for p in broker.connections[0].of(SUBSCRIBE)]
        assert [len(filters) for filters in asked] == [100, 100, 50]
        assert sorted(f for filters in asked for f in filters) == sorted(f"plant/m{k}" for k in range(250))


# ---- pauses


class RecordedBackoff(Backoff):
    """Remembers the longest pause that each attempt could have had, and pauses hardly at all."""

    ceilings: list[float]

    def next_s(self) -> float:
        self.ceilings.append(self._ceiling_s)
        super().next_s()
        return 0.0


@pytest.fixture
def ceilings(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    RecordedBackoff.ceilings = []
    monkeypatch.setattr(source, "Backoff", RecordedBackoff)
    return RecordedBackoff.ceilings


def short_lived(connection: Connection, packet: Packet) -> bytes:
    """Grants everything and then hangs up: 0x8E, the session was taken over."""
    connection.send(politely(connection, packet))
    return b"\xe0\2\x8e\0" if packet.kind == SUBSCRIBE else b""


async def test_pauses_grow_while_sessions_are_short(ceilings: list[float]) -> None:
    async with broker_double(short_lived) as broker, running(config(broker.port, [template(PLAIN)])) as rig:
        await broker.subscribed(6)
        assert ceilings == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
        await eventually(lambda: "taken over" in rig.source.last_error, "the reason")
        assert "client_id" in rig.source.last_error


async def test_pauses_are_short_again_after_a_session_that_lasted(
    ceilings: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PROVED_AFTER_S", 0.0)
    async with broker_double(short_lived) as broker, running(config(broker.port, [template(PLAIN)])):
        await broker.subscribed(4)
        assert ceilings == [0.5] * 4


async def test_two_gateways_of_one_name_pause_longer_and_longer(broker: Broker, ceilings: list[float]) -> None:
    """mosquitto hangs up on the older one without a word; what it looks like is told."""
    settings = config(broker.port, [template(PLAIN)], client_id="twice")
    async with running(settings) as one, running(settings) as two:
        errors: set[str] = set()

        def seen() -> bool:
            errors.update(rig.source.last_error for rig in (one, two))
            return max(ceilings, default=0.0) >= 8.0 and any("'twice'" in e for e in errors)

        await eventually(seen, "growing pauses and the reason")
        assert not any(rig.source.up and rig.source.last_error for rig in (one, two))
