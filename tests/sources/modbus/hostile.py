"""A bus of Modbus units that can be made to misbehave in every known way, without I/O of its own.

Register and bit values are a function of (unit, table, address), so that an answer taken for another address shows.
A mood decides, request by request, what a unit does. On RTU the units share one line and answer strictly in the order
in which they were asked, as a serial device does; in Modbus TCP a late answer overtakes nothing but may come at any time.

``python -m tests.sources.modbus.hostile --runs 10000`` makes random runs (:mod:`tests.sources.modbus.runs`).
"""

from __future__ import annotations

import asyncio
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
EXCEPTIONS = (1, 2, 3, 4, 5, 6, 11)
DRIP_S = 0.3

FAULTS = (
    "silent", "late", "garbage", "lying_length", "flood", "drip", "partial", "wrong_unit", "wrong_function",
    "wrong_count", "wrong_transaction", "twice", "close", "loop_back", "flip", *(f"exception_{c}" for c in EXCEPTIONS),
)  # fmt: skip
"""What can go wrong with an answer to a read. ``flip`` (of a bit) only where there is a checksum to show it."""

WRITE_FAULTS = ("wrong_echo", "silent", "late", "garbage", "wrong_function", "exception_2", "close")


def value_of(unit: int, table: str, address: int) -> int:
    """What stands in a register (0 to 65535) or bit (0 or 1)."""
    mixed = zlib.crc32(struct.pack(">BHB", unit, address, list(TABLES.values()).index(table)))
    return mixed & 1 if table in ("coil", "discrete") else mixed >> 8 & 0xFFFF


