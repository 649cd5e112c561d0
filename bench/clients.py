"""The clients compared: each takes the scripted broker's stream to the end and prints what it cost.

``python -m bench.clients NAME PORT FORM QOS TOPICS COUNT``. The CPU is that of the whole process between the first and
the last message. ``drain`` only empties the socket: the physical limit. ``paho`` and ``aiomqtt`` parse the number and
do nothing else with it; ``edgetwin`` updates a two-state filter of its twin with it, and ``held`` acknowledges by
checkpoint as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import select
import socket
import sys
import time
from collections.abc import Callable

from bench.broker import END, topics


class Cost:
    """CPU and wall time since the first message."""

    def __init__(self) -> None:
        self.cpu: float | None = None
        self.wall = 0.0

    def first(self) -> None:
        if self.cpu is None:
            self.cpu, self.wall = time.process_time(), time.perf_counter()

    def print(self, name: str, messages: int) -> None:
        assert self.cpu is not None
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        print(
            json.dumps(
                {
                    "client": name,
                    "messages": messages,
                    "cpu_us_per_message": cpu / messages * 1e6,
                    "messages_per_s": messages / wall,
                    "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                }
            )
        )


def reader_of(form: str) -> Callable[[bytes], float]:
    """How a script would read the payload."""
    return float if form == "plain" else lambda payload: float(json.loads(payload)["v"])


def drain(port: int, form: str, qos: int, topic_count: int, count: int) -> None:
    """Empty the socket and look at nothing. The stream's end is recognised by the closing topic in the last bytes."""
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02dr")
        s.recv(4096)
        s.sendall(b"\x82\x06\x00\x01\x00\x01#\x00")
        s.recv(5)
        buffer = bytearray(1 << 20)
        cost, tail = Cost(), b""
        while True:
            n = s.recv_into(buffer)
            cost.first()
            tail = bytes(memoryview(buffer)[max(0, n - 32) : n]) if n >= 32 else tail[-32:] + bytes(buffer[:n])
            if END in tail or not n:
                break
        cost.print("drain", count)


def paho(port: int, form: str, qos: int, topic_count: int, count: int) -> None:
    import paho.mqtt.client as mqtt

    read, cost, done, seen = reader_of(form), Cost(), [], 0

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        nonlocal seen
        cost.first()
        if message.topic == END.decode():
            done.append(True)
        else:
            read(message.payload)
            seen += 1

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="bench-paho")
    client.on_connect = lambda c, *_: c.subscribe("#", qos)
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    while not done:
        sock = client.socket()
        _, writable, _ = select.select([sock], [sock] if client.want_write() else [], [], 1)
        if writable:
            client.loop_write()
        client.loop_read()
    cost.print("paho", seen)


def aiomqtt(port: int, form: str, qos: int, topic_count: int, count: int) -> None:
    import aiomqtt as library

    async def run() -> None:
        read, cost, seen = reader_of(form), Cost(), 0
        async with library.Client("127.0.0.1", port, identifier="bench-aiomqtt") as client:
            await client.subscribe("#", qos)
            async for message in client.messages:
                cost.first()
                if message.topic.value == END.decode():
                    break
                read(message.payload)  # type: ignore[arg-type]
                seen += 1
            cost.print("aiomqtt", seen)
            sys.stdout.flush()

    asyncio.run(run())


def held(port: int, form: str, qos: int, topic_count: int, count: int) -> None:
    """As ``edgetwin``, with acknowledgements that wait for checkpoints, of which nothing is written to disk."""
    edgetwin(port, form, qos, topic_count, count, holding=True)


def edgetwin(port: int, form: str, qos: int, topic_count: int, count: int, holding: bool = False) -> None:
    """The daemon's own source and engine, a twin for each topic."""
    from bench.twins import ingest_config
    from edgetwin.clock import SystemClock
    from edgetwin.engine import Engine
    from edgetwin.runtime import logs
    from edgetwin.runtime.loop import run as run_loop
    from edgetwin.runtime.warmup import warmup
    from edgetwin.sources.mqtt import MqttSource

    async def run() -> None:
        config = ingest_config(port, form, qos)
        engine = Engine(config)
        warmup(engine)
        for topic in topics(topic_count):
            _, line, machine, _ = topic.decode().split("/")
            engine.hear(config.twins[0], {"line": line, "machine": machine})
        source = MqttSource(config.sources[0], engine, SystemClock())  # type: ignore[arg-type]
        cost = Cost()
        wanted = asyncio.Event()
        if holding:
            source.restore(b"", wanted.set)

        async def checkpoints() -> None:
            while holding:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wanted.wait(), 1.0)
                wanted.clear()
                source.position()
                source.release(source.mark())

        async with asyncio.TaskGroup() as group:
            task = group.create_task(source.run())
            checkpointing = group.create_task(checkpoints())
            # The closing message matches no twin: it is the first to be counted as unmatched.
            while not engine.ledger.received[0]:
                await asyncio.sleep(0)
            cost.first()
            while engine.ledger.received[0] <= count:
                await asyncio.sleep(0.005)
            cost.print("held" if holding else "edgetwin", int(engine.ledger.received[0]) - 1)
            assert engine.ledger.balanced()
            fused = int(engine.ledger.counts[0, 0])
            print(
                json.dumps(
                    {
                        "client": "held" if holding else "edgetwin",
                        "fused": fused,
                        "latency_mean_s": source.latency.sum / count,
                    }
                )
            )
            sys.stdout.flush()
            task.cancel()
            checkpointing.cancel()

    logs.configure("warning", "json")
    run_loop(run())


if __name__ == "__main__":
    name, port, form, qos, topic_count, count = sys.argv[1:]
    {"drain": drain, "paho": paho, "aiomqtt": aiomqtt, "edgetwin": edgetwin, "held": held}[name](
        int(port), form, int(qos), int(topic_count), int(count)
    )
