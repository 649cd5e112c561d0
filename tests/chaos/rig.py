"""A plant, a gateway and a receiver as processes, which can be killed at any instant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt

from edgetwin.config.load import load
from edgetwin.engine import Engine
from edgetwin.records import Batch
from tests.conftest import free_port, wait_until

MACHINES = 12
START_MS = 1_700_000_000_000

GATEWAY = """
gateway: plant
state_dir: ./state
journal: {{every: {every}}}
sources:
  - {{name: plant, kind: mqtt, url: "{broker}", client_id: chaos, protocol: "{protocol}"}}
twins:
  - name: "{{machine}}"
    model: auto
    isolate: false
    lateness: 1s
    signals:
      temp: {{source: plant, topic: "plant/{{machine}}", value: $.v, time: $.t, time_unit: ms}}
    report: {{every: 100ms}}
uplink: {{kind: mqtt, url: "{broker}", every: 300ms}}
http: {{listen: "127.0.0.1:{http}"}}
"""

RECEIVER = """
source: {{kind: mqtt, url: "{broker}"}}
store: {{kind: csv, path: out, commit_every: 50ms}}
"""


class Program:
    """One command, its log, and its end."""

    def __init__(self, folder: Path, command: str, config: str) -> None:
        self.config = folder / f"{command}.yaml"
        self.config.write_text(config)
        self.log = folder / f"{command}.log"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "edgetwin.cli.main", self._command, str(self.config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, env=os.environ)

    def end(self, how: int) -> int:
        """Send a signal and wait; the exit status."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(30)

    def kill(self) -> None:
        """As a power cut is to a process; one that runs no more is left alone."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tail(self) -> str:
        return self.log.read_text()[-3000:]


class Gateway(Program):
    """`edgetwin run`."""

    def __init__(self, folder: Path, broker: str, protocol: str = "5", every: str = "100ms") -> None:
        self.http = free_port()
        super().__init__(folder, "run", GATEWAY.format(broker=broker, protocol=protocol, every=every, http=self.http))

    def get(self, path: str) -> Any:
        """An answer of the API; None while there is none."""
        assert self.alive, self.tail()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    @property
    def source_up(self) -> bool:
        """Whether the broker's session is there."""
        status = self.get("/api/v1/status")
        return bool(status) and all(source["up"] for source in status["sources"])

    def ledger(self) -> dict[str, Any]:
        """What became of all samples; empty while it cannot be asked."""
        answer = self.get("/api/v1/ledger")
        return answer["total"] if answer else {}


class Plant:
    """Publishes samples with their own time, QoS 1 and in order, in a thread, until it is told to stop."""

    def __init__(self, port: int, rate: float, seed: int) -> None:
        self.sent: list[tuple[int, int, float]] = []
        """(machine, time in ms, value) of each sample."""
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(1000)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._rng = np.random.default_rng(seed)
        self._pause_s = 20 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Return when the broker has everything."""
        self._stop.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _run(self) -> None:
        level = np.full(MACHINES, 20.0)
        now = START_MS
        last: mqtt.MQTTMessageInfo | None = None
        while not self._stop.wait(self._pause_s):
            for _ in range(20):
                now += int(self._rng.integers(1, 50))
                machine = int(self._rng.integers(MACHINES))
                level[machine] += self._rng.normal(0, 0.2)
                value = round(float(level[machine] + self._rng.normal(0, 0.5)), 4)
                late = int(self._rng.integers(0, 400)) if self._rng.random() < 0.1 else 0
                self.sent.append((machine, now - late, value))
                payload = json.dumps({"t": now - late, "v": value})
                last = self._client.publish(f"plant/m{machine:02d}", payload, 1)
        if last is not None:
            last.wait_for_publish(60)


def uninterrupted(config: Path, sent: list[tuple[int, int, float]]) -> Engine:
    """The engine that was given the same samples and never stopped."""
    engine = Engine(load(config))
    template = engine.config.twins[0]
    for machine in dict.fromkeys(machine for machine, _, _ in sent):
        engine.hear(template, {"machine": f"m{machine:02d}"})
    slot = {name: next(iter(engine.instance(name).slots.values())) for name in engine.names()}
    slots = np.array([slot[f"m{machine:02d}"] for machine, _, _ in sent], np.int32)
    t_ns = np.array([t for _, t, _ in sent], np.int64) * 1_000_000
    values = np.array([value for _, _, value in sent])
    engine.ingest(0, Batch(slots, t_ns, values), int(t_ns.max()))
    return engine


def until(holds: Callable[[], object], what: str, timeout_s: float = 120.0) -> None:
    """As :func:`tests.conftest.wait_until`, patient enough for a process that must compile first."""
    wait_until(holds, what, timeout_s)
