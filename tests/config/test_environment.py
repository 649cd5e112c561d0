from __future__ import annotations

from pathlib import Path

import pytest

from edgetwin.config.check import check
from edgetwin.config.credentials import password_of, username_of
from edgetwin.config.environment import expand
from edgetwin.config.schema import MqttSource
from edgetwin.errors import ConfigError
from tests.config.support import MQTT, faults, read

ENV = {"NAME": "value", "PORT": "1884", "EMPTY": "", "NESTED": "${PORT}"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${NAME}", "value"),
        ("a ${NAME} b ${PORT}", "a value b 1884"),
        ("${NONE:-fallback}", "fallback"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b c}", "a:-b c"),
        ("${EMPTY:-x}", ""),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$${NAME}"),
        ("$.a {b} $ $$", "$.a {b} $ $$"),
        ("${NESTED}", "${PORT}"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert expand(text, ENV).text == expanded


@pytest.mark.parametrize(
    "text", ["${", "${}", "${NAME", "${1A}", "${A-B}", "${A B}", "${:-x}", "${a${b}}", "${credential:}"]
)
def test_malformed(text: str) -> None:
    with pytest.raises(ConfigError):
        expand(text, ENV)


def test_missing_variable_is_located_and_does_not_hide_other_faults() -> None:
    found = faults(MQTT.replace("gateway: g", "gateway: ${GATEWAY}").replace("name: oven", "nme: oven"))
    assert found[0] == (
        "c.yaml:1:10: gateway: environment variable GATEWAY is not set: set it, or give a default: ${GATEWAY:-value}"
    )
    assert len([f for f in found if ": gateway: " in f]) == 1
    assert any("twins[0].nme: unknown key" in f for f in found)


def test_a_substituted_scalar_is_typed() -> None:
    text = MQTT.replace(
        '1883"', '1883", qos: "${QOS}", keepalive: "${KEEP}", protocol: "${VERSION}", username: "${USER}"'
    )
    source = read(text, QOS="0", KEEP="5s", VERSION="5", USER="0042").sources[0]
    assert isinstance(source, MqttSource)
    assert (source.qos, source.keepalive, source.protocol, source.username) == (0, 5.0, "5", "0042")
    assert read(MQTT + "http: ${HTTP:-null}\n").http is None


def test_text_stays_text_though_it_looks_like_a_number() -> None:
    assert read(MQTT.replace("gateway: g", "gateway: ${GATEWAY}"), GATEWAY="12").gateway == "12"
    quoted = MQTT.replace('1883"', '1883", qos: "${QOS}"')
    assert "must be a whole number, not '${QOS}'" in faults(quoted, QOS="1x")[0]


def test_plain_substitutions_are_typed_outside_of_braces() -> None:
    assert read(MQTT + "limits:\n  twins: ${TWINS}\n", TWINS="5").limits.twins == 5
    assert read(MQTT + "state_dir: ${DIR:-}\n").state_dir is None
    assert read(MQTT + 'state_dir: "${DIR:-null}"\n').state_dir == "null"


def test_expanded_text_is_bounded() -> None:
    assert "too long" in faults(MQTT.replace("gateway: g", f"gateway: {'${X}' * 100}"), X="x" * 1000)[0]


def test_credentials(tmp_path: Path) -> None:
    (tmp_path / "mqtt").write_text("12345\n")
    text = MQTT.replace('1883"', '1883", username: u, password: "${credential:mqtt}"')
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    source = read(text, **env).sources[0]
    assert isinstance(source, MqttSource)
    assert source.password == "12345"
    assert read(MQTT + "state_dir: ${credential:mqtt}\n", **env).state_dir == "12345"
    assert "there is no credential other" in faults(text.replace(":mqtt}", ":other}"), **env)[0]
    assert "CREDENTIALS_DIRECTORY is not set" in faults(text)[0]
    assert "no valid name" in faults(text.replace(":mqtt}", ":../mqtt}"), **env)[0]
    assert read(text.replace(":mqtt}", ":other:-}"), **env).sources


def test_no_message_holds_a_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hush/{+#}")
    (tmp_path / "binary").write_bytes(b"hush\xff")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path), "SECRET": "hush/{+#}"}
    places = {
        "gateway: g": "gateway: X",
        "kind: mqtt": "kind: X",
        '"mqtt://127.0.0.1:1883"': "X",
        "127.0.0.1:1883": "me:X@127.0.0.1:1883",
        '1883"': '1883", keepalive: X, qos: X, tls: X, protocol: X',
        "name: oven": "name: X",
        "source: plant": "source: X",
        "plant/oven/temp}": "X}",
        "/temp}": '/temp, value: X, time: "$.X", range: X, noise: X}',
    }
    for old, new in places.items():
        for secret in ("${SECRET}", "${credential:secret}", "${credential:binary}"):
            text = MQTT.replace(old, new.replace("X", secret), 1)
            assert secret in text
            try:
                shown = [str(f.error()) for f in check(read(text, **env), tmp_path)]
            except ConfigError as exc:
                shown = [str(exc)]
            assert "hush" not in "\n".join(shown), (old, shown)


def test_a_literal_password_is_not_shown() -> None:
    assert "a hidden value" in faults(MQTT.replace('1883"', '1883", password: 4711'))[0]
    assert "hush" not in faults(MQTT.replace("gateway: g", "gateway: mqtt://a:hush@b"))[0]


def test_password_of(tmp_path: Path) -> None:
    (tmp_path / "pw").write_bytes(b"from file\r\n")
    url = "mqtt://me%40home:from%20url@h"
    assert password_of(MqttSource(name="a", url=url), tmp_path) == "from url"
    assert password_of(MqttSource(name="a", url="mqtt://h"), tmp_path) is None
    assert password_of(MqttSource(name="a", url=url, password_file="pw"), tmp_path) == "from file"
    assert password_of(MqttSource(name="a", url=url, password="x"), tmp_path) == "x"
    assert username_of(MqttSource(name="a", url=url)) == "me@home"
    assert username_of(MqttSource(name="a", url=url, username="you")) == "you"
    with pytest.raises(ConfigError, match="cannot read none: No such file"):
        password_of(MqttSource(name="a", url=url, password_file="none"), tmp_path)
    (tmp_path / "pw").write_bytes(b"hush\xff")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        password_of(MqttSource(name="a", url=url, password_file="pw"), tmp_path)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("old", "secret"),
    [("plant/oven/temp", "a/x-{hush}"), ("plant/oven/temp", "a/{hush-}"), ("temp}", "$.a[hush")],
)
def test_no_finding_quotes_what_was_substituted(old: str, secret: str) -> None:
    new = 'temp, value: "${SECRET}"}' if old == "temp}" else '"${SECRET}"'
    (finding,) = check(read(MQTT.replace(old, new), SECRET=secret), Path())
    assert "hush" not in str(finding.error())
    assert "'${SECRET}'" in finding.message
