"""What carries bytes to devices: TCP, TLS, UDP and serial lines, as one small port.

Foreign exceptions end here: opening raises LinkError, and a connection that breaks tells its listener once.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from edgetwin.config.modbus_urls import ModbusPlace
from edgetwin.sources.modbus.frames import LinkError

_CHUNK = 4096


class Listener(Protocol):
    """Who hears a wire."""

    def received(self, data: bytes) -> None:
        """Bytes have come (for UDP, one datagram)."""

    def lost(self, reason: str) -> None:
        """The connection has broken."""


class Wire(Protocol):
    """An open connection."""

    def write(self, data: bytes) -> None:
        """Send; a connection that cannot take it is lost."""

    def close(self) -> None:
        """Drop the connection at once; its listener hears no more."""


Opener = Callable[[Listener], Awaitable[Wire]]


def opener(place: ModbusPlace, context: ssl.SSLContext | None) -> Opener:
    """How the place is reached. ``context`` is needed for TLS."""

    async def open_wire(listener: Listener) -> Wire:
        try:
            if place.transport == "rtu":
                return SerialWire(place, listener)
            return await _open_socket(place, context, listener)
        except (OSError, ssl.SSLError, ValueError) as exc:
            hint = "check the url, the device and the network between"
            raise LinkError(f"cannot connect to {place.address} ({exc})", hint=hint) from exc

    return open_wire


async def _open_socket(place: ModbusPlace, context: ssl.SSLContext | None, listener: Listener) -> Wire:
    loop = asyncio.get_running_loop()
    where = (place.host, place.port)
    if place.transport == "udp":
        _, datagrams = await loop.create_datagram_endpoint(lambda: _Datagrams(listener), remote_addr=where)
        return datagrams
    tls = context if place.transport == "tls" else None
    _, stream = await loop.create_connection(lambda: _Stream(listener), *where, ssl=tls)
    return stream


class _Socket(asyncio.BaseProtocol):
    """What streams and datagrams share."""

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener | None = listener

    def connection_lost(self, exc: Exception | None) -> None:
        if self._listener is not None:
            self._listener.lost("connection closed by the device" if exc is None else f"connection lost ({exc})")
            self._listener = None

    def _heard(self, data: bytes) -> None:
        if self._listener is not None:
            self._listener.received(data)


class _Stream(_Socket, asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._heard(data)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._listener = None
        self._transport.abort()


class _Datagrams(_Socket, asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        self._heard(data)

    def error_received(self, exc: Exception) -> None:
        """The network says that nobody listens there."""
        if self._listener is not None:
            self._listener.lost(f"connection lost ({exc})")
            self._listener = None

    def write(self, data: bytes) -> None:
        self._transport.sendto(data)

    def close(self) -> None:
        self._listener = None
        self._transport.abort()


def _parity(place: ModbusPlace) -> str:
    """A pseudo-terminal has no parity bit, and refuses to be set to what it is already without."""
    return "N" if os.path.realpath(place.device).startswith("/dev/pts/") else place.parity


class SerialWire:
    """A serial line of this machine, opened for us alone. Raises OSError or ValueError when that fails."""

    def __init__(self, place: ModbusPlace, listener: Listener) -> None:
        import termios  # not everywhere, and only gateways with a serial line need them

        import serial

        self._listener: Listener | None = listener
        try:
            self._port = serial.Serial(
                place.device,
                place.baudrate,
                parity=_parity(place),
                stopbits=place.stopbits,
                timeout=0,
                exclusive=True,
            )
        except termios.error as exc:
            raise OSError(*exc.args) from exc
        self._fd = self._port.fileno()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        """Send; the driver's buffer holds many frames, so a part that does not fit means a line that is stuck."""
        try:
            written = os.write(self._fd, data)
        except OSError as exc:
            self._lost(f"serial line lost ({exc})")
            return
        if written < len(data):
            self._lost("the serial line takes no more bytes")

    def close(self) -> None:
        """Give the device back."""
        self._listener = None
        if self._port.is_open:
            self._loop.remove_reader(self._fd)
            self._port.close()

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._lost(f"serial line lost ({exc})")
            return
        if not data:
            self._lost("serial line lost (hung up)")
        elif self._listener is not None:
            self._listener.received(data)

    def _lost(self, reason: str) -> None:
        listener = self._listener
        self.close()
        if listener is not None:
            self._loop.call_soon(listener.lost, reason)
