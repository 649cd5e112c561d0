"""Decimal text to double, against Python's float()."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.kernels.numbers import INVALID, OK, PUNT, RANGE, parse_number, scan_decimal
from edgetwin.sources.payload import read_number
from tests.kernels.wire import array, examples, fenced


def parse(text: bytes, *, strict: bool = False) -> tuple[float, int, int]:
    value, end, status = parse_number(array(text), 0, len(text), strict)
    return float(value), int(end), int(status)


def assert_is_float_of(text: str) -> None:
    value, end, status = parse(text.encode(), strict=True)
    assert end == len(text)
    if status == OK:
        assert struct.pack("d", value) == struct.pack("d", float(text))
    elif status == RANGE:
        assert math.isinf(float(text))
    else:
        assert status == PUNT
        assert sum(c.isdigit() for c in text.split("e")[0].lstrip("-0.")) >= 19


@examples(2000)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shortest_text_of_any_double_comes_back(x: float) -> None:
    assert_is_float_of(repr(x).replace("e+", "e"))


@examples(2000)
@given(st.integers(0, 10**20), st.integers(-400, 400), st.booleans())
def test_any_mantissa_and_exponent(m: int, e: int, negative: bool) -> None:
    assert_is_float_of(f"{'-' if negative else ''}{m}e{e}")


@examples(2000)
@given(st.integers(2**53, 2**54 - 1), st.integers(-8, 26), st.integers(-1, 1))
def test_halfway_cases(m: int, e: int, nudge: int) -> None:
    assert_is_float_of(f"{2 * m + 1 + nudge}e{e}")


@examples(1000)
@given(st.integers(0, 2**54), st.integers(-1, 1))
def test_subnormal_and_smallest_normal(bits: int, nudge: int) -> None:
    x = struct.unpack("d", struct.pack("Q", bits))[0]
    m, e = f"{x:.17e}".split("e")
    assert_is_float_of(f"{int(m.replace('.', '')) + nudge if x else 0}e{int(e) - 17}")


def test_every_power_of_ten() -> None:
    for e in range(-350, 320):
        assert_is_float_of(f"1e{e}")
        assert_is_float_of(f"9007199254740993e{e}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"23.417", 23.417),
        (b" \t\r\n-7 \n", -7.0),
        (b"+1", 1.0),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"1E+3", 1000.0),
        (b"007", 7.0),
        (b"true", 1.0),
        (b" false ", 0.0),
        (b"-0", -0.0),
        (b"0e999999999999999999999", 0.0),
        (b"1e-999999999999999999999", 0.0),
        (b"1700000000123456789", 1700000000123456789.0),
    ],
)
def test_plain_payloads(text: bytes, value: float) -> None:
    got, _, status = parse(text)
    assert status == OK
    assert struct.pack("d", got) == struct.pack("d", value)
    assert read_number(text.decode()) == value


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b".", b"-", b"+", b"e5", b"1e", b"1e+", b"1 2", b"1,5", b"NaN", b"nan", b"Infinity", b"-inf", b"TRUE",
     b"truex", b"tru", b"0x10", b"1_000", b"--1", b"1.2.3", b"\x00", b"1\x00", b"\xc2\xa01", b"12abc"],
)  # fmt: skip
def test_what_is_no_number(text: bytes) -> None:
    assert parse(text)[2] == INVALID
    assert read_number(text.decode("latin-1")) is None


@pytest.mark.parametrize("text", [b"01", b"-", b"1.", b".5", b"+1", b"1e", b"-.5", b"00"])
def test_strict_refuses_what_json_refuses(text: bytes) -> None:
    assert parse(text, strict=True)[2] == INVALID


def test_overflow_is_no_number() -> None:
    assert parse(b"1e309")[2] == RANGE
    assert parse(b"-1.8e308")[2] == RANGE
    assert parse(b"1e99999999999999999999999")[2] == RANGE
    assert parse(b"1.7976931348623157e308")[:3:2] == (1.7976931348623157e308, OK)


def test_more_digits_than_a_word_holds_are_left_to_python() -> None:
    assert parse(b"1" * 5000)[1:] == (5000, PUNT)
    assert parse(b"0." + b"3" * 30)[2] == PUNT
    assert parse(b"0." + b"0" * 300 + b"3")[::2] == (3e-301, OK)
    assert read_number("1" * 5000) is None
    assert read_number("0." + "3" * 5000) == 1 / 3


@examples(1000)
@given(st.text("0123456789+-.eE \t\ntrufals", max_size=24))
def test_kernel_and_slow_path_agree_on_anything(text: str) -> None:
    value, _, status = parse(text.encode())
    expected = read_number(text)
    if status == OK:
        assert expected is not None
        assert struct.pack("d", value) == struct.pack("d", expected)
    elif status != PUNT:
        assert expected is None


@examples(500)
@given(st.text("0123456789+-.e", max_size=12), st.binary(min_size=8, max_size=8), st.booleans())
def test_nothing_after_the_end_is_read(text: str, guard: bytes, strict: bool) -> None:
    buf, n = fenced(text.encode(), guard)
    zeros, _ = fenced(text.encode(), bytes(8))
    first = [np.float64(x).tobytes() for x in parse_number(buf, 0, n, strict)]
    assert first == [np.float64(x).tobytes() for x in parse_number(zeros, 0, n, strict)]


def test_end_of_a_strict_number_is_where_it_stops() -> None:
    assert parse(b"1.5,", strict=True) == (1.5, 3, OK)
    m, e, negative, end, status = scan_decimal(array(b"-12.50e1]"), 0, 9, True)
    assert (m, e, negative, end, status) == (1250, -1, True, 8, OK)
