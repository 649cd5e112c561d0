"""Kills the receiver, and the database, at random instants while a gateway sends, and counts what is stored.

By hand, with as many kills as one likes:

    python -m tests.receive.crashes --kind postgresql --kills 200 --seed 1
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from edgetwin.codec.acks import Ack, decode_ack
from edgetwin.codec.container import append_frame
from tests.conftest import free_port, wait_until
from tests.receive.build import KINDS, Place, frame, report_of, rows_of
from tests.receive.postgres import Cluster, cluster

GATEWAY = "g"


class Process:
    """`edgetwin receive` with an HTTP listener."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.port = free_port()
        self.log = folder / "receiver.log"
        self._config = folder / "receiver.yaml"
        url = f", url: '{place.url}', schema: {place.schema}" if place.url else ""
        self._config.write_text(
            f"http: {{listen: '127.0.0.1:{self.port}', anonymous: true}}\n"
            f"store: {{kind: {place.kind}, path: out, commit_every: 20ms{url}}}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start; it may take a moment until it listens."""
        command = [sys.executable, "-m", "edgetwin.cli.main", "receive", str(self._config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, env=dict(os.environ))

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(20)

    def answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log.read_text()
        return request(self.port, "GET", f"/v1/gateways/{GATEWAY}/ack")[0] in (200, 404)


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of an answer; status 0 when there was none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    try:
        connection.request(method, path, body, {"Content-Type": "application/vnd.edgetwin.frames"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def post(port: int, gateway: str, *frames: bytes) -> tuple[int, bytes]:
    """The answer to a body of frames."""
    body = io.BytesIO()
    for data in frames:
        append_frame(body, data)
    return request(port, "POST", f"/v1/gateways/{gateway}/frames", body.getvalue())


class Gateway:
    """Sends frames in their order, some at a time, and again whatever is not acknowledged; until told to stop."""

    def __init__(self, port: int) -> None:
        self.through = -1
        self.sent = 0
        self.stop = threading.Event()
        self._port = port
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def finish(self) -> int:
        """Stop sending new frames and wait for the last acknowledgement; returns how many frames there are."""
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the last frames were never acknowledged"
        return self.sent

    def _run(self) -> None:
        while not self.stop.is_set() or self.through < self.sent - 1:
            if not self.stop.is_set():
                self.sent = self.through + 5
            waiting = range(self.through + 1, self.sent)
            status, body = post(self._port, GATEWAY, *(frame(seq) for seq in waiting))
            if status == 200:
                self._acknowledged(decode_ack(body))
            else:
                assert status in (0, 503), (status, body)
                self.stop.wait(0.02)

    def _acknowledged(self, ack: Ack) -> None:
        assert ack.epoch == 7 and self.through <= ack.through < self.sent, (ack, self.through, self.sent)
        self.through = ack.through


def torture(place: Place, folder: Path, rng: random.Random, kills: int, server: Cluster | None = None) -> int:
    """Kill ``kills`` times; then every frame that was sent must be stored once. Returns how many there were."""
    process = Process(folder, place)
    gateway = Gateway(process.port)
    try:
        for turn in range(kills):
            before = gateway.through
            wait_until(lambda before=before: gateway.through > before, "progress between two kills", 60)
            threading.Event().wait(rng.uniform(0.0, 0.2))
            victims = _victims(process, server)
            victims[turn % len(victims)]()
        count = gateway.finish()
        assert process.stop() == 0, process.log.read_text()
    finally:
        gateway.stop.set()
        process.kill()
    assert Counter(place.rows()) == Counter(rows_of([report_of(seq) for seq in range(count)]))
    assert not place.gaps()
    return count


def _victims(process: Process, server: Cluster | None) -> list[Callable[[], None]]:
    def receiver() -> None:
        process.kill()
        process.start()

    def database() -> None:
        assert server is not None
        server.kill()
        server.start()

    return [receiver, database] if server is not None else [receiver]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default="postgresql")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, cluster(fsync=True) as server:
        folder = Path(name)
        database = args.kind == "postgresql"
        place = Place(args.kind, folder / "out", server.url if database else "")
        count = torture(place, folder, random.Random(args.seed), args.kills, server if database else None)
    print(f"{args.kind}, seed {args.seed}: {args.kills} kills, {count} frames, each stored once")


if __name__ == "__main__":
    main()
