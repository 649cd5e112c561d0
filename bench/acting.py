"""Latency of a command while 10,000 points are polled at 1 s and 1,000 at 100 ms, beside a bare write of pymodbus.

``python -m bench.acting CLIENT SECONDS PORT ...`` is one client in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.modbus import device
from bench.modbus_clients import Rig
from edgetwin.clock import NS, SystemClock
from edgetwin.config.schema import Output, Register
from edgetwin.control.audit import Audit
from edgetwin.control.controller import Controller
from edgetwin.control.output import make_output
from edgetwin.control.records import Command, Result, State
from edgetwin.journal import Journal, JournalWriter, Limits, RealDisk
from edgetwin.runtime.loop import run
from edgetwin.sources.modbus.writer import ModbusWriter

EVERY_S = 0.05
LOAD_S = 20


class Timed(ModbusWriter):
    """Notes when the device has acknowledged a write."""

    acted = 0.0

    async def write(self, value: float) -> None:
        await super().write(value)
        self.acted = time.perf_counter()


async def commands(seconds: int, fast: int, *slow: int) -> dict[str, Any]:
    """Commands to the device that is polled fastest, through gate and audit, verified."""
    rig = Rig([(fast, 1_000, 0.1), *((port, 1_000, 1.0) for port in slow)])
    clock, source = SystemClock(), rig.sources[0]
    acted, verified = [], []
    with tempfile.TemporaryDirectory() as folder:
        now = clock.wall_ns
        audit = JournalWriter(Journal.open(RealDisk(Path(folder)), Limits(), clock)[0])
        controller = Controller(clock, Audit(audit), lambda _: {"T": State(1.0, 0.1, now())}, lambda _k, _t, _d: None)
        spec = msgspec.convert(
            {"source": "d0", "range": [0, 1e4], "fallback": 0, "mode": "active", "armed": True, "interlock": "T < 2"}
            | {"writes_per_day": 10**9},
            Output,
            dec_hook=lambda kind, value: kind(value),
        )
        writer = Timed(source.link, source.config, Register(address=2000))
        controller.add(make_output("m", "o", spec, frozenset({"T"})), writer)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(s.run()) for s in (audit, *rig.sources)]
            await asyncio.sleep(3.0)
            end = time.monotonic() + seconds
            k = 0
            while time.monotonic() < end:
                k += 1
                began = time.perf_counter()
                command = Command(str(k), "bench", "m", "o", float(k % 1000), now(), NS, "http")
                _, result = await controller.submit(command)
                assert result is Result.WRITTEN, result
                acted.append(writer.acted - began)
                verified.append(time.perf_counter() - began)
                await asyncio.sleep(EVERY_S)
            for task in tasks:
                task.cancel()
    return _record(acted) | {f"verified_{name}": value for name, value in _record(verified).items()}


async def pymodbus(seconds: int, fast: int) -> dict[str, Any]:
    """Writes of an idle client: what the wire takes."""
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=fast)
    await client.connect()
    acted = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        await client.write_register(2000, 7)
        acted.append(time.perf_counter() - began)
        await asyncio.sleep(EVERY_S)
    client.close()
    return _record(acted)


def _record(seconds: list[float]) -> dict[str, Any]:
    ms = 1e3 * np.array(seconds)
    return {"commands": len(ms), "p50_ms": float(np.median(ms)), "p99_ms": float(np.percentile(ms, 99))}


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Under load, and bare."""
    import subprocess

    seconds = str(LOAD_S // 4 if quick else LOAD_S)
    with ExitStack() as stack:
        ports = [stack.enter_context(device()) for _ in range(3)]
        for name, words in (("commands", [ports[0], *(ports[1 + i % 2] for i in range(10))]), ("pymodbus", ports[:1])):
            command = [sys.executable, "-m", "bench.acting", name, seconds, *words]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
            yield {"bench": "acting", "client": name} | dict(json.loads(done.stdout.splitlines()[-1]))


CLIENTS = {"commands": commands, "pymodbus": pymodbus}

if __name__ == "__main__":
    print(json.dumps(run(CLIENTS[sys.argv[1]](*map(int, sys.argv[2:])))))
