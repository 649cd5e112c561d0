from __future__ import annotations

from pathlib import Path

import pytest

from edgetwin.config.load import InvalidConfigError, load, loads
from edgetwin.config.schema import ModbusSource, MqttSource
from edgetwin.errors import ConfigError
from tests.config.support import MQTT, contract, faults, read


@pytest.mark.parametrize("name", ["minimal.yaml", "factory.yaml", "replay.yaml"])
def test_contract_files_load(name: str) -> None:
    assert load(contract(name), {}).twins


def test_factory_contract_is_decoded_in_full() -> None:
    config = load(contract("factory.yaml"), {})
    plc = config.sources[1]
    assert isinstance(plc, ModbusSource)
    assert (plc.every, plc.timeout) == (0.1, 0.5)
    oven = config.twins[0]
    assert (oven.lateness, oven.parameters) == (2.0, {"k": 0.7})
    assert oven.signals["temp"].range == (-40.0, 400.0)
    assert oven.signals["temp"].value == "$.temp"
    assert oven.alarms[0].for_ == 5.0
    assert config.models[0].inputs["heater"].unit == "kW"


def test_defaults() -> None:
    config = read(MQTT)
    source = config.sources[0]
    assert isinstance(source, MqttSource)
    assert (source.qos, source.protocol, source.keepalive) == (1, "5", 30.0)
    assert config.http is not None
    assert config.http.listen == "127.0.0.1:8787"


def test_http_null_turns_it_off() -> None:
    assert read(MQTT + "http: null\n").http is None


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("gateway: g", "gatway: g", "c.yaml:1:1: gatway: unknown key: did you mean gateway? known: gateway,"),
        ("gateway: g", "gateway: 7", "c.yaml:1:10: gateway: must be text, not 7: put it in quotes"),
        ("gateway: g", "gateway: a b", "c.yaml:1:10: gateway: 'a b' is not a valid name: letters, digits"),
        ("gateway: g", "gateway:", "c.yaml:1:9: gateway: must be text, not nothing: give it a value"),
        ("name: oven", "name: {oven}", 'c.yaml:6:11: twins[0].name: must be text, not a mapping: put it in quotes: "{oven}"'),
        ("kind: mqtt", "kind: mqt", "c.yaml:3:25: sources[0].kind: unknown kind 'mqt': did you mean mqtt? known: mqtt, modbus"),
        ("kind: mqtt, ", "", "c.yaml:3:5: sources[0]: kind is missing: add kind: mqtt or modbus or csv or simulated"),
        (', url: "mqtt://127.0.0.1:1883"', "", "c.yaml:3:5: sources[0]: url is missing: add url:"),
        ('1883"', '1883", qos: 3', "c.yaml:3:66: sources[0].qos: must be at most 2, not 3"),
        ('1883"', '1883", qos: yes', "c.yaml:3:66: sources[0].qos: must be a whole number, not 'yes'"),
        ('1883"', '1883", qos: 1.0', "c.yaml:3:66: sources[0].qos: must be a whole number, not 1.0"),
        ('1883"', '1883", keepalive: 5', "c.yaml:3:72: sources[0].keepalive: 5: a duration needs a unit: write a number and"),
        ('1883"', '1883", keepalive: -5s', "c.yaml:3:72: sources[0].keepalive: '-5s': a duration cannot be negative"),
        ('1883"', '1883", keepalive: 5m', "c.yaml:3:72: sources[0].keepalive: '5m': the unit is unknown: did you mean min?"),
        ('1883"', '1883", protocol: 4', "c.yaml:3:71: sources[0].protocol: 4 is not one of the choices: known: 3.1.1, 5"),
        ("oven/temp", "oven/temp, noise: 0", "c.yaml:8:60: twins[0].signals.temp.noise: must be more than 0, not 0"),
        ("oven/temp", "oven/temp, noise: 1e999", "c.yaml:8:60: twins[0].signals.temp.noise: 1e999 is too large"),
        ("oven/temp", "oven/temp, noise: 0755", "c.yaml:8:60: twins[0].signals.temp.noise: must be a number, not '0755': write 755"),
        ("oven/temp", "oven/temp, range: [1]", "c.yaml:8:60: twins[0].signals.temp.range: must be a list of 2 values, not a list"),
        ("oven/temp", "oven/temp, range: [1, x]", "c.yaml:8:64: twins[0].signals.temp.range[1]: must be a number, not 'x'"),
        ("oven/temp", "oven/temp, numeric_strings: on", "c.yaml:8:70: twins[0].signals.temp.numeric_strings: must be true or false, not 'on': write true"),
        ("oven/temp", "oven/temp, tpic: x", "c.yaml:8:53: twins[0].signals.temp.tpic: unknown key: did you mean topic?"),
        ("{source: plant, topic: plant/oven/temp}", "5", "c.yaml:8:13: twins[0].signals.temp: must be a mapping of keys, not 5"),
    ],
)  # fmt: skip
def test_faults_are_located(old: str, new: str, line: str) -> None:
    text = MQTT.replace(old, new, 1)
    assert text != MQTT
    found = faults(text)
    assert any(f.startswith(line) for f in found), found


def test_columns_count_characters() -> None:
    assert faults(MQTT.replace("gateway: g", "{gateway: é}").replace("{gateway: é}", "gateway: éé # é"))[0].startswith(
        "c.yaml:1:10: "
    )
    found = faults("sources: []\ntwins: {ü: {noise: 1}, gateway: x}\n")
    assert any(f.startswith("c.yaml:2:8: twins: must be a list, not a mapping: start each item") for f in found)


def test_odd_keys_are_quoted_in_the_path() -> None:
    text = MQTT.replace("      temp:", '      "a b.c":').replace("plant/oven/temp}", "plant/oven/temp, noise: x}")
    assert "twins[0].signals['a b.c'].noise: must be a number" in faults(text)[0]


def test_every_fault_is_reported_in_the_order_of_lines() -> None:
    found = faults("gateway: 1\nsources:\n  - {kind: mqtt, name: a, url: 1}\ntwins: []\nlgo: {}\n")
    assert [f.split(": ")[1] for f in found] == ["gateway", "sources[0].url", "twins", "lgo"]


def test_the_error_stands_where_its_first_fault_stands() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        read(MQTT.replace("gateway: g", "gateway: 7\nfoo: 1"))
    error = caught.value
    assert (error.file, error.line, error.column, error.path) == ("c.yaml", 1, 10, "gateway")
    assert [e.path for e in error.errors] == ["gateway", "foo"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="not a path"):
        load("a\0b")
    bad = tmp_path / "bad.yaml"
    bad.write_bytes("gateway: é\nlog: ü".encode() + b"\xff")
    with pytest.raises(ConfigError, match=r"bad.yaml:2:7: not UTF-8 text"):
        load(bad)
    bad.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="the file is too large"):
        load(bad)


def test_repr_shows_no_secret() -> None:
    text = MQTT.replace('"mqtt://127.0.0.1:1883"', '"mqtt://me:hush1@127.0.0.1:1883", password: hush2')
    config = loads(text, "c.yaml", {})
    assert "hush" not in repr(config)
    assert "mqtt://***@127.0.0.1:1883" in repr(config)
    source = config.sources[0]
    assert isinstance(source, MqttSource)
    assert source.password == "hush2"


def test_the_same_text_gives_an_equal_configuration() -> None:
    assert read(MQTT) == loads(MQTT, "elsewhere.yaml", {})
