"""``python -m bench.modbus_clients CLIENT PORT ...``: one client in a process of its own; prints one JSON record.

``link PORT REQUESTS COUNT``       bare links of ours, registers as numpy arrays
``source PORT REQUESTS COUNT``     the source with an engine: socket to updated filters
``pymodbus PORT REQUESTS COUNT``   its client, registers as lists
``load SECONDS PORT ...``          the first port 1,000 points at 100 ms, the others 1,000 points each at 1 s
``jitter SECONDS PORT [PORT]``     intervals of samples of the first device, polled at 100 ms, beside the second
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgetwin.clock import SystemClock
from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.records import Batch, Outcome
from edgetwin.runtime.loop import run
from edgetwin.runtime.warmup import warmup
from edgetwin.sources.modbus import Links, ModbusSource

SIGNALS_PER_TWIN = 25
TIMEOUT_S = 1.0


def configuration(devices: list[tuple[int, int, float]], count: int = 125) -> Config:
    """Two-state twins over ``(port, points, every)``, 25 signals to a twin, ``count`` points to a request."""
    sources = [
        {"name": f"d{i}", "kind": "modbus", "url": f"modbus+tcp://127.0.0.1:{port}", "every": every, "words_max": count}
        for i, (port, _, every) in enumerate(devices)
    ]
    twins = []
    for i, (_, points, _) in enumerate(devices):
        for first in range(0, points, SIGNALS_PER_TWIN):
            signals = {
                f"s{a}": {"source": f"d{i}", "register": {"address": a}, "noise": 1.0}
                for a in range(first, min(points, first + SIGNALS_PER_TWIN))
            }
            parameters = {"process_noise": 0.3}
            twins.append(
                {"name": f"m{i}_{first}", "model": "constant_velocity", "parameters": parameters, "signals": signals}
            )
    data = {"gateway": "bench", "sources": sources, "twins": twins, "limits": {"twins": 100_000}}
    return msgspec.convert(data, Config, dec_hook=lambda kind, value: kind(value))


class Rig:
    """Sources on an engine."""

    def __init__(self, devices: list[tuple[int, int, float]], count: int = 125) -> None:
        config = configuration(devices, count)
        self.engine = Engine(config)
        warmup(self.engine)
        clock = SystemClock()
        links = Links(clock, Path())
        self.sources = [ModbusSource(s, self.engine, clock, links=links) for s in config.sources]  # type: ignore[arg-type]

    async def poll(self, until: Callable[[], bool], settle_s: float = 0.0) -> tuple[float, float]:
        """CPU and wall seconds of polling, after ``settle_s``, until the condition holds."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(source.run()) for source in self.sources]
            await asyncio.sleep(settle_s)
            cpu, wall = time.process_time(), time.perf_counter()
            while not until():
                await asyncio.sleep(0.05)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            for task in tasks:
                task.cancel()
        return cpu, wall


def record(cpu: float, wall: float, points: int, **more: Any) -> dict[str, Any]:
    return {"cpu_us_per_point": cpu / points * 1e6, "points_per_s": points / wall, **more}


async def link(port: int, requests: int, count: int) -> dict[str, Any]:
    config = configuration([(port, 1, 1.0)]).sources[0]
    one = Links(SystemClock(), Path()).link(config)  # type: ignore[arg-type]
    await one.read(1, "holding", 0, count, timeout_s=TIMEOUT_S)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(requests):
        await one.read(1, "holding", 0, count, timeout_s=TIMEOUT_S)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    one.close()
    return record(cpu, wall, requests * count)


async def source(port: int, requests: int, count: int) -> dict[str, Any]:
    rig = Rig([(port, 40 * count, 0.001)], count)  # forty requests a millisecond: more than can be
    (one,) = rig.sources
    await rig.poll(lambda: one.messages >= 100)
    before = one.messages
    cpu, wall = await rig.poll(lambda: one.messages >= before + requests)
    return record(cpu, wall, (one.messages - before) * count)


async def pymodbus(port: int, requests: int, count: int) -> dict[str, Any]:
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(requests):
        answer = await client.read_holding_registers(0, count=count)
        assert len(answer.registers) == count
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    client.close()
    return record(cpu, wall, requests * count)


async def load(seconds: int, fast: int, *slow: int) -> dict[str, Any]:
    rig = Rig([(fast, 1_000, 0.1), *((port, 1_000, 1.0) for port in slow)])
    end = time.monotonic() + seconds + 3.0
    cpu, wall = await rig.poll(lambda: time.monotonic() > end, settle_s=3.0)
    points = int(rig.engine.ledger.counts.sum())
    return {
        "core_percent": 100 * cpu / wall,
        "points_per_s": points / (seconds + 3.0),
        "fused_percent": 100 * int(rig.engine.ledger.counts[:, Outcome.FUSED].sum()) / points,
        "overruns": sum(s.overruns for s in rig.sources),
    }


async def jitter(seconds: int, port: int, *bad: int) -> dict[str, Any]:
    rig = Rig([(port, 10, 0.1), *((other, 10, 0.1) for other in bad)])
    times: list[int] = []
    ingest = rig.engine.ingest

    def listen(source_index: int, batch: Batch, now_ns: int) -> None:
        if source_index == 0:
            times.append(int(batch.t_ns[0]))
        ingest(source_index, batch, now_ns)

    rig.engine.ingest = listen  # type: ignore[method-assign]
    end = time.monotonic() + seconds
    await rig.poll(lambda: time.monotonic() > end)
    off_ms = np.abs(np.diff(times) / 1e6 - 100.0)[2:]
    return {
        "samples": len(times),
        "jitter_p50_ms": float(np.median(off_ms)),
        "jitter_p99_ms": float(np.percentile(off_ms, 99)),
        "jitter_std_ms": float(off_ms.std()),
    }


CLIENTS: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
    "link": link, "source": source, "pymodbus": pymodbus, "load": load, "jitter": jitter,
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(run(CLIENTS[sys.argv[1]](*map(int, sys.argv[2:])))))
