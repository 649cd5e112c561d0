"""The MQTT uplink when a receiver acknowledges: over mosquitto, with TLS, proxies and lies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from edgetwin.codec.acks import Ack, acks_topic, encode_ack
from edgetwin.codec.frames import decode_frame
from edgetwin.config.schema import MqttUplink as Config
from edgetwin.config.schema import Tls
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.mqtt.client import Client
from edgetwin.uplink.mqtt import MqttUplink
from edgetwin.uplink.outbox import Outbox
from edgetwin.uplink.schedule import LAG_FRAMES
from tests.conftest import Broker, free_port, wait_for_port
from tests.uplink.build import fill, filled, running, until
from tests.uplink.cloud import Cloud
from tests.uplink.tunnels import TunnelProxy

FRAMES, ACKS = "edgetwin/g/frames", "edgetwin/g/acks"


def uplink(outbox: Outbox, url: str, base: Path = Path(), **extra: object) -> MqttUplink:
    config = Config(url=url, **extra)  # type: ignore[arg-type]
    return MqttUplink(config, "g", outbox, base=base, backoff=Backoff(0.02, 0.1, random.Random(1)))


Answer = Callable[[Cloud, int], Ack | None]


@asynccontextmanager
async def receiving(
    broker: Broker, cloud: Cloud, answer: Answer | None = None, lose: Callable[[int], bool] = lambda _: False
) -> AsyncIterator[aiomqtt.Client]:
    """A receiver: stores frames and answers each; ``lose`` says which sequence numbers never reached it."""

    async def receive(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            frame = decode_frame(message.payload)
            if lose(frame.seq):
                continue
            cloud.store(frame)
            ack = cloud.ack(frame.epoch) if answer is None else answer(cloud, frame.epoch)
            if ack is not None:
                await client.publish(ACKS, encode_ack(ack), qos=1, retain=True)

    async with Client("127.0.0.1", broker.port, timeout=5) as client, asyncio.TaskGroup() as tasks:
        await client.subscribe(FRAMES, qos=1)
        task = tasks.create_task(receive(client))
        yield client
        task.cancel()


def test_where_acknowledgements_are() -> None:
    assert acks_topic("edgetwin/g/frames") == "edgetwin/g/acks"
    assert acks_topic("cells/g/up") == "cells/g/up/acks"
    assert acks_topic("frames") == "frames/acks"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_frames_leave_when_the_receiver_has_them(broker: Broker, protocol: str) -> None:
    cloud, outbox = Cloud(), filled(50)
    async with receiving(broker, cloud), running(uplink(outbox, broker.url, protocol=protocol)) as way:
        await outbox.drained.wait()
        fill(outbox, 5)
        assert await way.drain(10)
        assert way.up and way.frames["acknowledged"] == 55 and way.frames["resent"] == 0
        assert way.ack_latency.counts.sum() > 0
    assert cloud.received == list(range(55))


async def test_the_broker_alone_deletes_nothing_and_the_retained_answer_frees_it_after_a_restart(
    broker: Broker,
) -> None:
    cloud, outbox = Cloud(), filled(10)
    async with receiving(broker, cloud, answer=lambda *_: None) as client:
        async with running(uplink(outbox, broker.url)) as way:
            await until(lambda: len(cloud.received) == 10 and way.schedule.flight == 0)
            assert len(outbox) == 10 and way.up
        await client.publish(ACKS, encode_ack(cloud.ack(7)), qos=1, retain=True)
        async with running(uplink(outbox, broker.url)):
            await outbox.drained.wait()
    assert len(set(cloud.received)) == 10


async def test_nobody_acknowledges_and_the_operator_is_told(broker: Broker) -> None:
    """A plain broker behind which a program reads frames, but acknowledge: broker was forgotten."""
    cloud, outbox = Cloud(), filled(10)
    async with receiving(broker, cloud, answer=lambda *_: None) as client:
        async with running(uplink(outbox, broker.url, ack_timeout=0.3)) as way:
            await until(lambda: way.errors["unanswered"] == 2)
            assert not way.up and "nobody acknowledges" in way.last_error
            assert len(outbox) == 10 and cloud.received.count(0) >= 2
            assert all(cloud.received.count(n) == 1 for n in range(1, 10)), "one frame asks again, not all"
            await client.publish(ACKS, encode_ack(cloud.ack(7)), qos=1, retain=True)
            await outbox.drained.wait()
            assert way.up and way.last_error == ""


async def test_frames_lost_behind_the_broker_are_sent_again(broker: Broker) -> None:
    cloud, outbox = Cloud(), filled(20)
    lost = {5, 6, 11}

    def lose(seq: int) -> bool:
        if seq in lost:
            lost.remove(seq)
            return True
        return False

    async with receiving(broker, cloud, lose=lose), running(uplink(outbox, broker.url, ack_timeout=3)) as way:
        await outbox.drained.wait()
        assert way.frames["resent"] >= 3
    assert sorted(set(cloud.received)) == list(range(20))


async def test_after_an_outage_live_frames_go_first_and_all_arrive(broker: Broker) -> None:
    cloud, outbox = Cloud(), filled(8 * LAG_FRAMES)
    backlog = len(outbox)
    async with receiving(broker, cloud), running(uplink(outbox, broker.url, bandwidth=40_000)) as way:
        await cloud.until(lambda: cloud.frames)
        fill(outbox, 1)
        await cloud.until(lambda: backlog in cloud.received)
        assert len(cloud.received) < backlog / 2, "the live frame did not wait for the backlog"
        way.schedule.budget.bytes_per_s = None  # a better link
        await outbox.drained.wait()
    assert sorted(cloud.received) == list(range(backlog + 1))
    old = [seq for seq in cloud.received if seq < backlog]
    assert old == sorted(old)


async def test_lies_free_nothing(broker: Broker) -> None:
    cloud, outbox = Cloud(), filled(5)
    lies = [
        b"",
        b"\xff" * 100_000,
        encode_ack(Ack("other", 7, 4)),
        encode_ack(Ack("g", 8, 4)),
        encode_ack(Ack("g", 7, 5)),
        encode_ack(Ack("g", 7, 2**64 - 1, ((0, 2**64 - 1),), True)),
        encode_ack(Ack("g", 7, 2)),
        encode_ack(Ack("g", 7, 1)),
        encode_ack(Ack("g", 7, -1)),
    ]
    async with receiving(broker, cloud, answer=lambda *_: None) as client:
        async with running(uplink(outbox, broker.url)) as way:
            await until(lambda: len(cloud.received) == 5 and way.schedule.flight == 0)
            for lie in lies:
                await client.publish(ACKS, lie, qos=1)
            await until(lambda: way.acks_ignored["backward"] == 2)
            ignored = {"malformed": 2, "other_gateway": 1, "other_epoch": 1, "future": 2, "backward": 2}
            assert way.acks_ignored == ignored
            assert [q.key[1] for q in outbox] == [3, 4] and way.up


async def test_a_broker_that_forgets_everything_loses_nothing(broker: Broker) -> None:
    """Killed with frames that it has acknowledged: the receiver's silence brings them again."""
    cloud, outbox = Cloud(), filled(30)
    async with running(uplink(outbox, broker.url, require_subscriber=False, ack_timeout=0.5)) as way:
        await until(lambda: way.frames["sent"] >= 30 and way.schedule.flight == 0)
        broker.kill()
        await asyncio.to_thread(broker.start)
        async with receiving(broker, cloud):
            await outbox.drained.wait()
    assert sorted(set(cloud.received)) == list(range(30))


