"""MBAP and RTU: frames in any pieces, and the end of trust at the first byte that cannot be right."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from edgetwin.sources.modbus.frames import FramingError, Request, read_request, write_request
from edgetwin.sources.modbus.framing import Framing, Mbap, Rtu
from tests.sources.modbus.hostile import Bus, Port, crc16

ASKED = read_request(1, "holding", 100, 2)
PDU = Bus().honest(1, ASKED.pdu)
MBAP = Port(Bus(), rtu=False).frame(7, 1, PDU)
RTU = Port(Bus(), rtu=True).frame(7, 1, PDU)


def heard(framing: Framing, *pieces: bytes, asked: Request = ASKED) -> list[bytes]:
    waiting = {7: asked}
    found: list[bytes] = []
    for piece in pieces:
        for transaction, pdu in framing.feed(piece, waiting):
            del waiting[transaction]
            found.append(pdu)
    return found


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({a % len(data) for a in at} - {0})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.booleans(), st.lists(st.integers(0, 500)))
def test_answers_in_any_pieces(rtu: bool, at: list[int]) -> None:
    assert heard(Rtu() if rtu else Mbap(), *cut(RTU if rtu else MBAP, at)) == [PDU]


@given(st.lists(st.integers(0, 500)), st.permutations([1, 2, 3]))
def test_pipelined_answers_in_any_order(at: list[int], order: list[int]) -> None:
    asked = {t: read_request(t, "holding", t, t) for t in order}
    port = Port(Bus(), rtu=False)
    answers = {t: Bus().honest(t, asked[t].pdu) for t in asked}
    stream = b"".join(port.frame(t, t, answers[t]) for t in order)
    framing, found = Mbap(), {}
    for piece in cut(stream, at):
        for transaction, pdu in framing.feed(piece, asked):
            del asked[transaction]
            found[transaction] = pdu
    assert found == answers


@pytest.mark.parametrize(
    "stream",
    [
        b"\x00\x08" + MBAP[2:],  # another transaction
        MBAP[:6] + b"\x02" + MBAP[7:],  # another unit
        MBAP[:2] + b"\x00\x01" + MBAP[4:],  # another protocol
        b"HTTP/1.1 400 Bad Request\r\n",
        MBAP + MBAP,
        MBAP[:4] + b"\x00\x02\x01\x03",  # nothing in it
        MBAP[:4] + b"\xff\xff" + MBAP[6:],
        b"\x00\x09",  # no need to wait for the rest
    ],
)
def test_a_tcp_stream_out_of_step_is_a_fault(stream: bytes) -> None:
    with pytest.raises(FramingError):
        heard(Mbap(), stream)


@pytest.mark.parametrize(
    "stream",
    [
        b"\x02" + RTU[1:],  # another unit, told by the first byte
        b"\x02",
        b"\x01\x04",  # another function
        b"\x01\x84\x02\xc2\xc1",
        b"\x01\x03\x06",  # another count
        RTU + b"\x00",
        RTU + RTU,
        RTU[:-1] + bytes((RTU[-1] ^ 1,)),
        RTU[:4] + bytes((RTU[4] ^ 0x80,)) + RTU[5:],
    ],
)
def test_an_rtu_stream_that_is_not_the_answer_is_a_fault(stream: bytes) -> None:
    with pytest.raises(FramingError):
        heard(Rtu(), stream)


@given(st.integers(0, 8 * len(RTU) - 1))
def test_no_flipped_bit_passes_the_checksum(bit: int) -> None:
    data = bytearray(RTU)
    data[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(FramingError):
        assert heard(Rtu(), bytes(data)) == []


def test_the_echo_of_a_line_adapter_is_recognised() -> None:
    asked = read_request(1, "coil", 0x0300, 24)  # whose answer is as long as its request
    with pytest.raises(FramingError, match="itself"):
        heard(Rtu(), Rtu().encode(0, asked), asked=asked)


def test_a_datagram_is_a_whole_frame_and_a_duplicate_is_passed_over() -> None:
    framing = Mbap(datagrams=True)
    assert heard(framing, b"\x00\x06" + MBAP[2:], MBAP, MBAP) == [PDU]
    with pytest.raises(FramingError, match="part of a frame"):
        heard(framing, MBAP[:-1])


@given(st.integers(7, len(MBAP) - 1))
def test_a_frame_cut_short_is_not_completed_from_the_next(size: int) -> None:
    asked = {7: ASKED, 9: ASKED}
    with pytest.raises(FramingError):
        Mbap().feed(MBAP[:size] + b"\x00\x09" + MBAP[2:], asked)


def test_nor_when_the_next_fits_exactly() -> None:
    asked = {7: read_request(1, "holding", 0, 8), 9: read_request(1, "holding", 9, 1)}
    first = Port(Bus(), rtu=False).frame(7, 1, Bus().honest(1, asked[7].pdu))
    second = Port(Bus(), rtu=False).frame(9, 1, Bus().honest(1, asked[9].pdu))
    with pytest.raises(FramingError, match="cut short"):
        Mbap().feed(first[: -len(second)] + second, asked)


def test_nor_when_the_next_begins_byte_by_byte() -> None:
    framing = Mbap()
    assert framing.feed(MBAP[:-1], {7: ASKED, 0x0209: ASKED}) == []
    with pytest.raises(FramingError, match="cut short"):
        framing.feed(b"\x02", {7: ASKED, 0x0209: ASKED})


def test_a_shorter_frame_and_a_zero_byte_are_no_answer() -> None:
    body = b"\x01\x03\x04\x12\x34\x56"
    shorter = body + crc16(body).to_bytes(2, "little")
    assert crc16(shorter + b"\0") == 0
    framing = Rtu()
    assert framing.feed(shorter, {7: ASKED}) == []
    with pytest.raises(FramingError, match="shorter"):
        framing.feed(b"\0", {7: ASKED}, paused=True)


@given(st.binary(max_size=400), st.booleans())
def test_noise_is_never_an_answer_and_never_kept(noise: bytes, rtu: bool) -> None:
    framing: Framing = Rtu() if rtu else Mbap()
    try:
        for pdu in heard(framing, noise):
            assert pdu  # a frame that is right in every field may come by chance
    except FramingError:
        framing.reset()
        assert heard(framing, RTU if rtu else MBAP) == [PDU]
    assert len(framing._buffer) <= 260  # type: ignore[attr-defined]


@given(st.binary(min_size=2, max_size=256))
def test_the_checksum_is_that_of_the_specification_and_of_pymodbus(data: bytes) -> None:
    frame = Rtu().encode(0, Request(data[0], data[1:], 0, b""))
    assert int.from_bytes(frame[-2:], "little") == crc16(data)
    assert frame[-2:] == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_pymodbus_reads_our_frames() -> None:
    for asked in (ASKED, write_request(17, "holding", 3, [1, 2, 3]), write_request(1, "coil", 3, [1])):
        for framing, theirs in (
            (Rtu(), FramerRTU(DecodePDU(True))),
            (Mbap(), FramerSocket(DecodePDU(True))),
        ):
            frame = framing.encode(7, asked)
            used, unit, _, pdu = theirs.decode(frame)
            assert (used, unit, pdu) == (len(frame), asked.unit, asked.pdu)
