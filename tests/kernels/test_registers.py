"""The register kernel against the struct module and plain integers, compiled and as plain Python."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgetwin.config.registers import BCD, BITS, FLOATS, SIGNED, UNSIGNED, whole_range
from edgetwin.config.schema import Register
from edgetwin.kernels.registers import ORDERS
from edgetwin.sources.modbus.layouts import make_layout

FORMATS = {"float16": "e", "float32": "f", "float64": "d"}
WHOLE = sorted(set(UNSIGNED | SIGNED) - {"bit", "int8", "uint8"})
words16 = st.integers(0, 0xFFFF)
orders = st.sampled_from(sorted(ORDERS))


def reg(kind: str, at: int = 0, **keys: Any) -> Register:
    return Register(address=100 + at, type=kind, **keys)  # type: ignore[arg-type]


def run(words: list[int], *registers: Register) -> NDArray[np.float64]:
    return make_layout(registers, 100).decode(np.array(words, np.uint16))


def in_order(words: list[int], order: str) -> bytes:
    """The bytes of a value, most significant first: undo the word order, then the byte order."""
    ordered = words[::-1] if order in ("CDAB", "DCBA") else words
    return struct.pack(f"{'<' if order in ('BADC', 'DCBA') else '>'}{len(ordered)}H", *ordered)


def laid(data: bytes, order: str) -> list[int]:
    """The words of a value whose bytes are ``data``, most significant first."""
    words = list(struct.unpack(f"{'<' if order in ('BADC', 'DCBA') else '>'}{len(data) // 2}H", data))
    return words[::-1] if order in ("CDAB", "DCBA") else words


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compilation is not part of any example's time."""
    run([0], reg("uint16"))


@settings(deadline=None)
@given(kind=st.sampled_from(WHOLE), order=orders, data=st.data(), before=st.lists(words16, max_size=5))
def test_any_words_are_the_integer_that_python_reads(kind: str, order: str, data: Any, before: list[int]) -> None:
    words = data.draw(st.lists(words16, min_size=BITS[kind] // 16, max_size=BITS[kind] // 16))
    (value,) = run([*before, *words, 0xABCD], reg(kind, len(before), order=order))
    assert value == float(int.from_bytes(in_order(words, order), "big", signed=kind in SIGNED))


@settings(deadline=None)
@given(kind=st.sampled_from(WHOLE), order=orders, data=st.data())
def test_any_integer_comes_back(kind: str, order: str, data: Any) -> None:
    number = data.draw(st.integers(*whole_range(kind)) | st.sampled_from(whole_range(kind)))
    words = laid(number.to_bytes(BITS[kind] // 8, "big", signed=kind in SIGNED), order)
    assert run(words, reg(kind, order=order))[0] == float(number)


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(FLOATS)), order=orders, data=st.data())
def test_any_words_are_the_float_that_struct_reads(kind: str, order: str, data: Any) -> None:
    words = data.draw(st.lists(words16, min_size=BITS[kind] // 16, max_size=BITS[kind] // 16))
    (expected,) = struct.unpack(f">{FORMATS[kind]}", in_order(words, order))
    assert same(run(words, reg(kind, order=order))[0], expected)


def test_every_half_float() -> None:
    words = np.arange(65_536, dtype=np.uint16)
    plan = make_layout([reg("float16", at) for at in range(1024)], 100)
    expected = words.view(np.float16).astype(np.float64)
    step = 8192 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 1024
    for first in range(0, 65_536, step):
        np.testing.assert_array_equal(plan.decode(words[first : first + 1024]), expected[first : first + 1024])


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(BCD)), order=orders, data=st.data())
def test_bcd_is_its_digits(kind: str, order: str, data: Any) -> None:
    size = BITS[kind] // 4
    digits = data.draw(st.text("0123456789", min_size=size, max_size=size))
    assert run(laid(bytes.fromhex(digits), order), reg(kind, order=order))[0] == int(digits)


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(BCD)), digit=st.integers(0, 3), wrong=st.integers(10, 15))
def test_what_is_no_digit_makes_bcd_invalid(kind: str, digit: int, wrong: int) -> None:
    words = [0x1234] * (BITS[kind] // 16)
    words[-1] = words[-1] & ~(0xF << 4 * digit) | wrong << 4 * digit
    assert math.isnan(run(words, reg(kind))[0])


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("ABCD", [0x4248, 0xF5C3]),
        ("CDAB", [0xF5C3, 0x4248]),
        ("BADC", [0x4842, 0xC3F5]),
        ("DCBA", [0xC3F5, 0x4842]),
    ],
)
def test_orders_of_a_known_float(order: str, words: list[int]) -> None:
    (value,) = run(words, reg("float32", order=order))
    assert value == struct.unpack(">f", bytes.fromhex("4248f5c3"))[0]


