"""URLs, topics and paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.config.paths import parse_path
from edgetwin.config.topics import check_twin_name, placeholders, topic_placeholders
from edgetwin.config.urls import Endpoint, endpoint, listen_address
from edgetwin.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://h", Endpoint("mqtt", "h", 1883)),
        ("mqtts://h/", Endpoint("mqtts", "h", 8883, tls=True)),
        ("MQTT://Broker.Example:1", Endpoint("mqtt", "broker.example", 1)),
        ("modbus+tcp://10.0.0.1", Endpoint("modbus+tcp", "10.0.0.1", 502)),
        ("modbus+tcp://[::1]:5020", Endpoint("modbus+tcp", "::1", 5020)),
        ("mqtt://u%3A:p%40@h", Endpoint("mqtt", "h", 1883, username="u:", password="p@")),
        ("mqtt://u@h", Endpoint("mqtt", "h", 1883, username="u")),
    ],
)
def test_endpoint(url: str, expected: Endpoint) -> None:
    assert endpoint(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "h:1883", "mqtt:h", "mqtt://", "mqtt://:1883", "mqtt://h:0", "mqtt://h:70000", "mqtt://h:x", "mqtt://h/x",
     "mqtt://h?x", "http://h", "mqtt://a b", "mqtt://[::1", "mqtt://u:hush/x@h", "mqtt://[hush]", "mqtt://h#x"],
)  # fmt: skip
def test_not_an_endpoint(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint(url)
    assert "hush" not in str(caught.value)
    assert caught.value.hint


def test_addresses() -> None:
    assert endpoint("mqtt://[::1]").address == "[::1]:1883"
    assert listen_address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert listen_address("[::1]:8787") == ("::1", 8787)
    for text in ("8787", ":8787", "h:", "h:65536", "::1:80", "h:1:2", "http://h:1"):
        with pytest.raises(ConfigError):
            listen_address(text)
    assert "hush" not in repr(endpoint("mqtt://u:hush@h"))


@pytest.mark.parametrize(
    ("topic", "names"),
    [("a/b", []), ("plant/{line}/{m}/temp", ["line", "m"]), ("/{a}/", ["a"]), ("a//b", []), ("{a}/{a}", ["a", "a"])],
)
def test_topics(topic: str, names: list[str]) -> None:
    assert topic_placeholders(topic) == names


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("", "empty"), ("a/+/b", r"wildcard \+.*placeholder"), ("a/#", "wildcard #"), ("a\0", "NUL"),
        ("x" * 65_536, "too long"), ("a/m-{m}", "fill the whole level"), ("a/{m}{n}/b", "fill the whole level"),
        ("a/{m", "no partner"), ("a/m}", "no partner"), ("a/{{m}}", "no partner"), ("a/{}", "not a placeholder"),
        ("a/{m/n}", "not a placeholder"), ("a/{1}", "not a placeholder"),
    ],
)  # fmt: skip
def test_faulty_topics(topic: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        topic_placeholders(topic)


def test_twin_names() -> None:
    assert check_twin_name("oven-3") == []
    assert check_twin_name("{line}.{machine}") == ["line", "machine"]
    for name in ("", "a b", "a/b", "-a", "{a}{b}", "{a", "x" * 129):
        with pytest.raises(ConfigError):
            check_twin_name(name)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()), ("$.a", ("a",)), ("$.a.b[0]['k']", ("a", "b", 0, "k")), ("$[3]", (3,)), ("$.ü-1", ("ü-1",)),
        ('$["a b"].c', ("a b", "c")), ("$['a.b']", ("a.b",)), ("$['it\"s']", ('it"s',)),
    ],
)  # fmt: skip
def test_paths(text: str, steps: tuple[str | int, ...]) -> None:
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "$a",
        "$.",
        "$..a",
        "$[",
        "$[]",
        "$[-1]",
        "$[x]",
        "$['a",
        "$.a b",
        "$[1000001]",
        "$.a" * 33,
        "$" + ".a" * 33,
    ],
)
def test_faulty_paths(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_path(text)


@given(st.text(max_size=40))
def test_nothing_but_config_errors(text: str) -> None:
    for parse in (parse_path, topic_placeholders, placeholders, check_twin_name, endpoint, listen_address):
        for candidate in (text, f"mqtt://{text}", f"$.{text}"):
            try:
                parse(candidate)
            except ConfigError:
                continue


@given(st.lists(st.one_of(st.integers(0, 9999), st.from_regex(r"[A-Za-z ._-]+", fullmatch=True)), max_size=8))
def test_a_written_path_is_read_back(steps: list[str | int]) -> None:
    text = "$" + "".join(f"[{s}]" if isinstance(s, int) else f"['{s}']" for s in steps)
    assert parse_path(text) == tuple(steps)
