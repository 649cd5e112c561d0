"""Acknowledgements of QoS 1: all of them, in order, and never inside another packet."""

from __future__ import annotations

import asyncio
import time

import pytest

from edgetwin.engine import Engine
from edgetwin.sources.mqtt import datapath
from tests.conftest import Broker
from tests.sources.broker_double import PINGREQ, SUBSCRIBE, UNSUBSCRIBE, Connection, Packet, broker_double, politely
from tests.sources.mqtt_rig import PLAIN, Sent, config, eventually, publish_all, running, template


def never_a_pong(connection: Connection, packet: Packet) -> bytes:
    return b"" if packet.kind == PINGREQ else politely(connection, packet)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_window_of_twenty_never_stalls(broker: Broker, protocol: str) -> None:
    broker.stop()
    broker.config.write_text(broker.config.read_text().replace("max_inflight_messages 0", "max_inflight_messages 20"))
    broker.start()
    settings = config(broker.port, [template(PLAIN)], protocol=protocol, receive_maximum=20)
    async with running(settings) as rig:
        await rig.up()
        await publish_all(broker.port, [Sent("plant/m/temp", b"%d" % k) for k in range(5000)])
        await rig.have(5000)
        assert rig.ledger == {"fused": 5000}
        assert rig.signal("m").value == 4999.0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_every_message_is_acknowledged_once_and_in_order(protocol: str) -> None:
    """Known and unknown topics, bad payloads and slow ones; over QoS 0 messages in between."""
    kinds = [(b"plant/m/temp", b"20"), (b"who/knows", b"1"), (b"plant/m/temp", b"hot"), (b"plant/new%d/temp", b"1")]
    async with (
        broker_double(receive_buffer=4096) as broker,
        running(config(broker.port, [template(PLAIN)], protocol=protocol)) as rig,
    ):
        client = await broker.subscribed()
        stream = bytearray()
        for k in range(60_000):
            topic, payload = kinds[k % 4]
            topic = topic % (k % 40) if b"%" in topic else topic
            stream += client.message(topic, payload, qos=1, mid=k + 1)
            stream += client.message(topic, payload) if k % 5 == 0 else b""
        await client.send_all(bytes(stream))
        await client.until(lambda c: len(c.acknowledged) >= 60_000, "all acknowledgements")
        assert client.acknowledged == list(range(1, 60_001))
        assert rig.received == rig.source.messages == 72_000
        assert set(rig.ledger) == {"fused", "unmatched", "invalid"}


async def test_packets_of_the_session_are_never_torn_by_acknowledgements() -> None:
    """Pings each second and changing subscriptions through a burst to a broker whose window is small, so that the
    client's writes are cut anywhere; the double parses strictly all that comes."""
    other = template({"x": {**PLAIN["x"], "topic": "b/{machine}"}}, "b-{machine}")
    async with broker_double(receive_buffer=4096) as broker:
        settings = [config(broker.port, twins, keepalive=1) for twins in ([template(PLAIN)], [template(PLAIN), other])]
        async with running(settings[0]) as rig:
            client = await broker.subscribed()
            block = b"".join(client.message(b"plant/m/temp", b"20", qos=1, mid=k + 1) for k in range(20_000))
            blocks = 0
            while len(client.of(PINGREQ)) < 2:
                await client.send_all(block)
                blocks += 1
                rig.source.attach(Engine(settings[blocks % 2]))
                await client.until(lambda c: len(c.acknowledged) >= 20_000 * (blocks - 1), "acknowledgements")
            await client.until(lambda c: len(c.acknowledged) == 20_000 * blocks, "all acknowledgements")
            assert client.acknowledged == list(range(1, 20_001)) * blocks
            assert len(broker.connections) == 1
            assert len(client.of(SUBSCRIBE)) > 1
            assert len(client.of(UNSUBSCRIBE)) > 0


async def test_pings_answered_late_do_not_end_a_session_that_brings_data() -> None:
    """The PINGRESP stands behind the backlog in the stream; what arrives meanwhile proves that the broker lives."""

    async with broker_double(never_a_pong) as broker:
        async with running(config(broker.port, [template(PLAIN)], keepalive=1)) as rig:
            client = await broker.subscribed()
            while not client.of(PINGREQ):
                client.publish(b"plant/m/temp", b"20")
                await asyncio.sleep(0.02)
            for k in range(100):  # acknowledgements keep paho from asking again
                client.publish(b"plant/m/temp", b"20", qos=1, mid=k + 1)
                await asyncio.sleep(0.025)
            await client.until(lambda c: len(c.acknowledged) == 100, "acknowledgements")
            assert len(broker.connections) == 1
            # And when it falls silent it is given up.
            await eventually(lambda: client.closed.is_set(), "the client to hang up")
            assert set(rig.ledger) == {"fused"}


async def test_a_loop_too_busy_to_read_is_no_silence_of_the_broker() -> None:
    """Blocked for longer than the keepalive again and again, with a ping unanswered and bytes in the socket."""
    async with (
        broker_double(never_a_pong) as broker,
        running(config(broker.port, [template(PLAIN)], keepalive=1)) as rig,
    ):
        client = await broker.subscribed()
        await client.until(lambda c: c.of(PINGREQ), "a ping")
        for k in range(6):
            client.publish(b"plant/m/temp", b"20", qos=1, mid=k + 1)
            time.sleep(1.1)  # noqa: ASYNC251 (the fault: nothing else runs)
            await asyncio.sleep(0)
        await client.until(lambda c: len(c.acknowledged) == 6, "acknowledgements")
        assert rig.source.up
        assert len(broker.connections) == 1


async def test_a_process_that_was_stopped_waits_out_the_answer_to_its_ping() -> None:
    """Nothing waits in the socket when it goes on: what it asked, or the answer, is still on its way."""
    async with (
        broker_double(never_a_pong) as broker,
        running(config(broker.port, [template(PLAIN)], keepalive=3)) as rig,
    ):
        client = await broker.subscribed()
        await client.until(lambda c: c.of(PINGREQ), "a ping")
        time.sleep(4.0)  # noqa: ASYNC251 (as SIGSTOP, for longer than the keepalive)
        await asyncio.sleep(1.0)  # the answer's way
        assert rig.source.up
        broker.answer = politely
        client.send(b"\xd0\0")
        await client.until(lambda c: len(c.of(PINGREQ)) >= 2, "the next ping")
        assert len(broker.connections) == 1


async def test_a_broker_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datapath, "ACK_BYTES_MAX", 100_000)
    stop = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=65_536)
        await reader.read(1000)
        writer.write(b"\x20\x03\0\0\0")
        head = await reader.read(4)
        writer.write(b"\x90\x04" + head[2:4] + b"\0\1")
        connection = Connection(reader, writer)
        block = b"".join(connection.message(b"plant/m/temp", b"1", qos=1, mid=k + 1) for k in range(10_000))
        try:
            while True:
                writer.write(block)
                await writer.drain()
        except OSError:
            stop.set()
        finally:
            writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    async with server, running(config(server.sockets[0].getsockname()[1], [template(PLAIN)])) as rig:
        await asyncio.wait_for(stop.wait(), 30)
        await eventually(lambda: "acknowledgements" in rig.source.last_error, "the reason")
        assert rig.engine.ledger.balanced()