@settings(deadline=None)
@given(word=words16, bit=st.integers(0, 15), order=orders)
def test_bits_of_a_word(word: int, bit: int, order: str) -> None:
    (value,) = run([word], reg("bit", bit=bit, order=order))
    swapped = (word >> 8 | word << 8) & 0xFFFF
    assert value == ((swapped if order in ("BADC", "DCBA") else word) >> bit) & 1


@pytest.mark.parametrize("table", ["coil", "discrete"])
def test_tables_of_bits_have_no_order(table: str) -> None:
    wanted = [reg("bit", at, table=table, order="DCBA") for at in range(3)]
    assert run([1, 0, 1], *wanted).tolist() == [1.0, 0.0, 1.0]


@settings(deadline=None)
@given(word=words16, order=orders)
def test_halves_of_a_word(word: int, order: str) -> None:
    high, low = in_order([word], order)
    values = run([word], *(reg(k, byte=b, order=order) for k in ("uint8", "int8") for b in ("high", "low")))
    assert values.tolist() == [high, low, high - 256 * (high >> 7), low - 256 * (low >> 7)]


@settings(deadline=None)
@given(kind=st.sampled_from(WHOLE), data=st.data())
def test_mask_and_shift(kind: str, data: Any) -> None:
    bits = BITS[kind]
    pattern = data.draw(st.integers(0, 2**bits - 1))
    mask = data.draw(st.integers(1, min(2**bits, 2**63) - 1))
    shift = data.draw(st.integers(0, mask.bit_length() - 1))
    field, width = (pattern & mask) >> shift, mask.bit_length() - shift
    expected = field - (1 << width) * (field >> width - 1) if kind in SIGNED else field
    words = laid(pattern.to_bytes(bits // 8, "big"), "ABCD")
    assert run(words, reg(kind, mask=mask, shift=shift))[0] == float(expected)


@pytest.mark.parametrize(
    ("kind", "words", "number"),
    [
        ("int16", [0x8000], 0x8000),
        ("int16", [0x8000], -32768),
        ("uint16", [0xFFFF], 0xFFFF),
        ("int32", [0x8000, 0], 0x80000000),
        ("uint64", [0xFFFF] * 4, 0xFFFF_FFFF_FFFF_FFFF),
        ("int64", [0x8000, 0, 0, 0], 0x8000_0000_0000_0000),
        ("int8", [0x0080], 0x80),
        ("bcd16", [0x9999], 9999),
        ("float32", [0xC61C, 0x3C00], -9999),
    ],
)
def test_sentinels_make_their_own_value_invalid_only(kind: str, words: list[int], number: float) -> None:
    wanted = [reg(kind, invalid=[1.0, float(number)], scale=0.1), reg(kind), reg("uint16", len(words))]
    values = run([*words, 7], *wanted)
    assert math.isnan(values[0])
    assert not math.isnan(values[1])
    assert values[2] == 7
    assert not math.isnan(run([words[0] ^ 1, *words[1:], 7], wanted[0])[0])


def test_sentinels_are_compared_before_the_mask() -> None:
    wanted = reg("uint16", mask=0x00FF, invalid=[0xFFFF])
    assert math.isnan(run([0xFFFF], wanted)[0])
    assert run([0x12FF], wanted)[0] == 255


def test_enum_gives_its_values_and_nothing_else() -> None:
    keys = {"0": -1.5, "0x10": 2.0, "-1": 7.0}
    wanted = [reg("int16", at, enum=keys, scale=2.0, offset=1.0) for at in range(4)]
    values = run([0, 16, 0xFFFF, 3], *wanted)
    assert values[:3].tolist() == [-2.0, 5.0, 15.0]
    assert math.isnan(values[3])


@settings(deadline=None)
@given(
    text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6),
    order=orders,
    pad=st.sampled_from(" \0"),
)
def test_texts_stand_for_numbers(text: str, order: str, pad: str) -> None:
    words = laid(text.ljust(6, pad).encode(), order)
    other = "!" + text[1:] if text[:1] != "!" else "?" + text[1:]
    wanted = reg("string", 1, length=3, order=order, enum={other[:6]: 1.0, text: 42.0})
    assert run([0, *words], wanted)[0] == 42.0
    longer = laid(("A" + text).ljust(8, pad).encode(), order)
    assert math.isnan(run(longer, reg("string", 0, length=4, order=order, enum={text: 1.0}))[0])


def test_a_text_ends_at_nul() -> None:
    words = laid(b"RUN\0junk", "ABCD")
    assert run(words, reg("string", length=4, enum={"RUN": 3.0}))[0] == 3.0
    assert math.isnan(run(words, reg("string", length=4, enum={"RUN JUNK": 3.0, "RU": 2.0}))[0])


@settings(deadline=None)
@given(number=st.integers(-32767, 32767), exponent=st.integers(-10, 10))
def test_scale_register(number: int, exponent: int) -> None:
    wanted = [reg("int16", 0, scale_from=102), reg("int16", 1, scale_from=102, scale=2.0, offset=1.0)]
    values = run([number & 0xFFFF, 3, exponent & 0xFFFF], *wanted)
    assert values[0] == float(f"{number}e{exponent}")  # rounded once, as the decimal number is
    assert values[1] == 2.0 * float(f"3e{exponent}") + 1.0


@pytest.mark.parametrize("exponent", [0x8000, 11, 0xFFF5])
def test_a_scale_register_that_is_not_implemented(exponent: int) -> None:
    assert math.isnan(run([5, exponent], reg("int16", scale_from=101))[0])


def test_a_scale_register_outside_the_block() -> None:
    assert math.isnan(run([5], reg("int16", scale_from=101))[0])


def test_scale_and_offset_apply_to_each_value() -> None:
    values = run([0xFFFE, 250], reg("int16", scale=0.5, offset=10.0), reg("uint16", 1, scale=-2.0))
    assert values.tolist() == [9.0, -500.0]


@pytest.mark.parametrize("kind", sorted(FLOATS))
def test_special_floats_pass_on(kind: str) -> None:
    for special in (math.nan, math.inf, -math.inf):
        words = laid(struct.pack(f">{FORMATS[kind]}", special), "ABCD")
        assert same(run(words, reg(kind, scale=2.0, offset=1.0))[0], special)


def test_signalling_nan_is_nan() -> None:
    assert math.isnan(run([0x7F80, 0x0001], reg("float32"))[0])


@pytest.mark.parametrize("at", [-1, 1, 2, 2**16 - 101])
def test_outside_the_block_is_nan(at: int) -> None:
    assert math.isnan(run([1, 2], reg("float32", at))[0])


def test_the_same_without_compilation() -> None:
    """This file again in an interpreter where kernels stay plain Python."""
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("already plain Python")
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]
