"""Registers in the configuration: every layout that cannot be is named at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetwin.config.check import Finding, check
from edgetwin.config.schema import Register
from edgetwin.errors import ConfigError
from tests.config.support import read

HERE = Path(__file__).parent
START = """\
gateway: g
sources:
  - {name: a, kind: modbus, url: "modbus+tcp://h", words_max: 20}
twins:
  - name: m
    signals:
"""


def found(*registers: str) -> list[Finding]:
    """The findings of a twin with these registers, one a line from line 7."""
    lines = [f"      s{i}: {{source: a, register: {{{text}}}}}\n" for i, text in enumerate(registers)]
    return check(read(START + "".join(lines)), HERE)


def register(text: str) -> Register:
    config = read(START + f"      s: {{source: a, register: {{{text}}}}}\n")
    made = config.twins[0].signals["s"].register
    assert made is not None
    return made


@pytest.mark.parametrize(
    "text",
    [
        "address: 0, type: int48, order: DCBA, invalid: [0x800000000000]",
        "address: 0, type: uint64, mask: 0x7FFFFFFFFFFFFFFF, shift: 62",
        "address: 3, type: int8, byte: high, invalid: [0x80, -1]",
        "address: 0, type: uint16, enum: {0: 1.5, 0xFF: 2}",
        "address: 0, type: string, length: 4, enum: {RUN: 1, STOP: 0}",
        "address: 0, type: bcd32, invalid: [99999999]",
        "address: 0, type: float16, invalid: [-9999.5]",
        "address: 10, type: int16, scale_from: 2",
        "table: coil, address: 0, type: bit, enum: {0: 10, 1: 20}",
    ],
)
def test_layouts_that_are_right(text: str) -> None:
    assert found(text) == []


def test_hexadecimal_numbers_are_numbers_where_numbers_are_wanted() -> None:
    r = register("address: 0x10, mask: 0x0ff0, shift: 4, invalid: [0x8000, -1], enum: {0x1F: 3}")
    assert (r.address, r.mask, r.invalid, r.enum) == (16, 0x0FF0, [32768.0, -1.0], {"0x1F": 3.0})


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("address: 0, scale: 0", "scale", "must not be 0"),
        ("address: 65534, type: int48", "address", "ends at 65536"),
        ("address: 0, type: string, enum: {A: 1}", "type", "length is missing"),
        ("address: 0, type: string, length: 2", "type", "enum is missing"),
        (
            "address: 0, type: string, length: 2, enum: {RUNNING: 1}",
            "enum",
            "'RUNNING' is not what the string can hold",
        ),
        ("address: 0, type: string, length: 2, enum: {grün: 1}", "enum", "not what the string can hold"),
        ("address: 0, type: string, length: 2, enum: {A: 1}, invalid: [0]", "invalid", "invalid already"),
        ("address: 0, length: 2", "length", "has its own length"),
        ("address: 0, byte: high", "byte", "takes no byte"),
        ("address: 0, type: int16, bit: 3", "bit", "takes no bit index"),
        ("table: coil, address: 0, type: bit, bit: 3", "bit", "takes no bit index"),
        ("table: coil, address: 0, type: int16", "type", "holds bits"),
        ("table: input, address: 0, type: float32, mask: 1", "mask", "takes no mask"),
        ("address: 0, type: bcd16, mask: 1", "mask", "takes no mask"),
        ("address: 0, type: int16, mask: 0x10000", "mask", "bits beyond"),
        ("address: 0, type: int16, mask: 0x0F, shift: 4", "shift", "moves all bits"),
        ("address: 0, shift: 4", "shift", "shift needs mask"),
        ("address: 0, invalid: [0x10000]", "invalid", "65536 is not what uint16 can hold"),
        ("address: 0, type: int16, invalid: [1.5]", "invalid", "1.5 is not what int16 can hold"),
        ("address: 0, enum: {on: 1}", "enum", "'on' is not what uint16 can hold"),
        ("address: 0, enum: {70000: 1}", 'enum["70000"]', "70000 is not what uint16 can hold"),
        ("address: 0, scale_from: 0", "scale_from", "within the value"),
        ("address: 0, scale_from: 20", "scale_from", "21 registers"),
        ("table: coil, address: 0, type: bit, scale_from: 3", "scale_from", "holds no scale"),
    ],
)
def test_layouts_that_cannot_be(text: str, path: str, words: str) -> None:
    (finding,) = found(text)
    assert finding.severity == "error"
    assert finding.path.replace("enum.70000", 'enum["70000"]') == f"twins[0].signals.s0.register.{path}"
    assert words in finding.message
    assert finding.line == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("address: 0, bit: 16, type: bit", "must be at most 15"),
        ("address: 65536", "must be at most 65535"),
        ("address: 0, type: int24", "not one of the choices"),
        ("address: 0, enum: {0: on}", "must be a number"),
        ("address: 0, invalid: 5", "must be a list"),
    ],
)
def test_what_no_register_can_have(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        register(text)


def test_registers_read_as_different_things_are_pointed_out() -> None:
    (finding,) = found(
        "address: 10, type: float32",
        "address: 11, type: int16",
        "address: 12, type: uint16",
        "address: 11, type: int16, unit: 2",
        "table: input, address: 11, type: int16",
    )
    assert (finding.severity, finding.line) == ("warning", 8)
    assert "reads registers 11..11 of m/s0 as int16 ABCD (line 7)" in finding.message


@pytest.mark.parametrize(
    "others",
    [
        ("address: 5, type: bit, bit: 0", "address: 5, type: bit, bit: 7", "address: 5"),
        ("address: 5, type: uint8, byte: high", "address: 5, type: int8"),
        ("address: 5, mask: 0x0F", "address: 5, mask: 0xF0, shift: 4"),
        ("address: 5, type: int32, scale: 0.1", "address: 5, type: int32"),
    ],
)
def test_parts_of_a_register_may_be_read_by_many(others: tuple[str, ...]) -> None:
    assert found(*others) == []


def test_a_different_order_is_a_different_thing() -> None:
    (finding,) = found("address: 5, type: int32", "address: 5, type: int32, order: CDAB")
    assert finding.severity == "warning"
