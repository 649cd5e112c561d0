"""``python -m bench.modbus_device [drip]``: Modbus TCP devices that cost little, until killed; prints the port.

Every register holds its address. Answers are made once for each request and kept, but for the transaction. ``drip``
sends one byte of each answer in 0.3 s.
"""

from __future__ import annotations

import asyncio
import struct
import sys

from edgetwin.runtime.loop import run

DRIP_S = 0.3
WRITE = 6


class Device(asyncio.Protocol):
    """Reads of holding registers, and writes of single ones."""

    answers: dict[bytes, bytes] = {}  # noqa: RUF012
    drips = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        out = b""
        while len(self.buffer) >= 12:
            request, self.buffer = self.buffer[:12], self.buffer[12:]
            rest = request[6:]
            if rest[1] == WRITE:
                self._hold(rest)
                out += request
                continue
            answer = self.answers.get(rest)
            if answer is None:
                address, count = struct.unpack(">HH", request[8:])
                body = struct.pack(f">BBB{count}H", request[6], 3, 2 * count, *range(address, address + count))
                answer = self.answers[rest] = struct.pack(">HH", 0, len(body)) + body
            out += request[:2] + answer
        if self.drips:
            self._drip(out)
        else:
            self.transport.write(out)  # type: ignore[attr-defined]

    def _hold(self, rest: bytes) -> None:
        """A register is written: it alone, read alone, holds something else from now on."""
        body = rest[:1] + b"\x03\x02" + rest[4:6]
        self.answers[rest[:1] + b"\x03" + rest[2:4] + b"\x00\x01"] = struct.pack(">HH", 0, len(body)) + body

    def _drip(self, out: bytes) -> None:
        loop = asyncio.get_running_loop()
        for i in range(len(out)):
            loop.call_later(i * DRIP_S, self._send, out[i : i + 1])

    def _send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)  # type: ignore[attr-defined]


async def main() -> None:
    Device.drips = "drip" in sys.argv
    server = await asyncio.get_running_loop().create_server(Device, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main())
