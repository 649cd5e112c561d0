"""Outbox → uplink → mosquitto → receiver → files, over broken brokers and restarts."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiomqtt
import pytest

from edgetwin.clock import SystemClock
from edgetwin.config.schema import MqttUplink as UplinkConfig
from edgetwin.receive.config import CsvStore, MqttFrames
from edgetwin.receive.mqtt import MqttFeed
from edgetwin.receive.receiver import Receiver
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.mqtt import MqttUplink
from edgetwin.uplink.outbox import Outbox
from tests.conftest import Broker
from tests.receive.build import frame, read, report_of, rows_of

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
async def receiving(broker: Broker, directory: Path, window: int = 256) -> AsyncIterator[Receiver]:
    """Stops in order: a last commit, then goodbye."""
    clock = SystemClock()
    with closing(Receiver(CsvStore(str(directory)), directory, clock)) as receiver:
        source = MqttFrames(url=broker.url, receive_maximum=window)
        feed = MqttFeed(source, receiver, clock, commit_every_s=0.02, backoff=backoff())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.run())
            async with asyncio.timeout(20):
                while not feed.up:  # it has subscribed: what is sent from now on is for it
                    await asyncio.sleep(0.01)
            yield receiver
            feed.stop()


async def stored(receiver: Receiver, frames: int, seconds: float = 20) -> None:
    """Return once so many frames have been stored."""
    async with asyncio.timeout(seconds):
        while receiver.counters.stored < frames:  # counters have no event
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
    async with sending(broker, outbox):
        put(outbox, 0, 20)
        async with receiving(broker, tmp_path / "s") as receiver:
            await stored(receiver, 10)
        put(outbox, 20, 40)
        await outbox.drained.wait()
        async with receiving(broker, tmp_path / "s") as receiver:
            while sum(last - first + 1 for first, last in receiver.received("g", outbox.epoch).ranges) < 40:
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
