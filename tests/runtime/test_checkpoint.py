"""The daemon's state directory: full, not to be written, damaged, another's; and reloads between checkpoints."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from edgetwin.config.load import load
from edgetwin.errors import ConfigError, JournalError, JournalLockedError
from edgetwin.runtime.checkpoint import Positions
from edgetwin.runtime.daemon import Daemon
from tests.conftest import Broker

T0 = 1_700_000_000
CONFIG = """\
gateway: g
state_dir: {state}
journal: {{every: 100ms, bytes_max: 8388608}}
sources: [{{name: plant, kind: mqtt, url: "{url}", client_id: g-plant}}]
twins:
  - name: "{{machine}}"
    model: random_walk
    signals: {{x: {{source: plant, topic: "plant/{{machine}}", value: $.v, time: $.t, noise: 1}}}}
    report: {{every: 100ms}}
uplink: {{kind: mqtt, url: "mqtt://127.0.0.1:1", every: 200ms}}
http: null
"""


@asynccontextmanager
async def gateway(broker: Broker, folder: Path, state: str = "./state") -> AsyncIterator[Daemon]:
    """A daemon that is connected, and stopped at the end."""
    path = folder / "g.yaml"
    path.write_text(CONFIG.format(url=broker.url, state=state))
    daemon = Daemon(path, load(path))
    running = asyncio.ensure_future(daemon.run())
    try:
        await until(lambda: running.done() or (daemon.sources and daemon.sources[0].up), 300)
        if running.done():
            await running
        yield daemon
    finally:
        daemon.stop()
        await asyncio.wait([running])
    running.result()


async def until(holds: Callable[[], object], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB; skipped without the right to mount."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(where)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def fill(disk: Path) -> Path:
    """Fill a file system to the last block, as others do; the file that takes the room."""
    junk = disk / "junk"
    with junk.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return junk


class Plant:
    """Samples of one machine, a second apart."""

    def __init__(self, broker: Broker) -> None:
        self.sent = 0
        self._port = broker.port

    async def publish(self, n: int) -> None:
        async with aiomqtt.Client("127.0.0.1", self._port) as client:
            for _ in range(n):
                self.sent += 1
                payload = json.dumps({"t": T0 + self.sent, "v": float(self.sent % 7)})
                await client.publish("plant/m", payload, qos=1)

    def used(self, daemon: Daemon) -> bool:
        """Whether every sample so far has been fused, once."""
        return int(daemon.engine.ledger.counts[0, 0]) == self.sent


async def test_state_goes_on_over_a_stop_and_a_reload(broker: Broker, tmp_path: Path) -> None:
    plant = Plant(broker)
    async with gateway(broker, tmp_path) as daemon:
        await plant.publish(20)
        await until(lambda: plant.used(daemon))
        text = daemon.path.read_text()
        daemon.path.write_text(text.replace("noise: 1", "noise: 2"))
        before = daemon.engine
        daemon._reload_wanted.set()
        await until(lambda: daemon.engine is not before)
        await plant.publish(20)
        await until(lambda: plant.used(daemon))
        before_stop = daemon.engine.estimate("m", None, 0)
        (tmp_path / "kept.yaml").write_text(daemon.path.read_text())
    again = Daemon(tmp_path / "kept.yaml", load(tmp_path / "kept.yaml"))
    running = asyncio.ensure_future(again.run())
    await until(lambda: again.ready, 300)
    assert again.engine.estimate("m", None, 0).states == before_stop.states
    assert plant.used(again)
    again.stop()
    await running


async def test_a_directory_that_cannot_be_written_is_said_and_survived(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    plant = Plant(broker)
    async with gateway(broker, tmp_path, state="./file/state") as daemon:
        assert daemon.ready
        assert any(reason.startswith("nothing becomes durable") for reason in daemon.reasons)
        assert daemon.journal is None
        await plant.publish(20)
        await until(lambda: plant.used(daemon))
        await until(lambda: len(daemon.outbox) > 0)


async def test_a_full_disk_is_waited_out(broker: Broker, disk: Path) -> None:
    """Estimates live; what is not durable is neither acknowledged nor sent; it goes on by itself."""
    plant = Plant(broker)
    async with gateway(broker, disk.parent, state="./disk/state") as daemon:
        assert daemon.checkpoints is not None
        await plant.publish(10)
        await until(lambda: plant.used(daemon))
        junk = fill(disk)
        while not daemon.checkpoints.problem:
            await plant.publish(1000)
            await until(lambda: plant.used(daemon))
        assert any(reason.startswith("nothing becomes durable") for reason in daemon.reasons)
        await plant.publish(50)
        await until(lambda: plant.used(daemon))
        junk.unlink()
        await until(lambda: not daemon.checkpoints.problem, 10)  # type: ignore[union-attr]
        account = daemon.outbox.account
        assert account.enqueued == account.waiting + account.staged
    async with gateway(broker, disk.parent, state="./disk/state") as daemon:
        assert plant.used(daemon)
        assert daemon.outbox.account.restored > 0


@pytest.mark.parametrize("damage", ["cut", "zeros", "removed"])
async def test_a_damaged_journal_does_not_keep_it_from_starting(broker: Broker, tmp_path: Path, damage: str) -> None:
    plant = Plant(broker)
    async with gateway(broker, tmp_path):
        await plant.publish(20)
    for segment in sorted((tmp_path / "state" / "journal").glob("*.seg")):
        content = segment.read_bytes()
        if damage == "removed":
            segment.unlink()
        else:
            segment.write_bytes(content[:100] if damage == "cut" else content[:100] + bytes(len(content) - 100))
    async with gateway(broker, tmp_path) as daemon:
        await plant.publish(5)
        await until(lambda: daemon.engine.ledger.counts[0, 0] >= 5)
        assert daemon.engine.ledger.balanced()


async def test_the_directory_of_another_gateway_is_refused(broker: Broker, tmp_path: Path) -> None:
    async with gateway(broker, tmp_path):
        pass
    path = tmp_path / "g.yaml"
    path.write_text(path.read_text().replace("gateway: g\n", "gateway: other\n"))
    with pytest.raises(ConfigError, match="belongs to the gateway 'g'") as refused:
        await Daemon(path, load(path)).run()
    assert refused.value.path == "state_dir"


async def test_a_directory_in_use_is_refused(broker: Broker, tmp_path: Path) -> None:
    async with gateway(broker, tmp_path) as daemon:
        with pytest.raises(JournalLockedError):
            await Daemon(daemon.path, daemon.config).run()


def test_positions_are_those_that_were_written() -> None:
    positions = Positions("g", 5, {"a": b"\0\1", "b": b""})
    assert Positions.unpack(positions.pack()) == positions
    with pytest.raises(JournalError, match="cannot be read"):
        Positions.unpack(b"\xc1")
