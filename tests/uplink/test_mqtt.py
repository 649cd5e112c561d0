"""The MQTT uplink against a real broker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt
import pytest

from edgetwin.codec.frames import FrameGap, decode_frame
from edgetwin.config.schema import MqttUplink as Config
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.mqtt import MqttUplink
from edgetwin.uplink.outbox import Outbox
from tests.codec.build import report
from tests.conftest import Broker, free_port
from tests.uplink.build import fill, running

TOPIC = "edgetwin/g/frames"


def uplink(outbox: Outbox, url: str, **extra: object) -> MqttUplink:
    config = Config(url=url, **{"acknowledge": "broker"} | extra)  # type: ignore[arg-type]
    return MqttUplink(config, "g", outbox, backoff=Backoff(0.02, 0.1, random.Random(1)))


@asynccontextmanager
async def listening(broker: Broker, qos: int = 1) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", broker.port, timeout=5) as client:
        await client.subscribe(TOPIC, qos=qos)
        yield client


async def take(client: aiomqtt.Client, n: int) -> list[int]:
    """Sequence numbers of the next ``n`` frames."""
    found: list[int] = []
    async for message in client.messages:
        assert isinstance(message.payload, bytes)
        found.append(decode_frame(message.payload).seq)
        if len(found) == n:
            break
    return found


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_frames_go_out_in_order_and_leave_the_outbox(broker: Broker, protocol: str) -> None:
    outbox = Outbox("g", 1 << 24)
    fill(outbox, 50)
    async with listening(broker) as client, running(uplink(outbox, broker.url, protocol=protocol)) as way:
        assert await take(client, 50) == list(range(50))
        fill(outbox, 5)
        assert await take(client, 5) == list(range(50, 55))
        assert await way.drain(10)
        assert way.up and way.last_error == ""
        figures = {"sent": 55, "resent": 0, "acknowledged": 55, "failed": 0, "dropped": 0, "dead_lettered": 0}
        assert way.frames == figures
        assert way.bytes_total > 0 and way.backlog_bytes == 0
    assert not way.up


async def test_a_broker_that_is_not_there_is_tried_until_it_is(broker: Broker) -> None:
    broker.kill()
    outbox = Outbox("g", 1 << 24)
    fill(outbox, 20)
    async with running(uplink(outbox, broker.url, require_subscriber=False)) as way:
        assert not await way.drain(10)
        assert not way.up and "refused" in way.last_error.lower()
        assert len(outbox) == 20
        await asyncio.to_thread(broker.start)
        await outbox.drained.wait()
        assert way.frames["acknowledged"] == 20


async def test_a_broken_connection_repeats_what_was_not_acknowledged(broker: Broker) -> None:
    """A broker that swallows everything after the handshake is killed; the next one gets every frame."""
    outbox = Outbox("g", 1 << 24)
    fill(outbox, 40)
    got = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(bytes([0x20, 3, 0, 0, 0]))
        await reader.readexactly(5_000)
        got.set()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(swallow, "127.0.0.1", port)
    async with server, running(uplink(outbox, f"mqtt://127.0.0.1:{port}")) as way:
        await got.wait()
    assert len(outbox) == 40
    assert way.frames["sent"] == way.frames["failed"] > 0
    async with listening(broker) as client, running(uplink(outbox, broker.url)):
        assert await take(client, 40) == list(range(40))


async def test_frames_nobody_would_get_are_kept_until_somebody_listens(broker: Broker) -> None:
    outbox = Outbox("g", 1 << 24)
    fill(outbox, 30)
    async with running(uplink(outbox, broker.url)) as way:
        assert not await way.drain(10)
        assert len(outbox) == 30 and not way.up and "nobody" in way.last_error
        async with listening(broker) as client:
            assert sorted(await take(client, 30)) == list(range(30))
            await outbox.drained.wait()
            assert way.up and way.last_error == ""


async def test_a_frame_the_broker_cannot_take_becomes_a_gap(broker: Broker) -> None:
    broker.stop()
    with broker.config.open("a") as f:
        f.write("max_packet_size 2000\n")
    broker.start()
    outbox = Outbox("g", 1 << 24, epoch=7)
    outbox.put([report(twins=200)])
    fill(outbox, 1)
    async with listening(broker) as client, running(uplink(outbox, broker.url)) as way:
        assert await take(client, 1) == [1]
        outbox.put([report()])
        async for message in client.messages:
            assert decode_frame(bytes(message.payload)).gaps == (  # type: ignore[arg-type]
                FrameGap(7, 0, 0, "larger_than_the_broker_takes", 400),
            )
            break
        assert way.frames["dropped"] == way.frames["dead_lettered"] == 1


async def test_a_refused_frame_stays(broker: Broker) -> None:
    broker.stop()
    acl = broker.config.with_name("acl")
    acl.write_text("topic read #\n")
    with broker.config.open("a") as f:
        f.write(f"user root\nacl_file {acl}\n")  # else the file cannot be read when the tests run as root
    broker.start()
    outbox = Outbox("g", 1 << 24)
    fill(outbox, 2)
    async with running(uplink(outbox, broker.url)) as way:
        while "0x87" not in way.last_error:
            assert not await way.drain(10)
        assert len(outbox) == 2


async def test_a_missing_password_file_is_a_fault_of_the_link_not_of_the_daemon(broker: Broker) -> None:
    outbox = Outbox("g", 1 << 24)
    fill(outbox, 1)
    async with running(uplink(outbox, broker.url, password_file="nowhere")) as way:
        assert not await way.drain(10)
        assert "nowhere" in way.last_error


async def test_drain_keeps_its_deadline() -> None:
    outbox = Outbox("g", 1 << 24)
    fill(outbox, 1)
    port = free_port()
    mute = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with mute, running(uplink(outbox, f"mqtt://127.0.0.1:{port}")) as way:
        assert not await way.drain(0.05)
        assert len(outbox) == 1
