"""How fast a backlog drains over loopback: edgetwin's transports beside bare paho and bare aiohttp with the same bytes.

MQTT goes to a mosquitto (which must be installed) that nobody subscribes to, so the broker is cheap; HTTP without TLS
goes to :mod:`bench.uplink_cloud`. Bare clients keep as many bytes on their way as edgetwin and do no more. Times are
medians of several rounds; CPU is that of this process.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import paho.mqtt.client as mqtt

from edgetwin.codec.container import append_frame
from edgetwin.config.schema import HttpsUplink as HttpsConfig
from edgetwin.config.schema import MqttUplink as MqttConfig
from edgetwin.records import Report
from edgetwin.uplink.http import FRAMES_TYPE, WINDOW, HttpsUplink
from edgetwin.uplink.mqtt import FRAMES_MAX, MqttUplink
from edgetwin.uplink.outbox import Outbox

T0 = 1_700_000_000 * 10**9
Measured = tuple[float, float]
"""Wall and processor seconds."""


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Small and large frames, both transports."""
    rounds = 1 if quick else 5
    for values, count in ((40, 2_000), (4_000, 200)) if quick else ((40, 10_000), (4_000, 1_000)):
        frames = _frames(values, count)
        megabytes = sum(map(len, frames)) / 1e6
        with _broker() as port:
            yield _record("mqtt", "paho", frames, megabytes, rounds, _mqtt(port, values, count), _paho(port, frames))
        with _cloud() as port:
            bare = _aiohttp(port, frames)
            yield _record("https", "aiohttp", frames, megabytes, rounds, _https(port, values, count), bare)


def _record(
    kind: str,
    peer: str,
    frames: list[bytes],
    megabytes: float,
    rounds: int,
    ours: Callable[[], Measured],
    theirs: Callable[[], Measured],
) -> dict[str, Any]:
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    wall, cpu, peer_wall, peer_cpu = (
        statistics.median(pair[who][what] for pair in pairs) for who in (0, 1) for what in (0, 1)
    )
    return {
        "bench": "uplink",
        "transport": kind,
        "frames": len(frames),
        "bytes_per_frame": round(1e6 * megabytes / len(frames)),
        "frames_per_s": len(frames) / wall,
        "mb_per_s": megabytes / wall,
        "cpu_us_per_frame": 1e6 * cpu / len(frames),
        f"{peer}_frames_per_s": len(frames) / peer_wall,
        f"{peer}_mb_per_s": megabytes / peer_wall,
        f"{peer}_cpu_us_per_frame": 1e6 * peer_cpu / len(frames),
    }


def _outbox(values: int, count: int) -> Outbox:
    rng = np.random.default_rng(0)
    columns = tuple((f"m{i}", "temp", "degC") for i in range(values))
    outbox = Outbox("bench", 1 << 40, epoch=1)
    for i in range(count):
        outbox.put([Report(T0 + i, columns, rng.normal(size=values), np.ones(values), np.zeros(values, np.uint8))])
    return outbox


def _frames(values: int, count: int) -> list[bytes]:
    return [queued.data for queued in _outbox(values, count)]


def _measured(act: Callable[[], None]) -> Measured:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


# ---- edgetwin


async def _drain(outbox: Outbox, way: MqttUplink | HttpsUplink) -> Measured:
    wall, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(way.run())
        await outbox.drained.wait()
        measured = time.perf_counter() - wall, time.process_time() - cpu
        task.cancel()
    return measured


def _mqtt(port: int, values: int, count: int) -> Callable[[], Measured]:
    async def run() -> Measured:
        config = MqttConfig(url=f"mqtt://127.0.0.1:{port}", acknowledge="broker", require_subscriber=False)
        outbox = _outbox(values, count)
        return await _drain(outbox, MqttUplink(config, "bench", outbox))

    return lambda: asyncio.run(run())


def _https(port: int, values: int, count: int) -> Callable[[], Measured]:
    async def run() -> Measured:
        outbox = _outbox(values, count)
        return await _drain(outbox, HttpsUplink(HttpsConfig(url=f"http://127.0.0.1:{port}"), "bench", outbox))

    return lambda: asyncio.run(run())


# ---- bare clients


def _paho(port: int, frames: list[bytes]) -> Callable[[], Measured]:
    def run() -> None:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.max_inflight_messages_set(2 * FRAMES_MAX)
        room, done = threading.Semaphore(2 * FRAMES_MAX), threading.Event()
        left = [len(frames)]

        def published(*_: Any) -> None:
            room.release()
            left[0] -= 1
            if left[0] == 0:
                done.set()

        client.on_publish = published
        client.connect("127.0.0.1", port)
        client.loop_start()
        for frame in frames:
            room.acquire()
            client.publish("edgetwin/bench/frames", frame, qos=1)
        done.wait()
        client.disconnect()
        client.loop_stop()

    return lambda: _measured(run)


def _aiohttp(port: int, frames: list[bytes]) -> Callable[[], Measured]:
    async def run() -> None:
        async with aiohttp.ClientSession() as client:
            at = 0
            while at < len(frames):
                body, taken = io.BytesIO(), 0
                while at < len(frames) and taken < WINDOW.frames and (not taken or body.tell() < WINDOW.bytes):
                    append_frame(body, frames[at])
                    at, taken = at + 1, taken + 1
                url, headers = f"http://127.0.0.1:{port}/v1/gateways/bench/frames", {"Content-Type": FRAMES_TYPE}
                async with client.post(url, data=body.getvalue(), headers=headers) as response:
                    await response.read()

    return lambda: _measured(lambda: asyncio.run(run()))


# ---- far ends


@contextmanager
def _broker() -> Iterator[int]:
    path = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n")
        process = subprocess.Popen([path, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(port)
            yield port
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _cloud() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-m", "bench.uplink_cloud"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _wait(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("mosquitto does not start")
