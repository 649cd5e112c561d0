"""CPU per Modbus point beside pymodbus and libmodbus, the load of a plant, and what a bad device does to the others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

REQUESTS = 20_000
COUNTS = (125, 10)
LOAD_S = 20
JITTER_S = 30
PEER_SOURCE = Path(__file__).parents[1] / "tests/sources/modbus/libmodbus_peer.c"


@contextmanager
def device(*words: str) -> Iterator[str]:
    """The port of a device in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.modbus_device", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def client(*words: str) -> dict[str, Any]:
    """What a client prints."""
    command = [sys.executable, "-m", "bench.modbus_clients", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def libmodbus(port: str, requests: int, count: int) -> dict[str, Any]:
    """The same in C; empty where it cannot be built."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/peer"
        build = [compiler, "-O2", "-o", program, str(PEER_SOURCE), "-I/usr/include/modbus", "-lmodbus"]
        if subprocess.run(build, capture_output=True, check=False).returncode:
            return {}
        words = [program, "bench", port, str(requests), str(count)]
        cpu, wall = map(float, subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.split())
    return {"cpu_us_per_point": cpu / requests / count * 1e6, "points_per_s": requests * count / wall}


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Points, load, jitter."""
    requests = REQUESTS // 10 if quick else REQUESTS
    for count in COUNTS:
        with device() as port:
            yield {"bench": "modbus", "client": "libmodbus", "registers": count} | libmodbus(port, requests, count)
            for name in ("pymodbus", "link", "source"):
                measured = client(name, port, str(requests), str(count))
                yield {"bench": "modbus", "client": name, "registers": count} | measured
    with ExitStack() as stack:
        ports = [stack.enter_context(device()) for _ in range(3)]
        slow = [ports[1 + i % 2] for i in range(10)]
        yield {"bench": "modbus", "load": "10,000 at 1 s and 1,000 at 100 ms"} | client(
            "load", str(LOAD_S), ports[0], *slow
        )
    seconds = str(JITTER_S // 5 if quick else JITTER_S)
    with device() as good, device() as other, device("drip") as drips:
        yield {"bench": "modbus", "beside": "a good device"} | client("jitter", seconds, good, other)
        yield {"bench": "modbus", "beside": "a device that drips"} | client("jitter", seconds, good, drips)
