"""What the simulated plant says on MQTT: ovens as JSON, pumps as plain numbers, QoS 1."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import aiomqtt
import msgspec

from edgetwin.clock import NS, Clock
from edgetwin.demo.plant import OVENS, PUMPS, Plant
from edgetwin.errors import SourceError
from edgetwin.sources.mqtt.client import Client

TICK_S = 0.1
PUMP_TICKS = 3  # a pump has three topics: each speaks at every third tick


async def publish_plant(plant: Plant, mqtt_url: str, clock: Clock) -> None:
    """Run the plant and publish what it measures until cancelled.

    A late tick is not made up for; the plant is told the time that has really passed. Raises
    :class:`SourceError` when the broker goes away.
    """
    try:
        await _publish(plant, mqtt_url, clock)
    except aiomqtt.MqttError as exc:
        raise SourceError(f"the embedded broker at {mqtt_url} went away ({exc})") from exc


async def _publish(plant: Plant, mqtt_url: str, clock: Clock) -> None:
    last = deadline = clock.monotonic_ns()
    tick = 0
    async with connect(mqtt_url) as client:
        while True:
            now = clock.monotonic_ns()
            plant.step((now - last) / NS)
            last = now
            for topic, payload in messages(plant, tick, clock.wall_ns()):
                await client.publish(topic, payload, qos=1)
            tick += 1
            deadline = max(deadline + round(TICK_S * NS), clock.monotonic_ns())
            await asyncio.sleep((deadline - clock.monotonic_ns()) / NS)


def messages(plant: Plant, tick: int, wall_ns: int) -> Iterator[tuple[str, bytes]]:
    """What is published in one tick: (topic, payload)."""
    stamp_ms = wall_ns // 1_000_000
    for i, name in enumerate(OVENS):
        oven = plant.oven(i)
        yield (
            f"plant/ovens/{name}",
            msgspec.json.encode(
                {
                    "ts": stamp_ms,
                    "temp": round(oven.temp, 2),
                    "power": round(oven.power, 3),
                    "state": "heating",
                }
            ),
        )
    for i, name in enumerate(PUMPS):
        pump = plant.pump(i)
        value, kind = (
            (pump.pressure, "pressure"),
            (pump.flow, "flow"),
            (pump.vibration, "vibration"),
        )[(tick + i) % PUMP_TICKS]
        yield f"plant/pumps/{name}/{kind}", f"{value:.3f}".encode()


def connect(mqtt_url: str) -> Client:
    """A client of the embedded broker."""
    address = urlsplit(mqtt_url)
    return Client(
        address.hostname or "127.0.0.1",
        address.port or 1883,
        protocol=aiomqtt.ProtocolVersion.V311,
        timeout=30,
    )
