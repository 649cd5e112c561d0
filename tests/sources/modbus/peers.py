"""Real devices behind every kind of link: pymodbus, libmodbus, and the hostile bus on real sockets and lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer, ModbusUdpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edgetwin.config.schema import Tls
from tests.certificates import make_authority, make_certificate
from tests.conftest import free_port
from tests.sources.modbus.hostile import Bus, Port, value_of

HOST = "127.0.0.1"
KINDS = ("tcp", "tls", "udp", "rtuovertcp", "rtu")
SIZE = 200
"""Registers and bits in each table of every device."""


@dataclass(frozen=True)
class Peer:
    """``url`` of the device; where certificates are (``folder``); a device's value (``value``); which ``units`` answer."""

    url: str
    folder: Path
    value: Callable[[int, str, int], int]
    units: tuple[int, ...] = (1,)

    @property
    def tls(self) -> dict[str, Any]:
        return {"tls": Tls(ca="ca.pem")} if "tls" in self.url else {}


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with the context."""
    child = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


@asynccontextmanager
async def serial_line(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Two ends of a serial line made of pseudo-terminals."""
    assert shutil.which("socat"), "socat is not installed"
    ends = str(folder / "master"), str(folder / "device")
    async with process("socat", "-d", "-d", *(f"pty,raw,echo=0,link={end}" for end in ends)) as socat:
        assert socat.stderr is not None
        async with asyncio.timeout(10):
            while b"starting data transfer loop" not in (line := await socat.stderr.readline()):
                assert line, "socat ended"
        yield ends


def url_of(kind: str, port: int, line: tuple[str, str] | None) -> str:
    return f"modbus+rtu://{line[0]}?baudrate=19200" if line else f"modbus+{kind}://{HOST}:{port}"


# ---- pymodbus


def simulated_units(units: tuple[int, ...]) -> list[SimDevice]:
    def table(unit: int, name: str) -> list[SimData]:
        values = [value_of(unit, name, a) for a in range(SIZE)]
        if name in ("coil", "discrete"):
            return [SimData(0, values=[bool(v) for v in values], datatype=DataType.BITS)]
        return [SimData(0, values=values, datatype=DataType.REGISTERS)]

    tables = ("coil", "discrete", "holding", "input")
    return [SimDevice(id=unit, simdata=tuple(table(unit, name) for name in tables)) for unit in units]


@asynccontextmanager
async def pymodbus_peer(kind: str, folder: Path, units: tuple[int, ...] = (1, 2)) -> AsyncIterator[Peer]:
    """Two pymodbus devices."""
    devices, port = simulated_units(units), free_port()
    where = (HOST, port)
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(serial_line(folder)) if kind == "rtu" else None
        server: Any
        if line:
            server = ModbusSerialServer(devices, port=line[1], baudrate=19200, parity="N", stopbits=1)
        elif kind == "tls":
            server = ModbusTlsServer(devices, address=where, sslctx=server_context(folder))
        elif kind == "udp":
            server = ModbusUdpServer(devices, address=where)
        else:
            framer = FramerType.RTU if kind == "rtuovertcp" else FramerType.SOCKET
            server = ModbusTcpServer(devices, address=where, framer=framer)
        await server.serve_forever(background=True)
        try:
            yield Peer(url_of(kind, port, line), folder, value_of, units)
        finally:
            await server.shutdown()


def server_context(folder: Path) -> ssl.SSLContext:
    if not (folder / "ca.pem").exists():
        make_authority(folder, "ca")
        make_authority(folder, "other")
        make_certificate(folder, "server", f"IP:{HOST}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


# ---- libmodbus


@pytest.fixture(scope="session")
def libmodbus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of ``libmodbus_peer``, built here."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: libmodbus is not tried as an independent server and client (apt-get install gcc)")
    return build_libmodbus(compiler, tmp_path_factory.mktemp("libmodbus"))


def build_libmodbus(compiler: str, folder: Path) -> str:
    source, program = Path(__file__).with_name("libmodbus_peer.c"), folder / "peer"
    include = ["-I/usr/include/modbus", "-lmodbus"]
    done = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(source), *include], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"apt-get install libmodbus-dev libc6-dev\n{done.stderr}"
    return str(program)


def libmodbus_value(_unit: int, table: str, address: int) -> int:
    return int(address % 3 == 0) if table in ("coil", "discrete") else (address * 7919 + 13) & 0xFFFF


@asynccontextmanager
async def libmodbus_peer(program: str, kind: str, folder: Path) -> AsyncIterator[Peer]:
    """A libmodbus device."""
    port = free_port()
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(serial_line(folder)) if kind == "rtu" else None
        where = (line[1], "1") if line else (str(port),)
        child = await stack.enter_async_context(process(program, "server", kind, *where))
        assert child.stdout is not None
        async with asyncio.timeout(10):
            assert await child.stdout.readline() == b"ready\n"
        yield Peer(url_of(kind, port, line), folder, libmodbus_value)


# ---- the hostile bus


class _Stream(asyncio.Protocol):
    def __init__(self, bus: Bus, *, rtu: bool) -> None:
        self.port = Port(bus, rtu=rtu)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        self.port.send, self.port.close = stream.write, stream.close

    def data_received(self, data: bytes) -> None:
        self.port.feed(data)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        port = Port(self.bus, rtu=False, datagrams=True)
        port.send = lambda piece: self.transport.sendto(piece, addr)
        port.feed(data)


class _Line:
    """The device's end of a serial line: writes as much as it takes, whenever it does."""

    def __init__(self, bus: Bus, end: str) -> None:
        self.port = Port(bus, rtu=True)
        self.port.send = self._send
        self._loop = asyncio.get_running_loop()
        self._fd = os.open(end, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._left = b""
        self._loop.add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            self.port.feed(os.read(self._fd, 4096))
        except OSError:  # the other end is gone
            self._loop.remove_reader(self._fd)

    def _send(self, data: bytes) -> None:
        if not self._left:
            self._loop.add_writer(self._fd, self._write)
        self._left += data

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._left = self._left[os.write(self._fd, self._left) :]
        if not self._left:
            self._loop.remove_writer(self._fd)

    def close(self) -> None:
        self.port.send = lambda data: None  # what is still to come late
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)


@asynccontextmanager
async def hostile_peer(kind: str, folder: Path, bus: Bus) -> AsyncIterator[Peer]:
    """The hostile bus on a real socket or line."""
    loop, port = asyncio.get_running_loop(), free_port()
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(serial_line(folder)) if kind == "rtu" else None
        if line:
            stack.callback(_Line(bus, line[1]).close)
        elif kind == "udp":
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(bus), local_addr=(HOST, port))
            stack.callback(transport.close)
        else:
            context = server_context(folder) if kind == "tls" else None
            rtu = kind == "rtuovertcp"
            server = await loop.create_server(lambda: _Stream(bus, rtu=rtu), HOST, port, ssl=context)
            stack.callback(server.close)
        yield Peer(url_of(kind, port, line), folder, bus.value, bus.units)
