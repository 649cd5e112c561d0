"""Requests and the strict check of their answers, without I/O.

A protocol data unit (PDU) is ``function:1 data`` and at most 253 bytes. An answer is taken only when its function, its
byte count, its length and, for writes, its echo are those of the request; the frame around it (:mod:`framing`) ties it
to unit and transaction. pymodbus encodes the requests. Its client is not used, as it takes answers that were not asked
for: another function, another count, those of an earlier RTU request. Source: MODBUS Application Protocol V1.1b3,
sections 6 (functions) and 7 (exceptions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.diag_message import ReturnQueryDataRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from edgetwin.errors import PayloadError, SourceError

PDU_MAX = 253
EXCEPTION = 0x80
READ = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""Function code that reads each table."""
WRITABLE = ("coil", "holding")
DIAGNOSTICS = 8
COUNT_MAX = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
"""Most bits or registers in one request of each function."""

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}
UNREACHED = (10, 11)
"""Exceptions by which a gateway says that the unit behind it did not answer."""


class LinkError(SourceError):
    """The connection failed a request. ``sent``: the request had gone out, so a write may have taken effect."""

    def __init__(self, message: str, *, hint: str = "", sent: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent


class FramingError(LinkError):
    """What came cannot be an answer: the byte stream is not trusted any further."""


class NoAnswerError(LinkError):
    """The whole answer did not come in time."""


class RefusalError(PayloadError):
    """The device answered with an exception. ``code`` as in section 7; it took ``took_ns``."""

    def __init__(self, code: int) -> None:
        super().__init__(f"device answers exception {code} ({EXCEPTIONS.get(code, 'unknown')})")
        self.code = code
        self.took_ns = 0


class WrongAnswerError(PayloadError):
    """A whole frame for this request that does not answer it: function, counts or echo are not those asked for."""


@dataclass(frozen=True, slots=True)
class Request:
    """``pdu`` asks ``unit``. ``size`` is the length of the PDU that answers; ``echo`` what it begins with."""

    unit: int
    pdu: bytes
    size: int
    echo: bytes

    @property
    def function(self) -> int:
        """Function code."""
        return self.pdu[0]


def read_request(unit: int, table: str, address: int, count: int) -> Request:
    """Read ``count`` registers or bits of ``table`` from ``address``."""
    function = READ[table]
    assert 1 <= count <= COUNT_MAX[function], count
    assert 0 <= address <= 65536 - count, address
    size = (count + 7) // 8 if function <= 2 else 2 * count
    return Request(unit, _encoded(_READS[table](address=address, count=count)), 2 + size, bytes((function, size)))


def write_request(unit: int, table: str, address: int, values: Sequence[int], *, single: bool | None = None) -> Request:
    """Write registers (0 to 65535) or coils (0 or 1) from ``address``.

    ``single`` asks for function 5 or 6 (True) or 15 or 16 (False); None takes the former for one value.
    """
    assert table in WRITABLE, table
    assert 0 <= address <= 65536 - len(values), address
    if single or (single is None and len(values) == 1):
        (value,) = values
        pdu = _encoded(
            WriteSingleCoilRequest(address=address, bits=[bool(value)])
            if table == "coil"
            else WriteSingleRegisterRequest(address=address, registers=[value])
        )
        return Request(unit, pdu, 5, pdu)
    pdu = _encoded(
        WriteMultipleCoilsRequest(address=address, bits=[bool(v) for v in values])
        if table == "coil"
        else WriteMultipleRegistersRequest(address=address, registers=list(values))
    )
    assert 1 <= len(values) <= COUNT_MAX[pdu[0]], len(values)
    return Request(unit, pdu, 5, pdu[:5])


def probe_request(unit: int, nonce: int) -> Request:
    """Return Query Data (function 8, sub-function 0), whose answer looks like that of no read and no write."""
    pdu = _encoded(ReturnQueryDataRequest(message=nonce))
    return Request(unit, pdu, 5, pdu[:3])


_READS: dict[str, type[ModbusPDU]] = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}


def _encoded(pdu: ModbusPDU) -> bytes:
    return bytes((pdu.function_code,)) + pdu.encode()


def check_answer(request: Request, pdu: bytes) -> None:
    """Return when ``pdu`` is the answer asked for; RefusalError for an exception response, else WrongAnswerError."""
    function = request.pdu[0]
    if len(pdu) == request.size and pdu.startswith(request.echo):
        return
    if not pdu:
        raise WrongAnswerError("an empty answer")
    if pdu[0] == function | EXCEPTION:
        if len(pdu) != 2:
            raise WrongAnswerError(f"exception response of {len(pdu)} bytes")
        raise RefusalError(pdu[1])
    if pdu[0] != function:
        raise WrongAnswerError(f"function {pdu[0]} answered, {function} asked")
    if function in COUNT_MAX and function <= 4:
        said = pdu[1] if len(pdu) > 1 else 0
        raise WrongAnswerError(f"{said} bytes of data ({len(pdu) - 2} sent), {request.size - 2} asked")
    raise WrongAnswerError(f"echo {pdu[1:].hex(' ')} answered, {request.echo[1:].hex(' ')} asked")


def values_of(table: str, count: int, pdu: bytes) -> NDArray[np.uint16]:
    """The registers, uint16[count], of a checked answer to a read; for coils and discrete inputs 0 or 1."""
    if READ[table] <= 2:
        bits = np.unpackbits(np.frombuffer(pdu, np.uint8, offset=2), count=count, bitorder="little")
        return bits.astype(np.uint16)
    return np.frombuffer(pdu, ">u2", count, 2).astype(np.uint16)
