"""The MQTT source against brokers that break the rules: the connection is dropped and made again, nothing else stops."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from edgetwin.sources.mqtt import session
from tests.kernels.wire import variable
from tests.sources.broker_double import (
    CONNECT,
    PUBACK,
    PUBCOMP,
    PUBREC,
    SUBSCRIBE,
    Connection,
    Packet,
    broker_double,
    politely,
)
from tests.sources.mqtt_rig import HOST, JSON, PLAIN, Rig, config, eventually, running, template

TOPIC = b"plant/m/temp"
LONG = 300_000
"""Bytes of a payload that is longer than any buffer of a source with a small payload_max."""


def raw(body: bytes, head: int = 0x30) -> bytes:
    return bytes([head]) + variable(len(body)) + body


MALFORMED = {
    "length_of_five_bytes": b"\x30\xff\xff\xff\xff\x01",
    "unknown_property": raw(b"\0\1t\2\x77\0" + b"20"),
    "properties_longer_than_packet": raw(b"\0\1t\x7f\1\1"),
    "property_cut": raw(b"\0\1t\2\x02\0"),
    "topic_longer_than_packet": raw(b"\xff\xffplant"),
    "no_topic_length": raw(b"\0"),
    "qos_3": raw(b"\0\1t\0\1\0" + b"20", 0x36),
    "packet_identifier_zero": raw(b"\0\1t\0\0\0" + b"20", 0x32),
    "reserved_type": b"\0\0",
    "auth_unasked": b"\xf0\0",
    "suback_without_codes": b"\x90\x01\0",
    "oversize_control_packet": b"\x90\xff\xff\xff\x7f" + bytes(100),
    "oversize_with_identifier_zero": raw(b"\0\1t\0\0" + bytes(LONG), 0x32),
}


@pytest.mark.parametrize("poison", [pytest.param(v, id=k) for k, v in MALFORMED.items()])
async def test_malformed_bytes_end_the_connection_and_nothing_else(poison: bytes) -> None:
    async with broker_double() as broker, running(config(broker.port, [template(PLAIN)], payload_max=64)) as rig:
        first = await broker.subscribed()
        first.publish(TOPIC, b"20")
        first.send(poison)
        second = await broker.subscribed(1)
        assert rig.ledger == {"fused": 1}
        second.publish(TOPIC, b"21")
        await rig.have(2)
        assert rig.signal("m").value == 21.0
        await rig.up()
        assert rig.source.reconnects == 1
        await first.closed.wait()


@pytest.mark.parametrize("poison", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\xff\xff\xff\xff\x01", b"\x20\x00", b""])
async def test_a_server_that_is_no_broker_is_left_at_once(poison: bytes) -> None:
    """It answers CONNECT with something else and hangs up."""

    def answer(connection: Connection, packet: Packet) -> bytes:
        if len(broker.connections) > 2:
            return politely(connection, packet)
        connection.send(poison)
        connection.close()
        return b""

    async with broker_double(answer) as broker, running(config(broker.port, [template(PLAIN)])) as rig:
        await broker.connection(1)
        assert not rig.source.up
        assert rig.source.last_error
        await rig.up()
        assert rig.source.last_error == ""


@pytest.mark.parametrize(("protocol", "refusal"), [("5", b"\x20\x03\0\x87\0"), ("3.1.1", b"\x20\x02\0\x05")])
async def test_a_refused_login_is_told_and_tried_again(protocol: str, refusal: bytes) -> None:
    async with broker_double(lambda _c, _p: refusal) as broker:
        async with running(config(broker.port, [template(PLAIN)], protocol=protocol)) as rig:
            await broker.connection(2)
            assert "authori" in rig.source.last_error.lower()
            assert not rig.source.up
            assert not any(c.of(SUBSCRIBE) for c in broker.connections)
            await broker.connections[0].closed.wait()


@pytest.mark.parametrize("silent_from", [CONNECT, SUBSCRIBE])
async def test_a_server_that_never_answers_is_left(silent_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(session, "CLOSE_TIMEOUT_S", 0.1)

    def answer(connection: Connection, packet: Packet) -> bytes:
        return politely(connection, packet) if packet.kind < silent_from else b""

    async with broker_double(answer) as broker, running(config(broker.port, [template(PLAIN)])) as rig:
        await broker.connection(1)
        assert not rig.source.up
        assert "timed out" in rig.source.last_error
        await broker.connections[0].closed.wait()


async def test_stopping_during_connect_leaves_no_socket_open() -> None:
    async with broker_double(lambda _c, _p: b"") as broker:
        async with running(config(broker.port, [template(PLAIN)])):
            client = await broker.connection()
        await asyncio.wait_for(client.closed.wait(), 10)


async def test_a_refused_subscription_is_told_by_its_name() -> None:
    def answer(connection: Connection, packet: Packet) -> bytes:
        if packet.kind != SUBSCRIBE:
            return politely(connection, packet)
        codes = bytes(0x87 if f.startswith("secret/") else 1 for f in packet.filters)
        return raw(packet.mid.to_bytes(2, "big") + b"\0" + codes, 0x90)

    secret = template({"x": {**PLAIN["x"], "topic": "secret/{machine}"}}, "s-{machine}")
    with capture_logs() as logs:
        async with broker_double(answer) as broker:
            async with running(config(broker.port, [template(PLAIN), secret])) as rig:
                client = await broker.subscribed()
                await rig.up()
                assert "secret/+" in rig.source.last_error
                assert "plant/+" not in rig.source.last_error
                client.publish(TOPIC, b"20")
                await rig.have(1)
            async with running(config(broker.port, [secret])) as rig:
                await eventually(lambda: "secret/+" in rig.source.last_error, "the refusal")
                assert not rig.source.up
                await broker.connection(2)  # nothing is granted: it is asked again
    assert any(entry["event"] == "subscription_refused" for entry in logs)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("pieces", ["whole", "cut"])
async def test_oversize_messages_are_dropped_counted_and_answered(protocol: str, pieces: str) -> None:
    async with broker_double() as broker:
        settings = config(broker.port, [template(PLAIN)], payload_max=64, protocol=protocol)
        async with running(settings) as rig:
            client = await broker.subscribed()
            stream = b""
            for qos in (0, 1, 2):
                stream += client.message(TOPIC, b"9" * LONG, qos=qos, mid=10 + qos)
                stream += client.message(TOPIC, b"2%d" % qos, qos=1, mid=20 + qos)
            if pieces == "whole":
                client.send(stream)
            else:
                await client.send_pieces(_cut(stream, random.Random(3), 40_000, first=12))
            await rig.have(6)
            assert rig.ledger == {"fused": 3, "overflow": 3}
            assert rig.signal("m").value == 22.0
            assert rig.source.messages == 6
            await client.until(lambda c: c.of(PUBCOMP), "the end of the QoS 2 exchange")
            assert client.acknowledged == [20, 11, 21, 22]
            assert [p.mid for p in client.of(PUBREC)] == [p.mid for p in client.of(PUBCOMP)] == [12]
            assert len(broker.connections) == 1


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_the_limit_of_a_payload_is_exact(qos: int) -> None:
    async with broker_double() as broker:
        async with running(config(broker.port, [template(PLAIN)], payload_max=64, qos=2)) as rig:
            client = await broker.subscribed()
            client.publish(TOPIC, b"%064d" % 20, qos=qos, mid=1)
            client.publish(TOPIC, b"%065d" % 21, qos=qos, mid=2)
            await rig.have(2)
            assert rig.ledger == {"fused": 1, "overflow": 1}
            assert rig.signal("m").value == 20.0


async def test_a_connection_lost_within_an_oversize_message_costs_the_next_one_nothing() -> None:
    async with broker_double() as broker, running(config(broker.port, [template(PLAIN)], payload_max=64)) as rig:
        client = await broker.subscribed()
        client.publish(TOPIC, b"20")
        client.send(client.message(TOPIC, b"9" * LONG)[:150_000])
        await rig.have(1)
        client.close()
        client = await broker.subscribed(1)
        client.publish(TOPIC, b"9" * LONG)
        client.publish(TOPIC, b"21")
        await rig.have(3)
        assert rig.ledger == {"fused": 2, "overflow": 1}


async def test_memory_is_bounded_through_a_huge_message() -> None:
    async with broker_double() as broker, running(config(broker.port, [template(PLAIN)])) as rig:
        client = await broker.subscribed()
        client.publish(TOPIC, b"20")
        await rig.have(1)
        block = bytes(1 << 16)
        head = client.message(TOPIC, b"")
        client.send(b"\x30" + variable(len(head) - 2 + 1000 * len(block)) + head[2:])
        tracemalloc.start()
        try:
            for _ in range(1000):
                await client.send_all(block)
            client.publish(TOPIC, b"21")
            await rig.have(3)
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()
        assert rig.ledger == {"fused": 2, "overflow": 1}


async def test_a_topic_alias_that_was_never_allowed() -> None:
    """An alias beside a topic does no harm; one in place of a topic leaves the message without any."""
    async with broker_double() as broker, running(config(broker.port, [template(PLAIN)])) as rig:
        client = await broker.subscribed()
        client.publish(TOPIC, b"20", properties=b"\x23\0\1")
        client.publish(b"", b"21", properties=b"\x23\0\1", qos=1, mid=7)
        client.publish(TOPIC, b"22")
        await rig.have(3)
        assert rig.ledger == {"fused": 2, "unmatched": 1}
        await client.until(lambda c: c.acknowledged == [7], "the acknowledgement")


async def test_topics_and_payloads_that_are_not_utf8() -> None:
    async with broker_double() as broker, running(config(broker.port, [template(JSON)], qos=2)) as rig:
        client = await broker.subscribed()
        for qos in (0, 1, 2):
            client.publish(b"plant/\xff\xfe/temp", b'{"v": 1, "t": 5}', qos=qos, mid=qos)
            client.publish(TOPIC, b'{"v": "\xff"}', qos=qos, mid=qos + 10)
        await rig.have(6)
        assert len(broker.connections) == 1
        assert sum(rig.ledger.values()) == 6


async def test_one_byte_at_a_time() -> None:
    async with broker_double() as broker, running(config(broker.port, [template(PLAIN)])) as rig:
        client = await broker.subscribed()
        stream = b"".join(client.message(TOPIC, b"%d" % k, qos=k % 3, mid=k + 1) for k in range(60))
        await client.send_pieces(stream[k : k + 1] for k in range(len(stream)))
        await rig.have(60)
        assert rig.ledger == {"fused": 60}
        await client.until(lambda c: len(c.of(PUBACK)) == 20 and len(c.of(PUBCOMP)) == 20, "acknowledgements")


@pytest.mark.parametrize("seed", range(4))
async def test_cut_anywhere_gives_what_one_piece_gives(seed: int) -> None:
    """2,000 packets of every sort, to one source in one piece and to another cut at random."""
    rng = random.Random(seed)
    print("seed", seed)
    protocol = rng.choice(["5", "3.1.1"])
    results = []
    packets = list(_mixture(rng, 2000))
    for cut in (False, True):
        async with broker_double() as broker:
            settings = config(broker.port, [template(JSON)], payload_max=2000, protocol=protocol, qos=2)
            async with running(settings) as rig:
                client = await broker.subscribed()
                stream = b"".join(client.message(topic, payload, **how) for topic, payload, how in packets)
                if cut:
                    await client.send_pieces(_cut(stream, rng, 3000))
                else:
                    await client.send_all(stream)
                await rig.have(2000)
                ends = sum(how["qos"] == 2 for _, _, how in packets)
                await client.until(lambda c, n=ends: len(c.of(PUBCOMP)) == n, "the QoS 2 exchanges")
                assert client.acknowledged == [how["mid"] for _, _, how in packets if how["qos"] == 1]
                results.append((rig.ledger, _states(rig)))
    assert results[0] == results[1]
    assert {"fused", "unmatched", "invalid", "overflow", "late_dropped"} <= set(results[0][0])


def _states(rig: Rig) -> dict[str, str]:
    """As text, in which NaN (a twin heard of, without a sample) equals itself and no digit is lost."""
    return {name: repr(rig.engine.estimate(name, None, 0).states) for name in rig.engine.names()}


def _cut(stream: bytes, rng: random.Random, longest: int, first: int = 1) -> Iterator[bytes]:
    at, size = 0, first
    while at < len(stream):
        yield stream[at : at + size]
        at, size = at + size, rng.choice([1, 2, rng.randint(1, 50), rng.randint(1, longest)])


def _mixture(rng: random.Random, count: int) -> Iterator[tuple[bytes, bytes, dict[str, Any]]]:
    """Messages of one sample each: known and unknown topics, good and bad payloads, some too long, some retained.

    QoS 2 ones have topics of their own: they overtake nothing, but are overtaken by what comes before their release.
    """
    for k in range(count):
        qos = rng.choice([0, 0, 1, 1, 1, 2])
        good = b'{"t": %d, "v": %.3f}' % (1_700_000_000 + k, rng.gauss(20, 1))
        payload = rng.choice([good] * 6 + [good.replace(b'"v"', b'"\\u0076"'), b"{}", b"", b'{"t": 1', b'{"v": 1}'])
        if rng.random() < 0.01:
            payload = b"9" * 80_000
        topic = rng.choice([TOPIC, b"plant/n%d/temp" % rng.randint(0, 30), b"who/knows/%d" % k, b"plant//temp"])
        if qos == 2:
            topic = topic.replace(b"plant/", b"plant/two")
            payload = payload if len(payload) < 2000 else good
        retain = payload == b'{"v": 1}' or rng.random() < 0.05
        yield topic, payload, {"qos": qos, "mid": k + 1, "retain": retain}


async def test_nobody_listens_where_the_broker_should_be() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), HOST, 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with running(config(port, [template(PLAIN)])) as rig:
        await eventually(lambda: rig.source.reconnects > 0, "a second attempt")
        assert "refused" in rig.source.last_error.lower()
