"""Faults of outputs, rules and commands are found and named at their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetwin.config.check import check
from tests.config.support import read

PLANT = """\
gateway: g
state_dir: state
sources:
  - {name: plant, kind: mqtt, url: "mqtt://127.0.0.1"}
  - {name: plc, kind: modbus, url: "modbus+tcp://127.0.0.1"}
twins:
  - name: oven
    signals:
      T: {source: plant, topic: oven/T}
      F: {source: plc, register: {address: 10}}
    outputs:
      fan: {source: plc, register: {address: 10}, range: [0, 100], fallback: 50, interlock: "T < 90", max_std: {T: 1}}
      lamp: {source: plant, topic: oven/lamp, range: [0, 1], fallback: 0}
    rules:
      - {name: cool, set: fan, to: 80, when: T > 80}
"""


def lines(text: str, base: Path = Path()) -> list[str]:
    return [str(f.error()) for f in check(read(text), base)]


def test_nothing_to_say() -> None:
    assert lines(PLANT) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("fallback: 50", "fallback: 101", "12:78: twins[0].outputs.fan.fallback: 101 is outside of range [0, 100] (line 12)"),
        ("range: [0, 100]", "range: [5, 5]", "12:58: twins[0].outputs.fan.range: the lower end"),
        ("fan: {source: plc", "fan: {source: plx", "twins[0].outputs.fan.source: source 'plx' is unknown"),
        ("fan: {source: plc", "fan: {source: plant", "12:7: twins[0].outputs.fan: topic is missing: an mqtt source"),
        ("{address: 10}, range", "{address: 10, table: input}, range", "table input cannot be written: use holding or coil"),
        ("{address: 10}, range", "{address: 10, scale: 0}, range", "outputs.fan.register.scale: must not be 0"),
        ("{address: 10}, range", "{address: 10, type: bit}, range", "a bit of a register cannot be written alone"),
        ("{address: 10}, range", "{address: 10, type: int8}, range", "register.type: int8 cannot be written"),
        ("{address: 10}, range", "{address: 10, mask: 0xFF}, range", "register.mask: mask is only for signals"),
        ("{address: 10}, range", "{address: 10, scale_from: 11}, range", "register.scale_from: scale_from is only for signals"),
        ("{address: 10}, range", "{address: 10, enum: {on: 1}}, range", "register.enum: 'on' is not what uint16 can hold"),
        ("{address: 10}, range", "{address: 10, invalid: [-1]}, range", "register.invalid: -1 is not what uint16 can hold"),
        ("range: [0, 100]", "range: [-1, 70000]", "12:59: twins[0].outputs.fan.range[0]: -1 does not fit into uint16"),
        ("range: [0, 100]", "range: [-1, 70000]", "12:63: twins[0].outputs.fan.range[1]: 70000 does not fit into uint16"),
        ("{address: 10}, range", "{address: 10, enum: {0: 0, 1: 80}}, range", "fan.fallback: 50 is none of the values of enum"),
        ("{address: 10}, range", "{address: 10, invalid: [80]}, range", "rules[0].to: 80 would be written as 80, which is listed"),
        ("{address: 10}, range", "{address: 10, table: coil, type: bit}, range", "fan.range[1]: 100 does not fit into bit"),
        ("{address: 10}, range", "{address: 9, type: int32}, range", "oven/F reads it otherwise (line 10)"),
        ("{address: 10}, range", "{address: 10, type: int16}, range", "oven/F reads it otherwise (line 10)"),
        ('"T < 90"', '"Q < 90"', "outputs.fan.interlock: unknown name 'Q'"),
        ('"T < 90"', '"T + 90"', "outputs.fan.interlock: 'T + 90' is no condition"),
        ("max_std: {T: 1}", "max_std: {F: 1}", "max_std.F: the interlock does not use F"),
        ("max_std: {T: 1}", "max_std: {Q: 1}", "state 'Q' is unknown"),
        ("max_std: {T: 1}", "mode: active, lease: 0s", "outputs.fan.lease: must be longer than 0"),
        ("state_dir: state", "http: null", ""),
        ("lamp: {source: plant,", "lamp: {source: plant, payload: on,", "lamp.payload: {value} is missing"),
        ("topic: oven/lamp", 'topic: "oven/{m}/lamp"', "what {m} stands for is not known"),
        ("topic: oven/lamp", "topic: oven/lamp, read_back: {signal: Q}", "signal 'Q' is unknown"),
        ("set: fan", "set: fam", "15:27: twins[0].rules[0].set: output 'fam' is unknown: did you mean fan?"),
        ("to: 80", "to: 101", "rules[0].to: 101 is outside of the output's range [0, 100]"),
        ("to: 80", "to: T + Q", "rules[0].to: unknown name 'Q'"),
        ("when: T > 80", "when: T", "rules[0].when: 'T' is no condition"),
    ],
)  # fmt: skip
def test_faults(old: str, new: str, said: str) -> None:
    assert old in PLANT
    found = lines(PLANT.replace(old, new, 1))
    assert any(said in line for line in found) if said else found == []


def test_an_active_output_needs_a_state_dir() -> None:
    text = PLANT.replace("max_std: {T: 1}", "mode: active").replace("state_dir: state\n", "")
    assert any("an active output needs a place for its audit" in line for line in lines(text))


def test_two_writers_of_one_register_are_both_named() -> None:
    other = "      heater: {source: plc, register: {address: 9, type: float32}, range: [0, 1], fallback: 0}\n    rules:"
    (line, *_) = [x for x in lines(PLANT.replace("    rules:", other, 1)) if "same register" in x]
    assert "twins[0].outputs.heater.register: oven/fan writes the same register (line 12)" in line


def test_two_sources_of_one_device_write_one_register() -> None:
    """Whether the URL names the port or not; another unit is another device."""
    more = '  - {name: same, kind: modbus, url: "modbus+tcp://127.0.0.1:502"}\ntwins:'
    text = PLANT.replace("twins:", more, 1)
    for unit, said in (("", 1), (", unit: 2", 0)):
        register = f"{{address: 10{unit}}}"
        other = f"      heater: {{source: same, register: {register}, range: [0, 1], fallback: 0}}\n    rules:"
        assert (
            sum("oven/fan writes the same register" in x for x in lines(text.replace("    rules:", other, 1))) == said
        )


def test_nobody_answers_a_broadcast() -> None:
    text = PLANT.replace("modbus+tcp://127.0.0.1", "modbus+rtu:///dev/ttyS0").replace(
        "{address: 10}, range", "{address: 10, unit: 0}, range"
    )
    assert [x for x in lines(text) if "outputs.fan.register.unit: unit 0 is broadcast" in x]


def test_a_template_needs_its_name_in_the_topic() -> None:
    text = PLANT.replace("name: oven", 'name: "{m}"').replace("topic: oven/T", 'topic: "{m}/T"')
    found = lines(text)
    assert any("outputs.lamp.topic: all twins of the template would write one topic: put {m}" in x for x in found)
    assert any("outputs.fan.register: all twins of the template would write one register" in x for x in found)


def test_commands(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret-but-short")
    (tmp_path / "long").write_text("x" * 32 + "\n")
    found = "\n".join(lines(PLANT + "commands: {token_file: short, source: plant}\n", tmp_path))
    assert "commands.token_file: the secret is shorter than 32 characters: make one with" in found
    assert "commands.source: commands over MQTT must be signed" in found
    assert "secret-but" not in found
    assert lines(PLANT + "commands: {token_file: long, source: plant, keys: {scada: long}}\n", tmp_path) == []
    assert "No such file" in lines(PLANT + "commands: {token_file: none}\n", tmp_path)[0]
    assert "mqtt source" in lines(PLANT + "commands: {source: plc, keys: {scada: long}}\n", tmp_path)[0]
