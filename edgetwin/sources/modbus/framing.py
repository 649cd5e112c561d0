"""Frames of Modbus TCP (MBAP) and RTU, without I/O: bytes in, answers out.

MBAP: ``transaction:2 protocol:2 length:2 unit:1 PDU``, ``length`` counting from the unit (MODBUS Messaging on TCP/IP
Implementation Guide V1.0b, section 3.1.3). RTU: ``unit:1 PDU crc:2``, the checksum low byte first; frames are told
apart by silence, and here, as bytes come in any pieces, by the length that the request lets expect (MODBUS over Serial
Line V1.02, section 2.5.1). No buffer grows beyond one frame for each request that waits.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from edgetwin.kernels.modbus import crc16
from edgetwin.sources.modbus.frames import EXCEPTION, PDU_MAX, FramingError, Request

_MBAP = struct.Struct(">HHHB")
MBAP_SIZE = 7


class Framing(Protocol):
    """How requests are wrapped and answers unwrapped on one connection."""

    def encode(self, transaction: int, request: Request) -> bytes:
        """The frame of a request."""

    def feed(self, data: bytes, waiting: Mapping[int, Request], *, paused: bool = False) -> list[tuple[int, bytes]]:
        """Transaction and PDU of each whole answer in what has come so far.

        ``waiting`` holds the requests without an answer by transaction; ``paused``: there was a silence before ``data``
        longer than frames have inside. FramingError, and no answer at all, when any of
        what came cannot be an answer to one of them: the end of a frame cut short may be the head of the next.
        """

    def reset(self) -> None:
        """Forget a part of a frame."""


class Mbap:
    """Modbus TCP. ``datagrams``: each piece is a frame, and one that nobody waits for is a duplicate to pass over."""

    def __init__(self, *, datagrams: bool = False) -> None:
        self._datagrams = datagrams
        self._buffer = b""

    def encode(self, transaction: int, request: Request) -> bytes:
        """The frame of a request."""
        return _MBAP.pack(transaction, 0, len(request.pdu) + 1, request.unit) + request.pdu

    def reset(self) -> None:
        """Forget a part of a frame."""
        self._buffer = b""

    def feed(self, data: bytes, waiting: Mapping[int, Request], *, paused: bool = False) -> list[tuple[int, bytes]]:  # noqa: ARG002
        """See :class:`Framing`."""
        buffer = data if self._datagrams else self._buffer + data
        self._buffer = b""
        answers: dict[int, bytes] = {}
        at = 0
        while at < len(buffer):
            left = {t: r for t, r in waiting.items() if t not in answers} if answers else waiting
            end = self._end(buffer, at)
            if end is None:
                if self._datagrams:
                    raise FramingError("a datagram holds a part of a frame")
                self._check_start(buffer[at : at + 2], left)
                self._buffer = buffer[at:]
                break
            answer = self._frame(buffer, at, end, left)
            if len(left) > 1 and len(data) < MBAP_SIZE and at == 0:
                _check_tail(data, answer, left)
            at = end
            if answer is not None:
                answers[answer[0]] = answer[1]
        return list(answers.items())

    def _end(self, buffer: bytes, at: int) -> int | None:
        """Where the frame from ``at`` ends; None while bytes are missing."""
        if any(buffer[at + 2 : at + 4]):
            raise FramingError("the answer is not Modbus (protocol id is not 0)", hint="check the port of the url")
        if len(buffer) < at + 6:
            return None
        length = buffer[at + 4] << 8 | buffer[at + 5]
        if not 3 <= length <= PDU_MAX + 1:
            raise FramingError(f"the answer says it is {length} bytes long")
        end = at + 6 + length
        return end if end <= len(buffer) else None

    def _check_start(self, head: bytes, waiting: Mapping[int, Request]) -> None:
        """A frame that nobody waits for need not come whole to be refused."""
        if len(head) == 2 and int.from_bytes(head, "big") not in waiting:
            raise FramingError(f"transaction {int.from_bytes(head, 'big')} answered, {_names(waiting)} asked")

    def _frame(self, buffer: bytes, at: int, end: int, waiting: Mapping[int, Request]) -> tuple[int, bytes] | None:
        transaction = buffer[at] << 8 | buffer[at + 1]
        request = waiting.get(transaction)
        if request is None:
            if self._datagrams:
                return None
            raise FramingError(f"transaction {transaction} answered, {_names(waiting)} asked")
        if buffer[at + 6] != request.unit:
            raise FramingError(f"unit {buffer[at + 6]} answered, {request.unit} asked")
        if len(waiting) > 1:
            _check_whole(buffer[at + 7 : end], transaction, waiting)
        return transaction, buffer[at + 7 : end]


class Rtu:
    """RTU: one request at a time. Anything but the beginning of its answer is a fault of the stream."""

    def __init__(self) -> None:
        self._buffer = b""

    def encode(self, transaction: int, request: Request) -> bytes:  # noqa: ARG002
        """The frame of a request; ``transaction`` does not travel."""
        body = bytes((request.unit,)) + request.pdu
        return body + struct.pack("<H", _crc(body))

    def reset(self) -> None:
        """Forget a part of a frame."""
        self._buffer = b""

    def feed(self, data: bytes, waiting: Mapping[int, Request], *, paused: bool = False) -> list[tuple[int, bytes]]:
        """See :class:`Framing`."""
        if paused and self._buffer and not _crc(self._buffer):
            raise FramingError(
                "the answer is a whole frame, but a shorter one"
            )  # a zero byte would not break its checksum
        if not waiting:
            raise FramingError(f"{len(data)} bytes that nobody asked for")
        ((transaction, request),) = waiting.items()
        frame = self._buffer + data
        size = _rtu_size(frame, request)
        if size is None or len(frame) < size:
            self._buffer = frame
            return []
        self._buffer = b""
        if len(frame) > size:
            raise FramingError(f"{len(frame) - size} bytes follow the answer")
        if _crc(frame):
            raise FramingError("the checksum of the answer is wrong")
        if request.function <= 4 and frame == self.encode(transaction, request):
            raise FramingError("the request itself came back", hint="turn off the echo of the line adapter")
        return [(transaction, frame[1:-2])]


def _check_tail(data: bytes, answer: tuple[int, bytes] | None, waiting: Mapping[int, Request]) -> None:
    """FramingError when the few bytes that completed a frame are what another answer begins with."""
    for other, request in waiting.items():
        if answer is not None and other != answer[0] and _MBAP.pack(other, 0, 0, request.unit)[:4].startswith(data[:4]):
            raise FramingError(f"the answer to transaction {answer[0]} is cut short")


def _check_whole(pdu: bytes, transaction: int, waiting: Mapping[int, Request]) -> None:
    """FramingError when the header of another answer stands inside: the frame was cut short, and the next followed."""
    for other, request in waiting.items():
        if other == transaction:
            continue
        head = _MBAP.pack(other, 0, request.size + 1, request.unit)
        at = pdu.find(head[:4])
        if at >= 0 and pdu[at + 4 : at + 7] in (head[4:], b"\0\3" + head[6:]):
            raise FramingError(f"the answer to transaction {transaction} is cut short")


def _rtu_size(frame: bytes, request: Request) -> int | None:
    """Length of the whole frame; None while it cannot be told. FramingError when it is not the answer asked for."""
    if frame[:1] not in (b"", bytes((request.unit,))):
        raise FramingError(f"unit {frame[0]} answered, {request.unit} asked")
    if len(frame) < 2:
        return None
    function = request.pdu[0]
    if frame[1] == function | EXCEPTION:
        return 5
    if frame[1] != function:
        raise FramingError(f"function {frame[1]} answered, {function} asked")
    if function <= 4 and len(frame) > 2 and frame[2] != request.size - 2:
        raise FramingError(f"{frame[2]} bytes of data answered, {request.size - 2} asked")
    return request.size + 3


def _crc(data: bytes) -> int:
    return int(crc16(np.frombuffer(data, np.uint8)))


def _names(waiting: Mapping[int, Request]) -> str:
    return " and ".join(map(str, waiting)) or "none"
