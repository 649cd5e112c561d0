"""Outbox → uplink → mosquitto → receiver → files, over broken brokers and restarts."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from edgetwin.clock import SystemClock
from edgetwin.codec.acks import Ack, acks_topic, decode_ack
from edgetwin.codec.frames import FrameGap
from edgetwin.config.schema import MqttUplink as UplinkConfig
from edgetwin.receive.config import MqttFrames
from edgetwin.receive.mqtt import MqttFeed
from edgetwin.receive.pipeline import Pipeline
from edgetwin.receive.receiver import Receiver
from edgetwin.receive.share import WHOLE, Share, share_of
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.mqtt import MqttUplink
from edgetwin.uplink.outbox import Outbox
from tests.conftest import Broker
from tests.receive.build import Place, frame, read, report_of, rows_of

TOPIC = "edgetwin/g/frames"


def backoff() -> Backoff:
    return Backoff(0.02, 0.2, random.Random(1))


def put(outbox: Outbox, first: int, last: int) -> None:
    for seq in range(first, last):
        outbox.put([report_of(seq)])


@asynccontextmanager
async def sending(broker: Broker, outbox: Outbox) -> AsyncIterator[MqttUplink]:
    uplink = MqttUplink(UplinkConfig(url=broker.url), "g", outbox, backoff=backoff())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(uplink.run())
        yield uplink
        task.cancel()


@asynccontextmanager
async def receiving(
    broker: Broker, directory: Path, window: int = 256, share: Share = WHOLE
) -> AsyncIterator[Receiver]:
    """Stops in order: a last commit, then goodbye."""
    receiver = Place("csv", directory).open(share)
    pipeline = Pipeline(receiver, SystemClock(), commit_every_s=0.02, backoff=backoff())
    feed = MqttFeed(MqttFrames(url=broker.url, receive_maximum=window), pipeline, backoff=backoff())
    async with asyncio.TaskGroup() as outer:
        outer.create_task(pipeline.run())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.run())
            async with asyncio.timeout(20):
                while not feed.up:  # it has subscribed: what is sent from now on is for it
                    await asyncio.sleep(0.01)
            yield receiver
            feed.stop()
        pipeline.stop()


async def stored(receiver: Receiver, frames: int, seconds: float = 20) -> None:
    """Return once so many frames have been stored."""
    async with asyncio.timeout(seconds):
        while receiver.counters.stored < frames:  # counters have no event
            await asyncio.sleep(0.01)


async def on_the_broker(uplink: MqttUplink, frames: int) -> None:
    """Return once so many frames were sent and the broker has taken them all."""
    async with asyncio.timeout(20):
        while uplink.frames["sent"] < frames or uplink.schedule.flight:
            await asyncio.sleep(0.01)


def rows(directory: Path) -> list[tuple[str, ...]]:
    return read(directory / "states.csv")


def expected(n: int) -> list[tuple[str, ...]]:
    return rows_of([report_of(seq) for seq in range(n)])


@pytest.mark.parametrize("window", [1, 256])
async def test_the_store_equals_the_reports(broker: Broker, tmp_path: Path, window: int) -> None:
    outbox = Outbox("g", 1 << 24)
    put(outbox, 0, 60)
    async with receiving(broker, tmp_path / "s", window) as receiver, sending(broker, outbox):
        await stored(receiver, 60)
        await outbox.drained.wait()
    assert rows(tmp_path / "s") == expected(60)
    assert read(tmp_path / "s" / "gaps.csv") == []


async def test_a_broker_killed_in_the_middle_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    outbox = Outbox("g", 1 << 24)
    put(outbox, 0, 30)
    async with receiving(broker, tmp_path / "s") as receiver, sending(broker, outbox):
        await stored(receiver, 30)
        await outbox.drained.wait()
        await asyncio.to_thread(broker.kill)
        put(outbox, 30, 60)
        await asyncio.to_thread(broker.start)
        await stored(receiver, 60)
    assert Counter(rows(tmp_path / "s")) == Counter(expected(60))


async def test_a_durable_broker_restarted_under_load_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    broker.stop()
    text = broker.config.read_text().replace("persistence false", "persistence true")
    broker.config.write_text(f"{text}persistence_location {tmp_path}/\nuser root\n")
    broker.start()
    outbox = Outbox("g", 1 << 24)
    put(outbox, 0, 300)
    async with receiving(broker, tmp_path / "s", 4) as receiver, sending(broker, outbox):
        await stored(receiver, 20)
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        await stored(receiver, 300)
    assert Counter(rows(tmp_path / "s")) == Counter(expected(300))


async def test_a_receiver_that_was_away_gets_the_rest_once(broker: Broker, tmp_path: Path) -> None:
    outbox = Outbox("g", 1 << 24)
    async with sending(broker, outbox) as uplink:
        put(outbox, 0, 20)
        async with receiving(broker, tmp_path / "s") as receiver:
            await stored(receiver, 10)
        put(outbox, 20, 40)
        await on_the_broker(uplink, 40)
        async with receiving(broker, tmp_path / "s") as receiver:
            await outbox.drained.wait()
            while (ack := receiver.ack("g")) is None or ack.through < 39:
                await asyncio.sleep(0.01)
    assert Counter(rows(tmp_path / "s")) == Counter(expected(40))


async def test_duplicates_are_stored_once_and_a_cut_frame_stops_nothing(broker: Broker, tmp_path: Path) -> None:
    async with receiving(broker, tmp_path / "s") as receiver, aiomqtt.Client("127.0.0.1", broker.port) as client:
        while not await _heard(client, receiver):  # until the receiver has subscribed
            await asyncio.sleep(0.01)
        for payload in (frame(1), frame(1), frame(2)[:-9], frame(2), frame(1)):
            await client.publish(TOPIC, payload, qos=1)
        await stored(receiver, 3)
        await client.publish(TOPIC, frame(9, gateway="other"), qos=1)
        await client.publish(TOPIC, frame(3), qos=0)
        await stored(receiver, 4)
    assert rows(tmp_path / "s") == expected(4)
    assert receiver.counters.duplicates >= 2
    dead = sorted((tmp_path / "s" / "dead-letters").glob("*.frame"))
    assert [p.read_bytes() for p in dead] == [frame(2)[:-9], frame(9, gateway="other")]


async def _heard(client: aiomqtt.Client, receiver: Receiver) -> bool:
    """Publish the first frame; whether anybody was there to get it."""
    await client.publish(TOPIC, frame(0), qos=1)
    return receiver.counters.stored > 0


# ---- acknowledgements to gateways


async def next_ack(client: aiomqtt.Client, holds: Callable[[Ack], bool]) -> Ack:
    """The first acknowledgement that satisfies."""
    async with asyncio.timeout(20):
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            if holds(ack := decode_ack(message.payload)):
                return ack
    raise AssertionError


async def test_gateways_are_told_what_is_durable_and_what_is_missing(broker: Broker, tmp_path: Path) -> None:
    async with receiving(broker, tmp_path / "s"), aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe("edgetwin/g/acks", qos=1)
        for seq in (0, 1, 4):
            await client.publish(TOPIC, frame(seq), qos=1)
        ack = await next_ack(client, lambda a: a.resend != ())
        assert ack == Ack("g", 7, 1, ((2, 3),))
        assert rows(tmp_path / "s") == rows_of([report_of(seq) for seq in (0, 1, 4)])
        await client.publish(TOPIC, frame(5, gaps=[FrameGap(7, 2, 3, "outbox_full")]), qos=1)
        assert (await next_ack(client, lambda a: a.resend == ())).through == 5
        await client.publish(TOPIC, frame(1), qos=1)  # a repeat is answered too
        assert (await next_ack(client, lambda _: True)).through == 5
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:  # retained: whoever connects learns it at once
        await client.subscribe("edgetwin/+/acks", qos=1)
        assert (await next_ack(client, lambda _: True)).through == 5


async def test_a_broker_that_has_forgotten_is_told_again(broker: Broker, tmp_path: Path) -> None:
    async with receiving(broker, tmp_path / "s") as receiver:
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish(TOPIC, frame(0), qos=1)
            await stored(receiver, 1)
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.subscribe("edgetwin/g/acks", qos=1)
            assert (await next_ack(client, lambda _: True)).through == 0


def test_the_topic_of_acknowledgements() -> None:
    assert acks_topic("edgetwin/plant-7/frames") == "edgetwin/plant-7/acks"
    assert acks_topic("site/a") == "site/a/acks"


async def test_each_of_several_receivers_has_its_share(broker: Broker, tmp_path: Path) -> None:
    gateways = [f"g{n}" for n in range(8)]
    mine = [[g for g in gateways if share_of(g, 2) == index] for index in (0, 1)]
    assert all(mine)
    async with (
        receiving(broker, tmp_path / "0", share=Share(0, 2)) as zero,
        receiving(broker, tmp_path / "1", share=Share(1, 2)) as one,
        aiomqtt.Client("127.0.0.1", broker.port) as client,
    ):
        await client.subscribe("edgetwin/+/acks", qos=1)
        for gateway in gateways:
            await client.publish(f"edgetwin/{gateway}/frames", frame(0, gateway=gateway), qos=1)
        await stored(zero, len(mine[0]))
        await stored(one, len(mine[1]))
        told = {(await next_ack(client, lambda _: True)).gateway for _ in gateways}
        async with asyncio.timeout(20):
            while zero.counters.foreign < len(mine[1]):
                await asyncio.sleep(0.01)
    assert told == set(gateways)
    for index in (0, 1):
        assert {row[0] for row in rows(tmp_path / str(index))} == set(mine[index])


# ---- the command


def config(tmp_path: Path, broker: Broker, extra: str = "") -> Path:
    path = tmp_path / "receiver.yaml"
    path.write_text(
        f"source: {{kind: mqtt, url: '{broker.url}'}}\nstore: {{kind: csv, path: store, commit_every: 50ms}}\n{extra}"
    )
    return path


def start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgetwin.cli.main", "receive", str(path)], stderr=subprocess.PIPE, env=dict(os.environ)
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_the_command_stops_cleanly_on_a_signal(
    broker: Broker, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start(config(tmp_path, broker))
    outbox = Outbox("g", 1 << 24)
    put(outbox, 0, 10)
    async with sending(broker, outbox):
        await outbox.drained.wait()
    process.send_signal(number)
    _, errors = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == code, errors.decode()
    again = start(config(tmp_path, broker, "idle_exit: 1s\n"))
    _, errors = await asyncio.to_thread(again.communicate, timeout=30)
    assert again.returncode == 0, errors.decode()
    assert rows(tmp_path / "store") == expected(10)


async def test_the_command_refuses_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "receiver.yaml"
    path.write_text("source: {kind: mqtt, url: 'http://x'}\nstore: {kind: csv, path: s, colour: blue}\n")
    process = start(path)
    _, errors = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 2
    assert b"receiver.yaml:2:" in errors and b"colour" in errors
