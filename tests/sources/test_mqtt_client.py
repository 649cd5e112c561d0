"""The client of every MQTT session of ours: a cancellation is never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiomqtt
import pytest

from edgetwin.demo.field import connect
from edgetwin.sources.mqtt.client import Client


def of_a_source() -> aiomqtt.Client:
    return Client("127.0.0.1")


def of_the_demo() -> aiomqtt.Client:
    return connect("mqtt://127.0.0.1:1883")


@pytest.mark.parametrize("make", [of_a_source, of_the_demo])
async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(make: Callable[[], aiomqtt.Client]) -> None:
    client = make()
    answer = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(client._wait_for(answer, 30.0))
    await asyncio.sleep(0)
    answer.set_result(None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_broker_that_does_not_answer_is_an_mqtt_error() -> None:
    with pytest.raises(aiomqtt.MqttError, match="does not answer"):
        await Client("127.0.0.1")._wait_for(asyncio.get_running_loop().create_future(), 0.0)
