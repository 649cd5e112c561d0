"""A scripted MQTT broker on loopback: strict about what the client sends, free in what it sends itself."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from edgetwin.errors import EdgetwinError
from tests.kernels.wire import publish, variable

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14
_FLAGS = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}


class StrictError(EdgetwinError):
    """The client sent something that MQTT does not allow."""


@dataclass
class Packet:
    """One packet of the client, taken apart as far as the tests need."""

    kind: int
    flags: int
    body: bytes
    mid: int = 0
    filters: list[str] = field(default_factory=list)


def parse(kind: int, flags: int, body: bytes, v5: bool) -> Packet:
    """Take a packet of a client apart; StrictError unless it is exactly what MQTT allows of this client."""
    if kind not in (CONNECT, PUBACK, PUBREC, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT):
        raise StrictError(f"packet type {kind}")
    if flags != _FLAGS.get(kind, 0):
        raise StrictError(f"flags {flags} on packet type {kind}")
    packet = Packet(kind, flags, body)
    if kind in (PUBACK, PUBREC, PUBCOMP):
        packet.mid = int.from_bytes(body[:2], "big")
        if len(body) != 2 and not (v5 and len(body) in (3, 4)):
            raise StrictError(f"{len(body)} bytes in packet type {kind}")
    elif kind in (SUBSCRIBE, UNSUBSCRIBE):
        packet.mid = int.from_bytes(body[:2], "big")
        packet.filters = _filters(body[3 + body[2] :] if v5 else body[2:], kind == SUBSCRIBE)
    elif kind == PINGREQ and body:
        raise StrictError("PINGREQ with a body")
    if kind in (PUBACK, PUBREC, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE) and packet.mid == 0:
        raise StrictError(f"packet identifier 0 in packet type {kind}")
    return packet


def _filters(rest: bytes, options: bool) -> list[str]:
    filters = []
    while rest:
        end = 2 + int.from_bytes(rest[:2], "big")
        filters.append(rest[2:end].decode())
        if len(rest) < end + options or (options and rest[end] & 3 == 3):
            raise StrictError("a malformed list of filters")
        rest = rest[end + options :]
    if not filters:
        raise StrictError("no filters")
    return filters


class Connection:
    """One client. ``packets`` is everything it has sent; ``closed`` is set when it has gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.packets: list[Packet] = []
        self.v5 = True
        self.closed = asyncio.Event()
        self.error: Exception | None = None
        self._reader = reader
        self._writer = writer
        self._changed = asyncio.Event()
        self._streaming = False
        self._replies = bytearray()

    def of(self, kind: int) -> list[Packet]:
        """The packets of one type, in order."""
        return [p for p in self.packets if p.kind == kind]

    @property
    def acknowledged(self) -> list[int]:
        return [p.mid for p in self.of(PUBACK)]

    async def until(self, holds: Callable[[Connection], object], what: str, patience_s: float = 20.0) -> None:
        """Wait until something holds of what the client has sent; it is looked at after each packet."""
        async with asyncio.timeout(patience_s):
            while not holds(self):
                assert self.error is None, self.error
                assert not self.closed.is_set(), f"the client went before {what}"
                self._changed.clear()
                await self._changed.wait()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def reply(self, data: bytes) -> None:
        """Send an answer; after the stream that is on its way, which may be cut anywhere."""
        if self._streaming:
            self._replies += data
        else:
            self.send(data)

    async def send_all(self, data: bytes) -> None:
        """Send as fast as the client reads."""
        await self.send_pieces(data[k : k + 65_536] for k in range(0, len(data), 65_536))

    async def send_pieces(self, pieces: Iterable[bytes]) -> None:
        """Send each piece as a segment of its own: the client has it before the next one leaves."""
        self._streaming = True
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)
        self._streaming = False
        self.send(bytes(self._replies))
        self._replies.clear()

    def publish(self, topic: bytes, payload: bytes, **how: object) -> None:
        self.send(self.message(topic, payload, **how))

    def message(self, topic: bytes, payload: bytes, **how: object) -> bytes:
        how.setdefault("properties", b"" if self.v5 else None)
        return publish(topic, payload, **how)  # type: ignore[arg-type]

    def close(self) -> None:
        self._writer.close()

    async def read(self) -> Packet | None:
        """The next packet; None at the end of the stream."""
        try:
            head = await self._reader.readexactly(1)
            size, shift = 0, 0
            while True:
                byte = (await self._reader.readexactly(1))[0]
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
                if shift > 21:
                    raise StrictError("a packet length of more than four bytes")
            body = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError):
            return None
        if head[0] >> 4 == CONNECT:
            self.v5 = body[6] == 5
        packet = parse(head[0] >> 4, head[0] & 15, body, self.v5)
        self.packets.append(packet)
        self._changed.set()
        return packet

    def finish(self) -> None:
        self._writer.close()
        self.closed.set()
        self._changed.set()


