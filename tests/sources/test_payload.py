"""The slow path by itself: hostile payloads and malformed packets. (tests/kernels compares it with the kernel.)"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.errors import PayloadError
from edgetwin.kernels.topics import Binding
from edgetwin.sources.payload import read_number, read_payload, read_time, split_publish
from tests.kernels.wire import publish

PLAIN = Binding(1)
JSON = Binding(2, ("v",), ("t",))


def test_samples_and_counts_of_one_payload() -> None:
    bindings = [JSON, Binding(3, ("w",)), Binding(4, ("x",)), Binding(5, ("s",), None, "s", True)]
    reading = read_payload(b'{"v":1,"t":2,"w":null,"s":"\\u0033"}', bindings, 99, False)
    assert reading.samples == [(2, 2_000_000_000, 1.0), (5, 99, 3.0)]
    assert (reading.invalid, reading.late_dropped) == (1, 0)


def test_retained() -> None:
    reading = read_payload(b'{"v":1,"t":2,"w":3}', [JSON, Binding(3, ("w",))], 99, True)
    assert reading.samples == [(2, 2_000_000_000, 1.0)]
    assert (reading.invalid, reading.late_dropped) == (0, 1)


def test_an_empty_payload_and_one_with_nothing_wanted_are_one_invalid() -> None:
    for payload in (b"", b"{}"):
        assert read_payload(payload, [JSON, Binding(3, ("w",))], 0, False).invalid == 1


@pytest.mark.parametrize(
    "payload",
    [
        b'{"v":NaN}',
        b'{"v":Infinity}',
        b'{"v":1e400}',
        b'{"v":' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"v":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
        b'{"v":1,"x":"\xff"}',
        b'{"v":1,"t":' + b"9" * 5000 + b"}",
        b'{"v":1,"t":1e999999999999999999999999}',
        b'{"v":1,"t":1e-' + b"9" * 5000 + b"x}",
        b'{"v":1,"t":"x"}',
        b"\x00" * 100,
        b'"' * 101,
    ],
)
def test_hostile_json_is_one_invalid_sample(payload: bytes) -> None:
    reading = read_payload(payload, [JSON], 0, False)
    assert (reading.samples, reading.invalid) == ([], 1)


def test_extreme_but_valid_numbers() -> None:
    digits = b"0." + b"1" * 5000
    assert read_payload(b'{"v":' + digits + b"}", [JSON], 7, False).samples == [(2, 7, 1 / 9)]
    tiny = b'{"v":1,"t":1e-' + b"9" * 5000 + b"}"
    assert read_payload(tiny, [JSON], 7, False).samples == [(2, 0, 1.0)]
    many = b'{"v":1,"t":1.' + b"0" * 5000 + b"1}"
    assert read_payload(many, [JSON], 7, False).samples == [(2, 10**9, 1.0)]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.booleans())
def test_nothing_raises(payload: bytes, retained: bool) -> None:
    bindings = [PLAIN, JSON, Binding(3, (), (), "iso", True), Binding(4, ("v", 0), None, "ns", True)]
    reading = read_payload(payload, bindings, 0, retained)
    assert len(reading.samples) + reading.invalid + reading.late_dropped <= len(bindings)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10**40), st.integers(-60, 20), st.sampled_from([("s", 9), ("ms", 6), ("us", 3), ("ns", 0)]))
def test_times_round_half_to_even(m: int, e: int, unit: tuple[str, int]) -> None:
    exact = round(Fraction(m) * Fraction(10) ** (e + unit[1]))
    got = read_time(f"{m}e{e}", unit[0])
    assert got == (exact if exact <= 9_223_372_036_000_000_000 else None)


def test_digits_of_other_scripts_are_no_numbers() -> None:
    assert read_number("１２") is None
    assert read_number("1_0") is None
    assert read_time("٢٠٢٤-01-01T00:00Z", "iso") is None


def test_split_publish() -> None:
    packet = publish(b"a/b", b"xyz", qos=1, mid=300, retain=True, properties=b"\x23\x00\x05\x26\x00\x01k\x00\x01v")
    message = split_publish(packet, True)
    assert (message.topic, message.payload, message.qos, message.mid) == (b"a/b", b"xyz", 1, 300)
    assert (message.retain, message.dup, message.alias) == (True, False, 5)
    assert split_publish(publish(b"a", b""), False).alias is None


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 40), st.binary(max_size=40), st.booleans())
def test_a_broken_packet_is_a_payload_error_and_nothing_else(cut: int, noise: bytes, v5: bool) -> None:
    packet = publish(b"a/b", b"xyz", qos=1, properties=b"\x26\x00\x01k\x00\x01v" if v5 else None)
    for broken in (packet[:cut], noise, packet[:cut] + noise):
        if broken != packet:
            try:
                message = split_publish(broken, v5)
            except PayloadError:
                continue
            assert broken.endswith(message.payload)
