"""A gateway that is killed again and again is as one that never stopped: ``python -m tests.chaos.kill --kills 200``.

While a plant publishes, the gateway (and, with ``--receiver``, the receiver) is killed at random instants, its start
and its stop included. Afterwards every sample has been fused exactly once, the states equal bit for bit those of an
engine that was given the same samples, and the receiver holds every frame and every report once.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from edgetwin.engine.snapshot import summary
from tests.chaos.rig import RECEIVER, Gateway, Plant, Program, uninterrupted, until
from tests.conftest import Broker, free_port


def run(folder: Path, broker: Broker, *, kills: int, seed: int, protocol: str = "5", receiver_too: bool = False) -> str:
    """Kill and check; AssertionError when anything is lost or counted twice. Returns what happened, in a line."""
    rng = random.Random(seed)
    gateway = Gateway(folder, broker.url, protocol)
    receiver = Program(folder, "receive", RECEIVER.format(broker=broker.url))
    plant: Plant | None = None
    try:
        receiver.start()
        gateway.start()
        until(lambda: gateway.get("/readyz") is not None, "the gateway to be ready")  # the first start compiles
        plant = Plant(broker.port, rate=400.0, seed=seed)
        for _ in range(kills):
            if rng.random() < 0.7:  # else while it starts
                until(lambda: gateway.source_up, "the gateway to be connected")
            time.sleep(rng.uniform(0.02, 2.0))
            if receiver_too and rng.random() < 0.3:
                receiver.kill()
                receiver.start()
            gateway.kill()
            gateway.start()
        plant.stop()
        sent = plant.sent
        until(lambda: gateway.alive and used(gateway) == len(sent), f"{len(sent)} samples to be used")
        ledger = gateway.ledger()
        until(lambda: waiting(gateway) == 0, "every frame to be acknowledged")
        assert gateway.end(signal.SIGTERM) == 0, gateway.tail()
        time.sleep(0.2)
        receiver.end(signal.SIGTERM)
    finally:
        if plant is not None:
            plant.stop()
        gateway.kill()
        receiver.kill()
    assert ledger["balanced"], ledger
    check_states(folder, gateway, sent)
    frames, reports = check_cloud(folder)
    return f"{kills} kills, {len(sent)} samples, {ledger['duplicate']} redelivered, {frames} frames, {reports} reports"


def used(gateway: Gateway) -> int:
    """Samples that have changed a state."""
    ledger = gateway.ledger()
    return sum(ledger.get(outcome, 0) for outcome in ("fused", "late_fused", "gated", "late_dropped"))


def waiting(gateway: Gateway) -> int:
    """Bytes of frames that the cloud has not."""
    status = gateway.get("/api/v1/status")
    return int(status["uplink"]["backlog_bytes"]) if status else -1


def check_states(folder: Path, gateway: Gateway, sent: list[tuple[int, int, float]]) -> None:
    """Bit for bit those of an engine that never stopped, by what `edgetwin inspect` prints."""
    command = [sys.executable, "-m", "edgetwin.cli.main", "inspect", str(folder / "state"), "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    expected = summary(uninterrupted(gateway.config, sent).snapshot())
    assert json.dumps(found["twins"], sort_keys=True) == json.dumps(expected["twins"], sort_keys=True)


def check_cloud(folder: Path) -> tuple[int, int]:
    """How many frames and reports the receiver holds; each once, and none missing."""
    progress: dict[str, Any] = json.loads((folder / "out" / "progress.json").read_text())
    rows = [row for path in sorted((folder / "out").glob("states*.csv")) for row in csv.DictReader(path.open())]
    seen = Counter((row["twin"], row["state"], row["t_ns"]) for row in rows)
    assert seen, "no report has arrived"
    assert max(seen.values()) == 1, [key for key, n in seen.items() if n > 1][:5]
    gaps = [row for path in (folder / "out").glob("gaps*.csv") for row in csv.DictReader(path.open())]
    lost = [gap for gap in gaps if gap["reason"] != "epoch_ended"]
    assert not lost, lost
    for row in progress["received"]:
        assert len(row["came"]) <= 1, row  # no holes
        assert not row["came"] or row["came"][0][0] == 0, row
    return sum(row["frames"] for row in progress["received"]), len(seen)


def main() -> None:
    """With a mosquitto of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--protocol", choices=("5", "3.1.1"), default="5")
    parser.add_argument("--receiver", action="store_true", help="kill the receiver, too")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        port, config = free_port(), folder / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        broker = Broker(port, config, None)  # type: ignore[arg-type]
        broker.start()
        try:
            print(run(folder, broker, kills=args.kills, seed=args.seed, protocol=args.protocol,
                      receiver_too=args.receiver))  # fmt: skip
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
