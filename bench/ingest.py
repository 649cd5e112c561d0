"""CPU per MQTT message, socket to state, beside paho, aiomqtt and a bare socket drain on the same stream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

# JSON messages carry their own times, so none may come twice: one prepared block, which is 600,000.
COUNTS = {"drain": 600_000, "edgetwin": 600_000, "held": 600_000, "paho": 100_000, "aiomqtt": 50_000}


def measure(client: str, form: str, qos: int, topic_count: int) -> dict[str, Any]:
    """One client against a fresh broker process."""
    count = COUNTS[client]
    words = [str(count), str(topic_count), form, str(qos)]
    with subprocess.Popen([sys.executable, "-m", "bench.broker", *words], stdout=subprocess.PIPE, text=True) as broker:
        try:
            assert broker.stdout is not None
            port = broker.stdout.readline().strip()
            out = subprocess.run(
                [sys.executable, "-m", "bench.clients", client, port, form, str(qos), str(topic_count), str(count)],
                stdout=subprocess.PIPE, text=True, check=True, timeout=300,
            ).stdout  # fmt: skip
        finally:
            broker.kill()
    result: dict[str, Any] = {}
    for line in out.splitlines():
        result |= json.loads(line)
    return result


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """One record per client, form, QoS and number of topics; peers at 1,000 topics only (theirs hardly changes)."""
    for qos in (0, 1):
        for form in ("plain", "json"):
            peers = {}
            for topic_count in (1_000,) if quick else (1_000, 10_000, 100_000):
                clients = ["edgetwin"] if topic_count > 1_000 else ["drain", "paho", "aiomqtt", "edgetwin"]
                for client in [*clients, "held"] if qos == 1 else clients:
                    if client == "drain" and qos:
                        continue  # a drain cannot acknowledge
                    record = measure(client, form, qos, topic_count)
                    peers[client] = record["cpu_us_per_message"]
                    record |= {"bench": "ingest", "form": form, "qos": qos, "topics": topic_count}
                    if client == "held":
                        record["times_acknowledged_at_once"] = record["cpu_us_per_message"] / peers["edgetwin"]
                    if client == "edgetwin":
                        record["times_less_than_aiomqtt"] = peers["aiomqtt"] / record["cpu_us_per_message"]
                        record["times_less_than_paho"] = peers["paho"] / record["cpu_us_per_message"]
                        if "drain" in peers:
                            record["times_bare_drain"] = record["cpu_us_per_message"] / peers["drain"]
                    yield record
