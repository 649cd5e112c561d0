"""An MQTT source with a real engine, run as the daemon runs it, and a raw publisher for real brokers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgetwin.clock import SystemClock
from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.records import OUTCOMES
from edgetwin.runtime.warmup import warmup
from edgetwin.sources.mqtt import MqttSource
from tests.kernels.wire import publish, variable

HOST = "127.0.0.1"
PATIENCE_S = 30.0
"""How long a test waits for something that should happen at once."""

PLAIN = {"x": {"source": "plant", "topic": "plant/{machine}/temp", "noise": 1.0}}
JSON = {"x": {"source": "plant", "topic": "plant/{machine}/temp", "value": "$.v", "time": "$.t", "noise": 1.0}}


def template(signals: dict[str, Any], name: str = "{machine}") -> dict[str, Any]:
    """A template of slow random walks with a gate that lets all through."""
    return {
        "name": name,
        "model": "random_walk",
        "parameters": {"process_noise": 1.0},
        "gate": 1e6,
        "signals": signals,
    }


def config(port: int, twins: Sequence[dict[str, Any]], *, limits: Any = None, **source: Any) -> Config:
    url = f"{source.pop('scheme', 'mqtt')}://{source.pop('host', HOST)}:{port}"
    data = {
        "gateway": "g",
        "sources": [{"name": "plant", "kind": "mqtt", "url": url, **source}],
        "twins": list(twins),
        "limits": limits or {},
    }
    return msgspec.convert(data, Config, dec_hook=lambda kind, value: kind(value))


async def eventually(holds: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Return as soon as ``holds()`` is true; fail, naming ``what``, when it never is."""
    try:
        async with asyncio.timeout(patience_s):
            while not holds():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited {patience_s} s in vain for {what}") from None


@dataclass
class Rig:
    """A running source and its engine."""

    source: MqttSource
    engine: Engine

    @property
    def ledger(self) -> dict[str, int]:
        """Outcomes that are not zero."""
        counts = self.engine.ledger.counts[0].tolist()
        assert self.engine.ledger.balanced()
        return {name: n for name, n in zip(OUTCOMES, counts, strict=True) if n}

    @property
    def received(self) -> int:
        return int(self.engine.ledger.received[0])

    async def up(self) -> None:
        await eventually(lambda: self.source.up, f"the source to be up: {self.source.last_error}")

    async def have(self, n: int, patience_s: float = PATIENCE_S) -> None:
        """Wait until ``n`` samples are in the ledger, and check that there are no more."""
        await eventually(lambda: self.received >= n, f"{n} samples", patience_s)
        assert self.received == n

    def checkpoint(self) -> bytes:
        """What the daemon does at a checkpoint that succeeds; the position that is durable then."""
        position, mark = self.source.position(), self.source.mark()
        self.source.release(mark)
        return position

    def state(self, twin: str, state: str = "x") -> float:
        return self.engine.estimate(twin, None, 0).states[state].mean

    def signal(self, twin: str, name: str = "x") -> Any:
        return self.engine.estimate(twin, None, 0).signals[name]


_COMPILED: set[str] = set()


@asynccontextmanager
async def running(
    config: Config,
    base: Path = Path(),
    engine: Engine | None = None,
    position: bytes | None = None,
    wanted: Callable[[], None] = lambda: None,
) -> AsyncIterator[Rig]:
    """The configuration's source in a task of its own, cancelled at the end. With a ``position``, perhaps empty, its
    acknowledgements wait for ``Rig.checkpoint``."""
    engine = engine or Engine(config)
    models = {bank.name for bank in engine.banks}
    if not models <= _COMPILED:  # as the daemon does before it connects: else the first message waits for the compiler
        warmup(engine)
        _COMPILED.update(models)
    source = MqttSource(config.sources[0], engine, SystemClock(), base=base)  # type: ignore[arg-type]
    if position is not None:
        source.restore(position, wanted)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(source.run())
        try:
            yield Rig(source, engine)
        finally:
            task.cancel()
    assert not source.up


@dataclass(frozen=True)
class Sent:
    """A message to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


async def publish_all(port: int, messages: Sequence[Sent], *, window: int = 20_000) -> None:
    """Publish in order over one MQTT 3.1.1 session; returns when the broker has acknowledged everything."""
    reader, writer = await asyncio.open_connection(HOST, port)
    body = b"\0\4MQTT\4\2\0\0\0\0"
    writer.write(b"\x10" + variable(len(body)) + body)
    assert await reader.readexactly(4) == b"\x20\x02\0\0"
    acknowledged, pending = 0, 0

    async def take_answers(until: int) -> None:
        nonlocal acknowledged
        while acknowledged < until:
            head, _, a, b = await reader.readexactly(4)
            if head == 0x50:
                writer.write(bytes([0x62, 2, a, b]))
            else:
                acknowledged += 1

    for number, m in enumerate(messages):
        writer.write(publish(m.topic.encode(), m.payload, qos=m.qos, mid=number % 65_535 + 1, retain=m.retain))
        pending += m.qos > 0
        if pending - acknowledged >= window:
            await writer.drain()
            await take_answers(pending - window // 2)
    await writer.drain()
    await take_answers(pending)
    writer.write(b"\xe0\0")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
