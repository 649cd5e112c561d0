"""Links to a hostile bus without sockets, for virtual time. An RTU line stays one line however often it is opened."""

from __future__ import annotations

import asyncio
import random

from edgetwin.config.modbus_urls import modbus_place
from edgetwin.sources.modbus.frames import LinkError
from edgetwin.sources.modbus.link import Link
from edgetwin.sources.modbus.wires import Listener, Wire
from tests.sources.modbus.hostile import Bus, Port
from tests.sources.modbus.virtual import VirtualClock

LATENCY_S = 0.002
URLS = {
    "tcp": "modbus+tcp://device",
    "udp": "modbus+udp://device",
    "rtuovertcp": "modbus+rtuovertcp://device",
    "rtu": "modbus+rtu:///dev/ttyS0?baudrate=115200",
}


class MemoryWire:
    """What is under way when it is closed is lost, but for a serial line, where it comes to the next listener."""

    def __init__(self, network: Network, listener: Listener, port: Port) -> None:
        self.network = network
        self.listener: Listener | None = listener
        self.port = port
        port.send = self._sent
        port.close = self._closed

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(LATENCY_S, self._arrived, data)

    def close(self) -> None:
        self.listener = None

    def _arrived(self, data: bytes) -> None:
        if self.listener is not None:
            self.port.feed(data)

    def _sent(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        if self.port.rtu:
            loop.call_later(LATENCY_S, self.network.heard, data)
        else:
            loop.call_later(LATENCY_S, self._heard, data)

    def _heard(self, data: bytes) -> None:
        if self.listener is not None:
            self.listener.received(data)

    def _closed(self) -> None:
        asyncio.get_running_loop().call_later(LATENCY_S, self._lost)

    def _lost(self) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.lost("connection closed by the device")


class Network:
    """A bus behind a link of one kind; ``down``: connections are refused."""

    def __init__(self, bus: Bus, kind: str) -> None:
        self.bus = bus
        self.kind = kind
        self.down = False
        self._line = Port(bus, rtu=True)
        self._wire: MemoryWire | None = None

    def heard(self, data: bytes) -> None:
        """An RTU line speaks to whoever listens now."""
        if self._wire is not None and self._wire.listener is not None:
            self._wire.listener.received(data)

    async def open(self, listener: Listener) -> Wire:
        await asyncio.sleep(LATENCY_S)
        if self.down:
            raise LinkError("cannot connect", hint="")
        port = self._line if "rtu" in self.kind else Port(self.bus, rtu=False, datagrams=self.kind == "udp")
        self._wire = MemoryWire(self, listener, port)
        return self._wire

    def link(self, clock: VirtualClock, pipeline: int = 1, seed: int = 1) -> Link:
        return Link(modbus_place(URLS[self.kind]), self.open, clock, pipeline=pipeline, rng=random.Random(seed))
