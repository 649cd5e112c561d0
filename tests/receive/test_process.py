"""`edgetwin receive` as a process: both stores, killed at any time, bad frames, signals."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from edgetwin.config.schema import MqttUplink as UplinkConfig
from edgetwin.sources.backoff import Backoff
from edgetwin.uplink.mqtt import MqttUplink
from edgetwin.uplink.outbox import Outbox
from tests.conftest import Broker, wait_until
from tests.receive.build import Place, Row, frame, put, read, report_of, rows_of
from tests.uplink.build import running

CONFIG = """
source: {{kind: mqtt, url: "{url}"}}
store: {{kind: {kind}, path: out, commit_every: 50ms}}
"""


class Cloud:
    """`edgetwin receive` as a process."""

    def __init__(self, folder: Path, url: str, kind: str = "csv") -> None:
        self.out = folder / "out"
        self.place = Place(kind, self.out)
        self.config = folder / "receiver.yaml"
        self.config.write_text(CONFIG.format(url=url, kind=kind))
        self.log = folder / "receiver.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start; returns when it is subscribed."""
        before = self._connections()
        command = [sys.executable, "-m", "edgetwin.cli.main", "receive", str(self.config), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env=dict(os.environ))
        wait_until(lambda: self._connections() > before, "the receiver to subscribe")

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def summary(self) -> dict[str, object]:
        """The last line of the log that tells the counters."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        found: dict[str, object] = [line for line in lines if line["event"] == "receiver_stopped"][-1]
        return found

    def rows(self) -> list[Row]:
        """The rows of the store, as states.csv has them."""
        return self.place.rows()

    def _connections(self) -> int:
        return self.log.read_text().count("receiver_connected") if self.log.exists() else 0


@pytest.fixture
def cloud(tmp_path: Path, broker: Broker) -> Iterator[Cloud]:
    made = Cloud(tmp_path, broker.url)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait(10)


def uplink(outbox: Outbox, url: str) -> AbstractAsyncContextManager[MqttUplink]:
    return running(MqttUplink(UplinkConfig(url=url), "g", outbox, backoff=Backoff(0.02, 0.2, random.Random(1))))


def publish(port: int, *messages: tuple[str, bytes]) -> None:
    """Each with QoS 1, in order; returns when the broker has acknowledged all."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for info in [client.publish(topic, payload, 1) for topic, payload in messages]:
        info.wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def expected(count: int) -> list[Row]:
    return rows_of([report_of(seq) for seq in range(count)])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
async def test_what_is_reported_is_stored(cloud: Cloud, broker: Broker, kind: str) -> None:
    cloud.config.write_text(CONFIG.format(url=broker.url, kind=kind))
    cloud.place = Place(kind, cloud.out)
    outbox = Outbox("g", 1 << 24)
    await asyncio.to_thread(cloud.start, "--idle-exit", "1s")
    async with uplink(outbox, broker.url) as way:
        put(outbox, 0, 60)
        assert await way.drain(20)
    assert cloud.process is not None
    assert await asyncio.to_thread(cloud.process.wait, 20) == 0
    assert cloud.rows() == expected(60)
    assert read(cloud.out / "gaps.csv") == []
    assert list(cloud.out.glob("*.partial")) == []


async def test_a_broker_that_restarts_in_the_middle_loses_nothing(cloud: Cloud, broker: Broker, tmp_path: Path) -> None:
    lasting = f"persistence true\npersistence_location {tmp_path}/\nuser root\n"
    broker.config.write_text(broker.config.read_text().replace("persistence false\n", lasting))
    await asyncio.to_thread(broker.stop)
    await asyncio.to_thread(broker.start)
    outbox = Outbox("g", 1 << 24)
    await asyncio.to_thread(cloud.start)
    async with uplink(outbox, broker.url):
        put(outbox, 0, 40)
        await asyncio.to_thread(wait_until, lambda: cloud.out.joinpath("states.csv").stat().st_size > 200, "first rows")
        await asyncio.to_thread(broker.stop)
        put(outbox, 40, 80)
        await asyncio.to_thread(broker.start)
        await empty(outbox)
        await asyncio.to_thread(wait_until, lambda: len(cloud.rows()) >= len(expected(80)), "all rows")
    assert await asyncio.to_thread(cloud.stop) == 0
    assert sorted(cloud.rows()) == sorted(expected(80))


async def empty(outbox: Outbox) -> None:
    """Wait longer than drain, which gives up after one failed attempt to connect."""
    async with asyncio.timeout(20):
        await outbox.drained.wait()


def test_killed_at_any_time_it_stores_everything_once(cloud: Cloud, broker: Broker) -> None:
    topic = "edgetwin/g/frames"
    cloud.start()
    for part in range(3):
        publish(broker.port, *[(topic, frame(seq)) for seq in range(part * 30, part * 30 + 30)])
        cloud.stop(signal.SIGKILL)
        cloud.start()
    wait_until(lambda: len(cloud.rows()) >= len(expected(90)), "all rows")
    assert cloud.stop() == 0
    assert cloud.rows() == expected(90)
    assert read(cloud.out / "gaps.csv") == []


def test_bad_frames_are_set_aside_and_duplicates_stored_once(cloud: Cloud, broker: Broker) -> None:
    topic = "edgetwin/g/frames"
    cloud.start("--idle-exit", "2s")
    publish(
        broker.port,
        (topic, frame(0)),
        (topic, frame(1)[:-9]),
        (topic, frame(1, gateway="another")),
        (topic, frame(0)),
        (topic, frame(1)),
    )
    assert cloud.process is not None and cloud.process.wait(20) == 0
    assert cloud.rows() == expected(2)
    summary = cloud.summary()
    assert (summary["stored"], summary["duplicates"], summary["dead"]) == (2, 1, 2)
    reasons = [json.loads(p.read_bytes())["reason"] for p in sorted(cloud.out.glob("dead-letters/*.json"))]
    assert "damaged" in reasons[0] and "'another'" in reasons[1]


def test_sigint_ends_it_well_and_a_second_one_is_refused(cloud: Cloud, broker: Broker) -> None:
    cloud.start()
    command = [sys.executable, "-m", "edgetwin.cli.main", "receive", str(cloud.config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (second.returncode, "in use" in second.stderr) == (1, True)
    assert cloud.stop(signal.SIGINT) == 130


def test_a_fault_of_the_file_is_located(tmp_path: Path) -> None:
    path = tmp_path / "receiver.yaml"
    path.write_text("source: {kind: mqtt, url: mqtt://h, topic: a/#}\nstore: {kind: csv, path: out}\n")
    command = [sys.executable, "-m", "edgetwin.cli.main", "receive", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert f"{path}:1:44: source.topic: the topic has too many wildcards" in done.stderr
