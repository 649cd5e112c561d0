"""Strict check of a Modbus TCP answer against its request.

pymodbus takes answers with the wrong function, the wrong number of registers and an odd byte count; a wrong
count would shift every value behind it. Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b,
section 3.1.3 (MBAP header); MODBUS Application Protocol V1.1b3, sections 6.1 to 6.4 and 7 (exceptions).

A frame is ``transaction:2 protocol:2 length:2 unit:1 function:1 data`` and ``length`` counts from the unit.
"""

from __future__ import annotations

from edgetwin.errors import PayloadError, SourceError

HEADER = 8
LENGTH_MIN, LENGTH_MAX = 3, 254
EXCEPTION = 0x80

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


class FramingError(SourceError):
    """The byte stream cannot be trusted any further: the connection is to be made anew."""


def check_answer(request: bytes, received: bytes) -> bool:
    """Whether ``received`` is the whole, sound answer to ``request`` (a read, functions 1 to 4).

    False while bytes are still missing. Raises FramingError when the stream is out of step, and PayloadError
    when the frame is whole but not the answer asked for. A well-formed exception response is sound.
    """
    if any(received[2:4]):
        raise FramingError("the answer is not Modbus (protocol id is not 0)", hint="check the port of the url")
    if len(received) < 6:
        return False
    length = _word(received, 4)
    if not LENGTH_MIN <= length <= LENGTH_MAX:
        raise FramingError(f"the answer says it is {length} bytes long")
    if len(received) < 6 + length:
        return False
    if len(received) > 6 + length:
        raise FramingError(f"{len(received) - 6 - length} bytes follow the answer")
    if received[:2] != request[:2]:
        raise FramingError(f"transaction {_word(received, 0)} answered, {_word(request, 0)} asked")
    if received[6] != request[6]:
        raise FramingError(f"unit {received[6]} answered, {request[6]} asked")
    _check_body(request, received, length)
    return True


def exception_text(code: int) -> str:
    """What a device says with an exception response."""
    return f"exception {code} ({EXCEPTIONS.get(code, 'unknown')})"


def _check_body(request: bytes, received: bytes, length: int) -> None:
    function, asked = received[7], request[7]
    if function == asked | EXCEPTION:
        if length != 3:
            raise PayloadError(f"exception response of {length} bytes")
        return
    if function != asked:
        raise PayloadError(f"function {function} answered, {asked} asked")
    count = _word(request, 10)
    expected = (count + 7) // 8 if asked <= 2 else 2 * count
    if received[HEADER] != expected or length != 3 + expected:
        raise PayloadError(f"{received[HEADER]} bytes of data ({length - 3} sent), {expected} asked")


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