async def test_flaps_of_the_link(broker: Broker) -> None:
    """Every connection is cut after a while by a relay; nothing is lost, and little comes twice."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    cloud, outbox, flaps = Cloud(), filled(400), 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal flaps
        there_reader, there = await asyncio.open_connection("127.0.0.1", broker.port)
        left = rng.randrange(2_000, 30_000)

        async def up() -> None:
            nonlocal left
            while left > 0 and (data := await reader.read(min(left, 4_096))):
                left -= len(data)
                there.write(data)

        async def down() -> None:
            while data := await there_reader.read(4_096):
                writer.write(data)

        ways = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            flaps += 1
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            there.transport.abort()
            writer.transport.abort()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with receiving(broker, cloud), server:
        async with running(uplink(outbox, f"mqtt://127.0.0.1:{port}")) as way:
            async with asyncio.timeout(30):
                await outbox.drained.wait()
            assert way.errors["lost"] > 2
    assert sorted(set(cloud.received)) == list(range(400))
    assert len(cloud.received) - 400 <= 32 * flaps


# ---- TLS, credentials, proxies


@asynccontextmanager
async def secured(broker: Broker, folder: Path, name: str = "server", *, mutual: bool = False) -> AsyncIterator[int]:
    """Gives a port of the broker with TLS."""
    broker.stop()
    port = free_port()
    lines = f"listener {port} 127.0.0.1\ncertfile {folder}/{name}.pem\nkeyfile {folder}/{name}.key\n"
    if mutual:
        lines += f"cafile {folder}/ca.pem\nrequire_certificate true\n"
    # Where the tests run as root mosquitto would become another user, who may not read the key.
    broker.config.write_text("user root\n" + broker.config.read_text() + lines)
    await asyncio.to_thread(broker.start)
    await asyncio.to_thread(wait_for_port, port)
    yield port


@pytest.mark.parametrize(
    ("server", "ca", "why"),
    [
        ("server", "other", "self-signed|unable to get local issuer"),
        ("elsewhere", "ca", "IP address mismatch"),
        ("expired", "ca", "certificate has expired"),
    ],
)
async def test_a_certificate_that_does_not_fit_gets_no_frame(
    broker: Broker, authority: Path, server: str, ca: str, why: str
) -> None:
    cloud, outbox = Cloud(), filled(5)
    async with secured(broker, authority, server) as port, receiving(broker, cloud):
        async with running(uplink(outbox, f"mqtts://127.0.0.1:{port}", authority, tls=Tls(ca=f"{ca}.pem"))) as way:
            await until(lambda: way.errors["certificate"] >= 2)
            assert not way.up and any(part in way.last_error for part in why.split("|")), way.last_error
            assert way.frames["sent"] == way.bytes_total == 0
    assert cloud.received == [] and len(outbox) == 5


async def test_a_broker_that_wants_a_client_certificate_gets_no_frame_without(broker: Broker, authority: Path) -> None:
    outbox = filled(5)
    async with secured(broker, authority, mutual=True) as port:
        async with running(uplink(outbox, f"mqtts://127.0.0.1:{port}", authority, tls=Tls(ca="ca.pem"))) as way:
            await until(lambda: way.errors["tls"] >= 2)
            assert not way.up and way.frames["sent"] == 0


async def test_mutual_tls_through_a_proxy(broker: Broker, authority: Path) -> None:
    cloud, outbox, proxy = Cloud(), filled(20), TunnelProxy()
    tls = Tls(ca="ca.pem", cert="client.pem", key="client.key")
    async with secured(broker, authority, mutual=True) as port, proxy.serving() as there, receiving(broker, cloud):
        way = uplink(outbox, f"mqtts://127.0.0.1:{port}", authority, tls=tls, proxy=f"http://127.0.0.1:{there}")
        async with running(way):
            await outbox.drained.wait()
    assert cloud.received == list(range(20)) and proxy.targets == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (None, "status 407"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "status 403"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak HTTP"),
        (b"x" * 40_000, "no answer"),
        (b"HTTP/1.1 200 OK\r\n", "no answer"),
    ],
)
async def test_a_proxy_that_refuses_is_named_as_the_fault(broker: Broker, answer: bytes | None, part: str) -> None:
    outbox, proxy = filled(1), TunnelProxy("Basic other", answer)
    async with proxy.serving() as there:
        async with running(uplink(outbox, broker.url, proxy=f"http://me:x@127.0.0.1:{there}")) as way:
            await until(lambda: way.errors["proxy"] >= 2)
            assert part in way.last_error and len(outbox) == 1
    async with running(uplink(outbox, broker.url, proxy=f"http://127.0.0.1:{free_port()}")) as way:
        await until(lambda: way.errors["proxy"] >= 1)
        assert "cannot be reached" in way.last_error


async def test_credentials_refused(broker: Broker) -> None:
    broker.stop()
    broker.config.write_text(broker.config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    await asyncio.to_thread(broker.start)
    outbox = filled(3)
    for protocol in ("5", "3.1.1"):
        config = {"username": "me", "password": "wrong", "protocol": protocol}
        async with running(uplink(outbox, broker.url, **config)) as way:
            await until(lambda: way.errors["credentials"] >= 2)
            assert not way.up and way.frames["sent"] == 0 and len(outbox) == 3
