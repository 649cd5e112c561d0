"""The register kernel against the struct module, compiled and as plain Python."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgetwin.kernels.registers import KINDS, ORDERS, PLAN, WORDS, decode

FORMATS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f", "float64": "d"}


def row(kind: str, at: int = 0, order: str = "ABCD", bit: int = 0, scale: float = 1.0, offset: float = 0.0):
    code = KINDS[kind]
    return (scale, offset, at, WORDS[code], code, *ORDERS[order], bit)


def run(words: list[int], *rows: tuple[float, ...]) -> NDArray[np.float64]:
    out = np.full(len(rows), -1.0)
    decode(np.array(words, np.uint16), np.array(list(rows), PLAN), out)
    return out


def expected(kind: str, order: str, words: list[int]) -> float:
    """The value by way of its bytes: undo the word order, then the byte order, then unpack."""
    ordered = words[::-1] if order in ("CDAB", "DCBA") else words
    word_format = "<" if order in ("BADC", "DCBA") else ">"
    data = struct.pack(f"{word_format}{len(ordered)}H", *ordered)
    return float(struct.unpack(f">{FORMATS[kind]}", data)[0])


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


words16 = st.integers(0, 0xFFFF)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compilation is not part of any example's time."""
    run([0], row("uint16"))


@given(
    kind=st.sampled_from(sorted(FORMATS)),
    order=st.sampled_from(sorted(ORDERS)),
    words=st.lists(words16, min_size=4, max_size=4),
    before=st.lists(words16, max_size=5),
)
def test_any_words_decode_as_struct_does(kind: str, order: str, words: list[int], before: list[int]) -> None:
    words = words[: WORDS[KINDS[kind]]]
    (value,) = run([*before, *words, 0xABCD], row(kind, len(before), order))
    assert same(value, expected(kind, order, words))


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
    (value,) = run(words, row("float32", order=order))
    assert value == struct.unpack(">f", bytes.fromhex("4248f5c3"))[0]


@given(word=words16, bit=st.integers(0, 15), order=st.sampled_from(sorted(ORDERS)))
def test_bits_of_a_word(word: int, bit: int, order: str) -> None:
    (value,) = run([word], row("bit", bit=bit, order=order))
    swapped = (word >> 8 | word << 8) & 0xFFFF
    assert value == ((swapped if order in ("BADC", "DCBA") else word) >> bit) & 1


def test_scale_and_offset_apply_to_each_value() -> None:
    values = run([0xFFFE, 250], row("int16", scale=0.5, offset=10.0), row("uint16", 1, scale=-2.0))
    assert values.tolist() == [9.0, -500.0]


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_special_floats_pass_on(kind: str) -> None:
    for special in (math.nan, math.inf, -math.inf):
        data = struct.pack(f">{FORMATS[kind]}", special)
        words = list(struct.unpack(f">{len(data) // 2}H", data))
        (value,) = run(words, row(kind, scale=2.0, offset=1.0))
        assert same(value, special)


def test_signalling_nan_is_nan() -> None:
    assert math.isnan(run([0x7F80, 0x0001], row("float32"))[0])


@pytest.mark.parametrize("at", [-1, 1, 2, 2**31 - 1])
def test_outside_the_block_is_nan(at: int) -> None:
    assert math.isnan(run([1, 2], row("float32", at=at))[0])


def test_the_same_without_compilation() -> None:
    """This file again in an interpreter where kernels stay plain Python."""
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("already plain Python")
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]
