"""The whole route with real parts: mosquitto, the daemon as a process, FilterPy as the judge of the states."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter

from edgetwin.codec.decoder import FrameDecoder
from tests.conftest import Broker, free_port, wait_until

MACHINES, PER_MACHINE, R, Q = 100, 1000, 0.5, 0.2
START = 1_700_000_000

CONFIG = """
gateway: plant-7
state_dir: ./state
journal: {{every: 200ms}}
sources:
  - {{name: plant, kind: mqtt, url: "mqtt://127.0.0.1:{broker}", client_id: edgetwin-test, qos: 1}}
twins:
  - name: "{{machine}}"
    model: constant_velocity
    parameters: {{process_noise: {process_noise}}}
    gate: 100
    signals:
      temp: {{source: plant, topic: "plant/{{line}}/{{machine}}/temp", value: $.v, time: $.t, time_unit: ms, noise: {noise}}}
    report: {{every: 500ms}}
uplink: {{kind: mqtt, url: "mqtt://127.0.0.1:{broker}", every: 500ms, acknowledge: broker}}
http: {{listen: "127.0.0.1:{http}"}}
"""


class Gateway:
    """`edgetwin run` as a process."""

    def __init__(self, folder: Path, broker: int) -> None:
        self.folder = folder
        self.http = free_port()
        self.config = folder / "gateway.yaml"
        self.config.write_text(
            CONFIG.format(
                broker=broker, http=self.http, process_noise=repr(float(np.sqrt(Q))), noise=repr(float(np.sqrt(R)))
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgetwin.cli.main", "run", str(self.config)], stderr=self.log, env=os.environ
        )
        wait_until(
            lambda: self.get("/readyz") is not None and self.source_up(), "the daemon to be ready", 120
        )  # the first compiles

    def source_up(self) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as answer:
            return 'edgetwin_source_up{source="plant"} 1.0' in answer.read().decode()

    def stop(self, how: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(20)
        self.process = None
        self.log.close()
        return code

    def get(self, path: str) -> Any:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"the daemon ended:\n{(self.folder / 'log').read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    def received(self) -> int:
        answer = self.get("/api/v1/ledger")
        return answer["total"]["received"] if answer else -1


@pytest.fixture
def gateway(tmp_path: Path, broker: Broker) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, broker.port)
    gateway.start()
    yield gateway
    if gateway.process is not None:
        gateway.stop(signal.SIGKILL)


class Cloud:
    """A subscriber that keeps every frame."""

    def __init__(self, port: int) -> None:
        self.frames: list[bytes] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _c, _u, message: self.frames.append(message.payload)
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("edgetwin/plant-7/frames", 1)
        self.client.loop_start()

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Times in ms and values, [machine, sample]; irregular intervals."""
    rng = np.random.default_rng(7)
    steps = rng.integers(1, 3000, (MACHINES, PER_MACHINE))
    t = START * 1000 + np.cumsum(steps, axis=1)
    walk = np.cumsum(rng.normal(0, 0.3, (MACHINES, PER_MACHINE)), axis=1)
    return t, np.round(20 + walk + rng.normal(0, 0.7, walk.shape), 6)


def publish(port: int, t: np.ndarray, z: np.ndarray) -> None:
    """All samples with QoS 1, machine by machine within each instant; returns when the broker has acknowledged all."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    infos = [
        client.publish(f"plant/{m % 3}/m{m:03d}/temp", json.dumps({"t": int(t[m, k]), "v": float(z[m, k])}), 1)
        for k in range(t.shape[1])
        for m in range(t.shape[0])
    ]
    for info in infos:
        info.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def oracle(t: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FilterPy's mean and covariance after one machine's samples."""
    kf = KalmanFilter(dim_x=2, dim_z=1)
    kf.H, kf.R = np.array([[1.0, 0.0]]), np.array([[R]])
    kf.x, kf.P = np.array([[z[0]], [0.0]]), np.diag([R, R * 1e6])
    for k in range(1, len(t)):
        dt = (t[k] - t[k - 1]) / 1000
        kf.F, kf.Q = np.array([[1, dt], [0, 1]]), Q_continuous_white_noise(2, dt, Q)
        kf.predict()
        kf.update(z[k])
    return kf.x[:, 0], kf.P


def check_states(gateway: Gateway, t: np.ndarray, z: np.ndarray) -> None:
    for m in range(0, MACHINES, 9):
        answer = gateway.get(f"/api/v1/twins/m{m:03d}?at=last")
        x, p = oracle(t[m], z[m])
        states = answer["states"]
        assert states["temp"]["mean"] == pytest.approx(x[0], rel=1e-9)
        assert states["temp_rate"]["mean"] == pytest.approx(x[1], rel=1e-8, abs=1e-9)
        assert states["temp"]["std"] == pytest.approx(np.sqrt(p[0, 0]), rel=1e-9)


