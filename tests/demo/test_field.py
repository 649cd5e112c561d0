"""The demo's protocols: amqtt, a pymodbus client against the device, and the configuration file."""

from __future__ import annotations

import asyncio
import struct
from itertools import chain

import msgspec
import pytest
from pymodbus.client import AsyncModbusTcpClient

from edgetwin.clock import SystemClock
from edgetwin.config.load import loads
from edgetwin.demo import device
from edgetwin.demo.broker import embedded_broker
from edgetwin.demo.cloud import Arrived, count_frames
from edgetwin.demo.factory import free_port
from edgetwin.demo.field import PUMP_TICKS, connect, messages, publish_plant
from edgetwin.demo.plant import OVENS, PRESSES, PUMPS, Plant, PressReading
from edgetwin.demo.settings import FRAMES_TOPIC, factory_config
from edgetwin.errors import SourceError

# amqtt warns of its own plans about its dependencies.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:amqtt")


def test_a_few_ticks_say_everything() -> None:
    plant = Plant(0)
    said = list(chain.from_iterable(messages(plant, tick, 1_700_000_000_123_456_789) for tick in range(PUMP_TICKS)))
    topics = {topic for topic, _ in said}
    assert topics == {f"plant/ovens/{o}" for o in OVENS} | {
        f"plant/pumps/{p}/{kind}" for p in PUMPS for kind in ("pressure", "flow", "vibration")
    }
    for topic, payload in said:
        if topic.startswith("plant/ovens"):
            assert msgspec.json.decode(payload)["ts"] == 1_700_000_000_123
        else:
            float(payload)


async def test_the_plant_speaks_mqtt() -> None:
    async with embedded_broker(free_port()) as url, connect(url) as client:
        await client.subscribe("plant/#", qos=1)
        heard: set[str] = set()
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            publisher = tasks.create_task(publish_plant(Plant(0), url, SystemClock()))
            async for message in client.messages:
                assert message.qos == 1
                heard.add(str(message.topic))
                if len(heard) == len(OVENS) + 3 * len(PUMPS):
                    break
            publisher.cancel()


async def test_frames_are_counted() -> None:
    arrived = Arrived()
    async with (
        embedded_broker(free_port()) as url,
        connect(url) as client,
        asyncio.timeout(30),
        asyncio.TaskGroup() as tasks,
    ):
        counter = tasks.create_task(count_frames(url, FRAMES_TOPIC, arrived))
        while arrived.frames < 2:  # the first may be sent before the subscription stands
            await client.publish(FRAMES_TOPIC, b"x" * 10, qos=1)
        counter.cancel()
    assert arrived.octets == 10 * arrived.frames


async def test_a_port_in_use_is_said() -> None:
    port = free_port()
    async with embedded_broker(port):
        with pytest.raises(SourceError, match=str(port)):
            async with embedded_broker(port):
                pass
    async with device.press_controller(Plant(0), port):
        with pytest.raises(SourceError, match=str(port)):
            async with device.press_controller(Plant(0), port):
                pass


async def test_registers_follow_the_plant() -> None:
    plant = Plant(0)
    port = free_port()
    async with device.press_controller(plant, port):
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        assert await client.connect()
        before = await client.read_input_registers(0, count=80, device_id=device.UNIT)
        plant.step(60.0)
        after = await client.read_input_registers(0, count=80, device_id=device.UNIT)
        inner = await client.read_input_registers(34, count=2, device_id=device.UNIT)
        client.close()
    assert inner.registers == after.registers[34:36]
    for i in range(len(PRESSES)):
        words = after.registers[i * device.STRIDE : (i + 1) * device.STRIDE]
        strokes = words[device.STROKES] | words[device.STROKES + 1] << 16
        assert strokes == plant.press(i).strokes
        oil = struct.unpack(">f", struct.pack(">2H", *words[device.OIL : device.OIL + 2]))[0]
        assert oil == pytest.approx(plant.press(i).oil, abs=1.0)
        old = before.registers[i * device.STRIDE + device.STROKES]
        assert (words[device.STROKES] - old) % 65536 > 3


def test_register_encoding() -> None:
    assert device.encode(PressReading(force=123.4, oil=1.0, strokes=0x00012345)) == [
        1234, 0, 0x3F80, 0, 0x2345, 0x0001, 0, 0, 0, 0,
    ]  # fmt: skip


def test_the_configuration_passes_the_loader() -> None:
    text = factory_config(
        mqtt_url="mqtt://127.0.0.1:1",
        modbus_url="modbus+tcp://127.0.0.1:2",
        state_dir="/a: b/#c 'd\"",
        http_port=3,
    )
    config = loads(text)
    assert config.state_dir == "/a: b/#c 'd\""
    assert len(config.twins) == 2 + len(PRESSES)
    topics = {s.topic for t in config.twins for s in t.signals.values() if s.topic is not None}
    assert topics == {"plant/ovens/{oven}"} | {
        f"plant/pumps/{{pump}}/{kind}" for kind in ("pressure", "flow", "vibration")
    }
    registers = [s.register for t in config.twins for s in t.signals.values() if s.register is not None]
    assert len(registers) == 3 * len(PRESSES)
