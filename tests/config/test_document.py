from __future__ import annotations

import pytest

from edgetwin.config.document import BYTES_MAX, DEPTH_MAX, parse
from edgetwin.config.scalars import resolve
from edgetwin.errors import ConfigError
from tests.config.support import MQTT, faults, read


@pytest.mark.parametrize(
    "text",
    ["yes", "no", "on", "off", "y", "n", "True", "FALSE", "Null", "0755", "0o17", "0x1F", "0b1", "12:30:45", "2024-01-01", "1_000", ".inf", ".nan", "-.INF", "1e", "1.e5x", "+"],
)  # fmt: skip
def test_yaml_1_1_surprises_are_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("0", 0), ("-7", -7), ("+7", 7), ("1.5", 1.5), ("1e3", 1000.0), ("1E-3", 0.001), (".5", 0.5), ("-0.0", 0.0),
        ("12345678901234567890", 12345678901234567890.0), ("9" * 5000, float("inf")),
    ],
)  # fmt: skip
def test_special_scalars(text: str, value: object) -> None:
    got = resolve(text)
    assert (got, type(got)) == (value, type(value))


def test_quoted_scalars_are_text() -> None:
    root, _ = parse("[\"1\", 'true', !!str 5]", "f", None)
    assert isinstance(root.value, list)
    assert [n.value for n in root.value] == ["1", "true", "5"]


def test_nodes_know_their_places() -> None:
    root, _ = parse("a:\n  - é: 1\n    b: [x,  yy]\n", "f", None)
    inner = root.value["a"].value[0]  # type: ignore[index,union-attr,call-overload]
    assert inner.place == (2, 5)
    assert inner.key_place("b") == (3, 5)
    assert [n.place for n in inner.child("b").value] == [(3, 9), (3, 13)]
    assert inner.child("é").place == (2, 8)


def test_duplicate_keys_are_errors_at_both_places() -> None:
    found = faults(MQTT + "gateway: h\n")
    assert found == [
        "c.yaml:1:1: gateway: the key is written twice, also at line 9 column 1: keep one of them",
        "c.yaml:9:1: gateway: the key is written twice, also at line 1 column 1: keep one of them",
    ]
    found = faults(MQTT.replace("topic: plant/oven/temp", "topic: a, topic: b"))
    assert [f.split(": ")[:2] for f in found] == [
        ["c.yaml:8:29", "twins[0].signals.temp.topic"],
        ["c.yaml:8:39", "twins[0].signals.temp.topic"],
    ]


def test_aliases() -> None:
    config = read(MQTT + "      wall: &w {source: plant, topic: a}\n      floor: *w\n")
    assert config.twins[0].signals["floor"] == config.twins[0].signals["wall"]


def test_alias_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (fault,) = faults("\n".join(lines))
    assert "values once aliases are followed" in fault
    assert fault.startswith("c.yaml:6:")


def test_depth_is_bounded_through_aliases_too() -> None:
    (fault,) = faults("a: " + "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1))
    assert f"nested deeper than {DEPTH_MAX}" in fault
    (fault,) = faults("a: " + "[" * 200_000)
    assert "nest" in fault
    lines = ["a0: &a0 []"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100)]
    (fault,) = faults("\n".join(lines))
    assert f"nested deeper than {DEPTH_MAX}" in fault


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "c.yaml:1:1: the file is empty"),
        ("# nothing\n", "c.yaml:1:1: the file is empty"),
        ("gateway: a\n---\ngateway: b\n", "c.yaml:2:1: a second document starts here"),
        ("a: *b", "c.yaml:1:4: a: alias 'b' has no anchor before it"),
        ("a: &a [*a]", "c.yaml:1:8: a[0]: alias 'a' has no anchor before it"),
        ("a: !!python/object/apply:os.system [x]", "c.yaml:1:4: a: tag 'tag:yaml.org,2002:python/object/apply:os"),
        ("a: !x 1", "c.yaml:1:4: a: tag '!x' is not read"),
        ("a: {<<: {b: 1}}", "c.yaml:1:5: a: merge keys are not read"),
        ("? [a]\n: 1", "c.yaml:1:3: a key must be plain text"),
        ("a: b: c", "c.yaml:1:5: not valid YAML: mapping values are not allowed"),
        ("a: {x}/y", "c.yaml:1:7: not valid YAML: "),
        ("a: 1\n\tb: 2", "c.yaml:2:1: not valid YAML: "),
        ("a: é\x01", "c.yaml:1:5: character U+0001 is not allowed"),
        ("a: 1\nb: \ud800", "c.yaml:2:4: character U+D800 is not allowed"),
        ("[gateway]", "c.yaml:1:1: must be a mapping of keys, not a list"),
    ],
)
def test_what_is_not_a_configuration(text: str, line: str) -> None:
    assert faults(text)[0].startswith(line)


def test_size_is_bounded() -> None:
    with pytest.raises(ConfigError, match="the file is too large"):
        parse("#" * (BYTES_MAX + 1), "f", None)