@pytest.mark.timeout(300)
def test_every_message_is_accounted_for_and_a_restart_goes_on(gateway: Gateway, broker: Broker) -> None:
    cloud = Cloud(broker.port)
    t, z = samples()
    half = PER_MACHINE // 2
    publish(broker.port, t[:, :half], z[:, :half])
    wait_until(lambda: gateway.received() == MACHINES * half, "the first half")
    assert gateway.stop() == 0

    # While the gateway is away the broker keeps its session.
    publish(broker.port, t[:, half:], z[:, half:])
    gateway.start()
    wait_until(lambda: gateway.received() == MACHINES * PER_MACHINE, "the second half", 60)
    ledger = gateway.get("/api/v1/ledger")
    assert ledger["total"]["balanced"] is True
    assert ledger["total"]["fused"] == MACHINES * PER_MACHINE
    check_states(gateway, t, z)

    final = gateway.get("/api/v1/twins/m099?at=last")
    wait_until(lambda: tells(cloud.frames, final), "a report of the final state of the last machine")
    assert gateway.stop() == 0
    cloud.stop()
    check_inspect(gateway.folder / "state", final)
    check_frames(cloud.frames, final)


def check_inspect(state_dir: Path, final: dict[str, Any]) -> None:
    """What `edgetwin inspect` prints of the stopped gateway is what the API said."""
    out = subprocess.run(
        [sys.executable, "-m", "edgetwin.cli.main", "inspect", str(state_dir), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(out.stdout)
    assert document["ledger"]["plant"]["fused"] == MACHINES * PER_MACHINE
    assert document["twins"]["m099"]["temp"]["state"][0] == final["states"]["temp"]["mean"]


def check_frames(frames: list[bytes], final: dict[str, Any]) -> None:
    """Each run numbers its frames without a hole, and the last report still is what the filter says."""
    decoded = list(map(FrameDecoder().decode, frames))
    runs = [[f.seq for f in decoded if f.epoch == epoch] for epoch in dict.fromkeys(f.epoch for f in decoded)]
    assert len(runs) == 2
    assert all(seqs == list(range(len(seqs))) for seqs in runs)
    assert tells(frames, final)


def tells(frames: list[bytes], final: dict[str, Any]) -> bool:
    """Whether the last report of machine m099 is its final state, extrapolated to the report's time."""
    decoder = FrameDecoder()
    reports = [r for frame in frames for r in decoder.decode(frame).reports if ("m099", "temp", "") in r.columns]
    if not reports:
        return False
    at = reports[-1].columns.index(("m099", "temp", ""))
    last_s = np.datetime64(final["last"].rstrip("Z")).astype("datetime64[ns]").astype(int) * 1e-9
    states = final["states"]
    expected = states["temp"]["mean"] + states["temp_rate"]["mean"] * (reports[-1].t_ns * 1e-9 - last_s)
    return bool(reports[-1].mean[at] == pytest.approx(expected, abs=float(np.sqrt(R))))  # noise is the tolerance


def test_kill_and_restart_loses_nothing(gateway: Gateway, broker: Broker) -> None:
    t, z = samples()
    publish(broker.port, t[:, :20], z[:, :20])
    wait_until(lambda: gateway.received() == MACHINES * 20, "the samples")
    before = gateway.get("/api/v1/twins/m042?at=last")
    gateway.stop(signal.SIGKILL)
    gateway.start()
    used = ("fused", "late_fused", "gated", "late_dropped")
    wait_until(
        lambda: sum((gateway.get("/api/v1/ledger") or {"total": {}})["total"].get(u, 0) for u in used) == MACHINES * 20,
        "every sample, redelivered ones included",
    )
    assert gateway.get("/api/v1/twins/m042?at=last")["states"] == before["states"]


def test_second_instance_refuses_at_once(gateway: Gateway) -> None:
    assert gateway.process is not None
    second = subprocess.run(
        [sys.executable, "-m", "edgetwin.cli.main", "run", str(gateway.config)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert f"in use by process {gateway.process.pid}" in second.stderr
    assert gateway.get("/healthz") is not None
    assert gateway.stop(signal.SIGINT) == 130


def test_reload_keeps_state_and_a_bad_file_changes_nothing(gateway: Gateway, broker: Broker) -> None:
    t, z = samples()
    publish(broker.port, t[:, :10], z[:, :10])
    wait_until(lambda: gateway.received() == MACHINES * 10, "the samples")
    before = gateway.get("/api/v1/twins/m007?at=last")
    good = gateway.config.read_text()
    assert gateway.process is not None

    def reload_and_wait(event: str) -> None:
        seen = (gateway.folder / "log").read_text().count(event)
        gateway.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        wait_until(lambda: (gateway.folder / "log").read_text().count(event) > seen, event)

    reload_and_wait("reload_unchanged")
    gateway.config.write_text(good.replace("report:", "reprot:"))
    reload_and_wait("reload_refused")
    assert gateway.get("/api/v1/twins/m007?at=last") == before
    extra = "  - {name: extra, model: random_walk, signals: {x: {source: plant, topic: extra/x}}}\nuplink"
    gateway.config.write_text(good.replace("uplink", extra, 1))
    reload_and_wait('"reloaded"')
    assert gateway.get("/api/v1/twins/m007?at=last") == before
    publish(broker.port, t[:, 10:20], z[:, 10:20])
    wait_until(lambda: gateway.received() == MACHINES * 20, "samples after the reload")
    x, _ = oracle(t[7, :20], z[7, :20])
    assert gateway.get("/api/v1/twins/m007?at=last")["states"]["temp"]["mean"] == pytest.approx(x[0], rel=1e-9)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.publish("extra/x", "5", 1).wait_for_publish(10)
    wait_until(lambda: gateway.get("/api/v1/twins/extra")["last"] is not None, "the new twin's sample")
    client.disconnect()
    client.loop_stop()
