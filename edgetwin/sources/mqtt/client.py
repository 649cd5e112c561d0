"""aiomqtt's client as every session of ours uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS, time_func

T = TypeVar("T")

TICK_S = 1.0
"""How often the keepalive is looked at."""


class Client(aiomqtt.Client):
    """A client whose operations can be cancelled at any moment, and that gives a broker up for its own silence alone.

    Time in which the event loop stood still (a long computation, a process or a machine that was stopped) is no silence
    of the broker's: its answer may wait in the socket, and our question may not have left.
    """

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109 (aiomqtt's signature)
        """Python 3.11's ``asyncio.wait_for``, which aiomqtt uses, loses a cancellation that comes with the answer."""
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("the broker does not answer: timed out") from None

    async def _misc_loop(self) -> None:
        """aiomqtt's, but the socket is read before silence is judged, and at most TICK_S of it counts each time."""
        paho: Any = self._client
        judged = time_func()
        while True:
            for _ in range(2):  # the loop polls its sockets, and then calls those that read from them
                await asyncio.sleep(0)
            now = time_func()
            stood_still = max(now - judged - TICK_S, 0.0)
            judged = now
            paho._last_bytes_received = min(paho._last_bytes_received + stood_still, now)
            if paho._ping_t:
                paho._ping_t = min(paho._ping_t + stood_still, now)
            if paho.loop_misc() != MQTT_ERR_SUCCESS:
                return
            await asyncio.sleep(TICK_S)
