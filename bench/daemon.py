"""The daemon as a process: start-up to READY=1, resident memory with 10,000 signals, what a scrape costs, and what
making everything durable costs: QoS 1 acknowledged at checkpoints, bytes to the disk, syncs at rest."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIGNALS = 10_000
DURABLE_SIGNALS = 1_000
MESSAGES = 600_000
REST_S = 10
COMMITS, SYNCS = "edgetwin_journal_commits_total", "edgetwin_journal_syncs_total"
WRITTEN = "edgetwin_journal_written_bytes_total"
STARTS = 5

CONFIG = """
gateway: bench
state_dir: ./state
sources: [{{name: plant, kind: mqtt, url: "mqtt://127.0.0.1:{broker}", qos: {qos}}}]
twins:
  - name: "{{machine}}"
    model: {model}
    signals: {{temp: {{source: plant, topic: "plant/{{line}}/{{machine}}/temp"{noise}}}}}
uplink: {{kind: mqtt, url: "mqtt://127.0.0.1:1"}}
http: {{listen: "127.0.0.1:{http}"}}
"""

MODELS = {
    "constant_velocity": {"model": "constant_velocity\n    parameters: {process_noise: 0.3}", "noise": ", noise: 1.0"},
    "auto": {"model": "auto", "noise": ""},
}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def daemon(
    folder: Path, broker: int, qos: int = 0, model: str = "constant_velocity"
) -> Iterator[tuple[int, int, float]]:
    """A running daemon: (pid, HTTP port, seconds from its start to READY=1)."""
    http = free_port()
    config = folder / "bench.yaml"
    config.write_text(CONFIG.format(broker=broker, http=http, qos=qos, **MODELS[model]))
    address = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(address)
        notify.settimeout(60)
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "edgetwin.cli.main", "run", str(config)],
            env=os.environ | {"NOTIFY_SOCKET": address},
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            yield process.pid, http, time.perf_counter() - started
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            Path(address).unlink()


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return bytes(answer.read())


def status_mb(pid: int, field: str) -> float:
    """A size from /proc/PID/status in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return float(next(line for line in text.splitlines() if line.startswith(field)).split()[1]) / 1024


@contextmanager
def scripted_broker(topics: int, qos: int) -> Iterator[int]:
    """MESSAGES plain numbers over this many topics; the port."""
    words = [str(MESSAGES), str(topics), "plain", str(qos)]
    with subprocess.Popen([sys.executable, "-m", "bench.broker", *words], stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdout is not None
        try:
            yield int(broker.stdout.readline())
        finally:
            broker.kill()


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metric(port: int, name: str) -> float:
    """A figure of /metrics that has no labels."""
    text = get(port, "/metrics").decode()
    return float(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[1])


def durable() -> dict[str, Any]:
    """QoS 1 with checkpoints, uplink and HTTP on: every message acknowledged when it is on the disk."""
    from bench.broker import Stream

    packets = Stream(MESSAGES, DURABLE_SIGNALS, "plain", 1, True).packets
    wire_bytes = sum(map(len, packets)) * MESSAGES / len(packets)
    with (
        tempfile.TemporaryDirectory() as name,
        scripted_broker(DURABLE_SIGNALS, 1) as port,
        daemon(Path(name), port, qos=1) as (pid, http, _),
    ):
        cpu, start = cpu_s(pid), time.perf_counter()
        _until_received(http)
        took, cpu = time.perf_counter() - start, cpu_s(pid) - cpu
        written, commits, syncs = (metric(http, name) for name in (WRITTEN, COMMITS, SYNCS))
        time.sleep(REST_S)
        return {
            "bench": "durable",
            "messages": MESSAGES,
            "signals": DURABLE_SIGNALS,
            "messages_per_s": MESSAGES / took,
            "cpu_us_per_message": cpu / MESSAGES * 1e6,
            "checkpoints": int(commits),
            "disk_bytes_per_wire_byte": written / wire_bytes,
            "syncs_per_s_at_rest": (metric(http, SYNCS) - syncs) / REST_S,
        }


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Durability; start-up (median of several, warm cache, restored state), memory and scrape with 10,000 twins."""
    yield durable()
    for model in MODELS:
        yield from _memory_and_start(model, 2 if quick else STARTS)


def _memory_and_start(model: str, count: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with scripted_broker(SIGNALS, 0) as port, daemon(folder, port, model=model) as (pid, http, _):
            yield {"bench": "memory", "model": model, "signals": SIGNALS, **_under_load(pid, http)}
        starts = []
        for _ in range(count):
            with daemon(folder, port, model=model) as (_, _, seconds):
                starts.append(seconds)
        yield {
            "bench": "start",
            "model": model,
            "twins_restored": SIGNALS,
            "ready_s_median": statistics.median(starts),
            "ready_s_max": max(starts),
        }


def _until_received(http: int) -> None:
    deadline = time.monotonic() + 120
    while json.loads(get(http, "/api/v1/ledger"))["total"]["received"] < MESSAGES:
        if time.monotonic() > deadline:
            raise TimeoutError("the daemon did not take the stream")
        time.sleep(0.02)


def _under_load(pid: int, http: int) -> dict[str, Any]:
    _until_received(http)
    time.sleep(6)  # a report of all twins and a frame of it, at their own cadence
    scrapes = []
    for _ in range(5):
        start = time.perf_counter()
        text = get(http, "/metrics")
        scrapes.append(time.perf_counter() - start)
    lag = next(line for line in text.decode().splitlines() if line.startswith("edgetwin_loop_lag_seconds_sum"))
    return {
        "resident_mb": status_mb(pid, "VmRSS"),
        "resident_peak_mb": status_mb(pid, "VmHWM"),
        "scrape_ms_median": statistics.median(scrapes) * 1e3,
        "scrape_bytes": len(text),
        "loop_lag_s_total": float(lag.split()[-1]),
    }