def crc16(data: bytes) -> int:
    """Bit by bit, as in MODBUS over Serial Line V1.02, section 6.2.2; apart from the code under test."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc, carry = crc >> 1, crc & 1
            if carry:
                crc ^= 0xA001
    return crc


def always(_unit: int, _pdu: bytes) -> str:
    """The mood of an honest bus."""
    return "honest"


@dataclass
class Bus:
    """``units`` that exist, ``dead`` ones that say nothing; what they refuse; ``asked`` is every request."""

    units: tuple[int, ...] = (1,)
    mood: Callable[[int, bytes], str] = always
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    dead: set[int] = field(default_factory=set)
    illegal: set[tuple[int, int]] = field(default_factory=set)  # (function, address)
    count_max: int = 2000
    illegal_code: int = 2
    knows_diagnostics: bool = True
    late_s: Callable[[], float] = lambda: 1.0
    asked: list[tuple[int, bytes]] = field(default_factory=list)
    memory: dict[tuple[int, str, int], int] = field(default_factory=dict)
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    def value(self, unit: int, table: str, address: int) -> int:
        return self.memory.get((unit, table, address), value_of(unit, table, address))

    def honest(self, unit: int, pdu: bytes) -> bytes:
        """The PDU of a true answer."""
        function = pdu[0]
        if function in TABLES:
            return self._read(unit, pdu)
        if function in (5, 6, 15, 16):
            return self._write(unit, pdu)
        if function == 8 and self.knows_diagnostics:
            return pdu
        return bytes((function | 0x80, 1))

    def _read(self, unit: int, pdu: bytes) -> bytes:
        function, address, count = struct.unpack(">BHH", pdu)
        span = range(address, address + count)
        if count > self.count_max or any((function, a) in self.illegal for a in span) or span.stop > 65536:
            return bytes((function | 0x80, self.illegal_code))
        values = [self.value(unit, TABLES[function], a) for a in span]
        if function <= 2:
            data = bytearray((count + 7) // 8)
            for i, bit in enumerate(values):
                data[i // 8] |= bit << i % 8
        else:
            data = bytearray(struct.pack(f">{count}H", *values))
        return bytes((function, len(data))) + bytes(data)

    def _write(self, unit: int, pdu: bytes) -> bytes:
        function, address, value = struct.unpack(">BHH", pdu[:5])
        if (function, address) in self.illegal:
            return bytes((function | 0x80, self.illegal_code))
        if function == 5:
            self.memory[unit, "coil", address] = int(value == 0xFF00)
        elif function == 6:
            self.memory[unit, "holding", address] = value
        elif function == 15:
            for i in range(value):
                self.memory[unit, "coil", address + i] = pdu[6 + i // 8] >> i % 8 & 1
        else:
            for i, word in enumerate(struct.unpack(f">{value}H", pdu[6:])):
                self.memory[unit, "holding", address + i] = word
        return pdu[:5]


class Port:
    """A connection to a bus. ``send`` and ``close`` are the transport's; ``feed`` is called with what the master sends."""

    def __init__(self, bus: Bus, *, rtu: bool, datagrams: bool = False) -> None:
        self.bus = bus
        self.rtu = rtu
        self.datagrams = datagrams
        self.send: Callable[[bytes], None] = lambda data: None
        self.close: Callable[[], None] = lambda: None
        self._buffer = b""
        self._free_at = 0.0

    def feed(self, data: bytes) -> None:
        """Requests in any pieces."""
        self._buffer += data
        while (size := self._size()) and len(self._buffer) >= size:
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            if self.rtu:
                if crc16(frame):
                    self._buffer = b""
                    return
                self._asked(0, frame[0], frame[1:-2], frame)
            else:
                self._asked(int.from_bytes(frame[:2], "big"), frame[6], frame[7:], frame)

    def _size(self) -> int:
        if not self.rtu:
            return 6 + int.from_bytes(self._buffer[4:6], "big") if len(self._buffer) >= 6 else 0
        if len(self._buffer) < 8:
            return 0
        return 9 + self._buffer[6] if self._buffer[1] in (15, 16) else 8

    def frame(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        if self.rtu:
            body = bytes((unit,)) + pdu
            return body + struct.pack("<H", crc16(body))
        return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu

    # ---- what a unit does

    def _asked(self, transaction: int, unit: int, pdu: bytes, raw: bytes) -> None:
        bus = self.bus
        bus.asked.append((unit, pdu))
        bus.seen.set()
        if unit not in bus.units or unit in bus.dead:
            return
        mood = bus.mood(unit, pdu)
        pieces = self._pieces(mood, transaction, unit, pdu, raw)
        loop = asyncio.get_running_loop()
        begin = loop.time() + (bus.late_s() if mood == "late" else 0.0)
        if self.rtu:  # one thing after the other
            begin = max(begin, self._free_at)
        for i, piece in enumerate(pieces):
            at = begin + i * (DRIP_S if mood == "drip" else 0.0)
            if at <= loop.time():
                self.send(piece)
            else:
                loop.call_at(at, self._send_later, piece)
            self._free_at = at if mood != "drip" else begin
        if mood == "close":
            self.close()

    def _send_later(self, piece: bytes) -> None:
        self.send(piece)

    def _pieces(self, mood: str, transaction: int, unit: int, pdu: bytes, raw: bytes) -> list[bytes]:
        bus, rng = self.bus, self.bus.rng
        honest = bus.honest(unit, pdu)
        frame = self.frame(transaction, unit, honest)
        if mood.startswith("exception_"):
            return [self.frame(transaction, unit, bytes((pdu[0] | 0x80, int(mood[10:]))))]
        if mood in ("silent", "close"):
            return []
        if mood == "garbage":
            return [rng.randbytes(rng.randrange(1, 300))]
        if mood == "flood":
            return [rng.randbytes(1400) for _ in range(20)]
        if mood == "drip":
            return [frame[i : i + 1] for i in range(len(frame))]
        if mood == "partial":
            return [frame[: rng.randrange(1, len(frame))]]
        if mood == "twice":
            return [frame + frame]
        if mood == "loop_back":
            return [raw]
        if mood == "lying_length":
            return [self._lying(frame)]
        if mood == "flip":
            at = rng.randrange(len(frame) * 8)
            return [frame[: at // 8] + bytes((frame[at // 8] ^ 1 << at % 8,)) + frame[at // 8 + 1 :]]
        if mood == "wrong_unit":
            return [self.frame(transaction, unit + 1, bus.honest(unit + 1, pdu))]
        if mood == "wrong_transaction":  # the answer to a request for another address
            other = bytes((pdu[0],)) + struct.pack(">H", (int.from_bytes(pdu[1:3], "big") + 1) % 65000) + pdu[3:]
            return [self.frame(transaction - 1 & 0xFFFF, unit + self.rtu, bus.honest(unit, other))]
        if mood == "wrong_function":
            return [self.frame(transaction, unit, bytes((honest[0] ^ 7,)) + honest[1:])]
        if mood == "wrong_count":
            return [self.frame(transaction, unit, _other_count(honest, rng))]
        if mood == "wrong_echo":
            return [self.frame(transaction, unit, honest[:-1] + bytes((honest[-1] ^ 1,)))]
        return [frame]

    def _lying(self, frame: bytes) -> bytes:
        if self.rtu:
            return frame[:2] + bytes((frame[2] + 2 & 0xFF,)) + frame[3:]
        return frame[:4] + struct.pack(">H", self.bus.rng.choice((1, 60, 254, 255, 65535))) + frame[6:]


def _other_count(pdu: bytes, rng: random.Random) -> bytes:
    """An answer with more, fewer or an odd number of bytes, all of them consistent in themselves or not."""
    kind = rng.randrange(4)
    if kind == 0:
        return bytes((pdu[0], pdu[1] + 2 & 0xFF)) + pdu[2:] + b"\0\1"
    if kind == 1:
        return bytes((pdu[0], pdu[1] - 1 & 0xFF)) + pdu[2:-1]
    if kind == 2:
        return bytes((pdu[0], pdu[1] ^ 1)) + pdu[2:]
    return pdu[:1] + pdu[1:2] + pdu[2:-1]


if __name__ == "__main__":
    from tests.sources.modbus.runs import main

    main()
