"""The far end of the demo's uplink: counts the frames that arrive."""

from __future__ import annotations

from dataclasses import dataclass

import aiomqtt

from edgetwin.demo.field import connect
from edgetwin.errors import SourceError


@dataclass(slots=True)
class Arrived:
    """Frames and their bytes so far."""

    frames: int = 0
    octets: int = 0


async def count_frames(mqtt_url: str, topic: str, arrived: Arrived) -> None:
    """Subscribe and count until cancelled."""
    try:
        async with connect(mqtt_url) as client:
            await client.subscribe(topic, qos=1)
            async for message in client.messages:
                arrived.frames += 1
                arrived.octets += len(message.payload) if isinstance(message.payload, bytes) else 0
    except aiomqtt.MqttError as exc:
        raise SourceError(f"the embedded broker at {mqtt_url} went away ({exc})") from exc