Answer = Callable[[Connection, Packet], bytes]


def politely(connection: Connection, packet: Packet) -> bytes:
    """What a broker answers that grants everything."""
    none = b"\0" if connection.v5 else b""
    mid = packet.mid.to_bytes(2, "big")
    match packet.kind:
        case 1:
            return _framed(CONNACK << 4, b"\0\0" + none)
        case 8:
            return _framed(SUBACK << 4, mid + none + b"\1" * len(packet.filters))
        case 10:
            return _framed(UNSUBACK << 4, mid + none + (b"\0" * len(packet.filters) if connection.v5 else b""))
        case 12:
            return _framed(PINGRESP << 4, b"")
        case 5:
            return _framed(PUBREL << 4 | 2, mid)
    return b""


def _framed(head: int, body: bytes) -> bytes:
    return bytes([head]) + variable(len(body)) + body


class BrokerDouble:
    """``answer`` gives the bytes to answer each packet with; every client is in ``connections``."""

    def __init__(self, port: int, answer: Answer) -> None:
        self.port = port
        self.answer = answer
        self.connections: list[Connection] = []
        self._arrived = asyncio.Event()

    async def connection(self, number: int = 0, patience_s: float = 20.0) -> Connection:
        """The client number ``number``, once it has come."""
        async with asyncio.timeout(patience_s):
            while len(self.connections) <= number:
                self._arrived.clear()
                await self._arrived.wait()
        return self.connections[number]

    async def subscribed(self, number: int = 0) -> Connection:
        """The client number ``number``, once it has subscribed."""
        connection = await self.connection(number)
        await connection.until(lambda c: c.of(SUBSCRIBE), "a SUBSCRIBE")
        return connection

    def check(self) -> None:
        """Fail if any client sent what MQTT does not allow."""
        for connection in self.connections:
            assert connection.error is None, connection.error

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self.connections.append(connection)
        self._arrived.set()
        try:
            while packet := await connection.read():
                connection.reply(self.answer(connection, packet))
                if packet.kind == DISCONNECT:
                    break
        except StrictError as exc:
            connection.error = exc
        finally:
            connection.finish()


@asynccontextmanager
async def broker_double(
    answer: Answer = politely, *, tls: ssl.SSLContext | None = None, receive_buffer: int = 0
) -> AsyncIterator[BrokerDouble]:
    """A scripted broker; leaving closes its connections and checks that the client kept to MQTT.

    ``receive_buffer`` bytes, where given, are all that the system takes for it while it does not read.
    """
    listener = socket.socket()
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", 0))
    broker = BrokerDouble(listener.getsockname()[1], answer)
    server = await asyncio.start_server(broker.serve, sock=listener, ssl=tls)
    try:
        yield broker
    finally:
        server.close()
        for connection in broker.connections:
            connection.close()
            await connection.closed.wait()
        await server.wait_closed()
    broker.check()
