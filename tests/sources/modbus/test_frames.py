"""Requests as the specification prints them, and the strict check of answers."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.sources.modbus.frames import (
    COUNT_MAX,
    READ,
    RefusalError,
    Request,
    WrongAnswerError,
    check_answer,
    probe_request,
    read_request,
    values_of,
    write_request,
)
from tests.sources.modbus.hostile import Bus, value_of


@pytest.mark.parametrize(
    ("request_", "pdu"),
    [  # the examples of Application Protocol V1.1b3, section 6
        (read_request(1, "coil", 19, 19), "01 0013 0013"),
        (read_request(1, "discrete", 196, 22), "02 00c4 0016"),
        (read_request(1, "holding", 107, 3), "03 006b 0003"),
        (read_request(1, "input", 8, 1), "04 0008 0001"),
        (write_request(1, "coil", 172, [1]), "05 00ac ff00"),
        (write_request(1, "holding", 1, [3]), "06 0001 0003"),
        (probe_request(1, 0xA537), "08 0000 a537"),
        (write_request(1, "coil", 19, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]), "0f 0013 000a 02 cd01"),
        (write_request(1, "holding", 1, [10, 258]), "10 0001 0002 04 000a 0102"),
        (write_request(1, "holding", 1, [10], single=False), "10 0001 0001 02 000a"),
        (write_request(1, "coil", 0, [0]), "05 0000 0000"),
    ],
)
def test_requests_are_those_of_the_specification(request_: Request, pdu: str) -> None:
    assert request_.pdu == bytes.fromhex(pdu)


tables = st.sampled_from(sorted(READ))


@given(st.integers(0, 255), tables, st.integers(0, 65535), st.integers(1, 2000))
def test_true_answers_are_taken_and_give_the_values(unit: int, table: str, address: int, count: int) -> None:
    count = min(count, COUNT_MAX[READ[table]], 65536 - address)
    request = read_request(unit, table, address, count)
    answer = Bus().honest(unit, request.pdu)
    check_answer(request, answer)
    values = values_of(table, count, answer)
    assert values.dtype == np.uint16
    assert values.tolist() == [value_of(unit, table, address + i) for i in range(count)]


@given(tables, st.integers(1, 40), st.data())
def test_an_answer_for_another_count_or_function_is_never_taken(table: str, count: int, data: st.DataObject) -> None:
    request = read_request(1, table, 0, count)
    other_table = data.draw(tables)
    other = read_request(1, other_table, data.draw(st.integers(0, 50)), data.draw(st.integers(1, 40)))
    answer = Bus().honest(1, other.pdu)
    if (other_table, other.size) == (table, request.size):
        check_answer(request, answer)  # only the frame around it could tell
    else:
        with pytest.raises(WrongAnswerError):
            check_answer(request, answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x03",
        b"\x04\x04\x00\x01\x00\x02",  # another function
        b"\x84\x02",  # an exception to another function
        b"\x83\x02\x00",  # an exception too long
        b"\x83",  # and too short
        b"\x03\x02\x00\x01",  # too few
        b"\x03\x06\x00\x01\x00\x02\x00\x03",  # too many
        b"\x03\x05\x00\x01\x00\x02\x00",  # odd
        b"\x03\x04\x00\x01",  # byte count and length disagree
        b"\x03\x02\x00\x01\x00\x02",
        b"\x03\x04\x00\x01\x00\x02\x00",
    ],
)
def test_what_is_not_the_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(WrongAnswerError):
        check_answer(read_request(1, "holding", 0, 2), answer)


@given(st.binary(max_size=12))
def test_of_arbitrary_bytes_only_the_right_header_passes(data: bytes) -> None:
    try:
        check_answer(read_request(1, "holding", 0, 2), data)
    except RefusalError as exc:
        assert data == bytes((0x83, exc.code))
    except WrongAnswerError:
        assert data[:2] != b"\x03\x04" or len(data) != 6
    else:
        assert data[:2] == b"\x03\x04"
        assert len(data) == 6


@given(
    st.sampled_from(["coil", "holding"]), st.integers(0, 60000), st.lists(st.integers(0, 65535), min_size=1, max_size=9)
)
def test_the_echo_of_a_write_must_be_its_own(table: str, address: int, values: list[int]) -> None:
    values = [v & 1 for v in values] if table == "coil" else values
    request = write_request(1, table, address, values)
    echo = Bus().honest(1, request.pdu)
    check_answer(request, echo)
    for at in range(1, 5):
        with pytest.raises(WrongAnswerError):
            check_answer(request, echo[:at] + bytes((echo[at] ^ 0x10,)) + echo[at + 1 :])
    with pytest.raises(WrongAnswerError):
        check_answer(request, echo + b"\0")


@pytest.mark.parametrize("code", range(1, 12))
def test_an_exception_response_says_what_it_is(code: int) -> None:
    with pytest.raises(RefusalError, match=f"exception {code}") as caught:
        check_answer(read_request(1, "input", 0, 1), struct.pack("BB", 0x84, code))
    assert caught.value.code == code
