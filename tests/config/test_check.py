from __future__ import annotations

from pathlib import Path

import pytest

from edgetwin.config.check import Finding, check, replayable, replays, runnable
from edgetwin.config.load import load
from edgetwin.config.models import BUILTIN
from edgetwin.config.schema import Config, MqttSource, Signal, Twin
from edgetwin.errors import ConfigError
from edgetwin.model import builtin
from tests.config.support import CONFIGS, MQTT, contract, read

HERE = Path(__file__).parent
TOPIC = "topic: plant/oven/temp"


def lines(text: str) -> list[str]:
    return [str(f.error()) for f in check(read(text), HERE)]


def test_nothing_to_say() -> None:
    assert lines(MQTT) == []
    runnable(read(MQTT), HERE)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("source: plant", "source: plnt", "c.yaml:8:22: twins[0].signals.temp.source: source 'plnt' is unknown: did you mean plant? known: plant, plc"),
        ("source: plant", "source: plc", "c.yaml:8:13: twins[0].signals.temp: register is missing: a modbus source needs it"),
        ("source: plant", "source: plc", "c.yaml:8:27: twins[0].signals.temp.topic: topic does not fit a modbus source"),
        (TOPIC, "register: {address: 0}", "c.yaml:8:13: twins[0].signals.temp: topic is missing: an mqtt source needs it"),
        (TOPIC, TOPIC + ", column: x", "c.yaml:8:53: twins[0].signals.temp.column: column does not fit an mqtt source"),
        (TOPIC, "topic: plant/+/temp", "c.yaml:8:36: twins[0].signals.temp.topic: the topic holds a wildcard +: write a {placeholder}"),
        (TOPIC, 'topic: "plant/{m}/t"', "c.yaml:8:36: twins[0].signals.temp.topic: {m} is a placeholder, and the twin's name has none"),
        (TOPIC, TOPIC + ", value: temp", "c.yaml:8:60: twins[0].signals.temp.value: a path starts with $"),
        (TOPIC, TOPIC + ", time: $.t", "c.yaml:8:53: twins[0].signals.temp.time: time needs value"),
        (TOPIC, TOPIC + ", time_unit: ms", "c.yaml:8:53: twins[0].signals.temp.time_unit: time_unit has no time"),
        (TOPIC, TOPIC + ", range: [5, 5]", "c.yaml:8:60: twins[0].signals.temp.range: the lower end must be below"),
        (TOPIC, TOPIC + ", scale: 0", "c.yaml:8:60: twins[0].signals.temp.scale: must not be 0"),
        ("temp:", "te mp:", "c.yaml:8:7: twins[0].signals['te mp']: is not a valid name of a signal"),
        ("name: plc", "name: plant", "c.yaml:4:12: sources[1].name: a source 'plant' exists already: sources[0]"),
        ("mqtt://127", "http://127", "c.yaml:3:36: sources[0].url: the URL has the wrong scheme: write mqtt://host:1883 or"),
        ("modbus+tcp://", "mqtt://", "c.yaml:4:36: sources[1].url: the URL has the wrong scheme: write modbus+tcp://host:502"),
        ('0.0.1"}\n', '0.0.1", every: 0s}\n', "c.yaml:4:69: sources[1].every: must be longer than 0"),
        ('1883"', '1883", tls: {}', "c.yaml:3:61: sources[0].tls: an mqtt:// connection has no TLS"),
        ('1883"', '1883", password_file: none', "c.yaml:3:76: sources[0].password_file: cannot read none: No such file"),
        ("name: oven", "name: oven\n    model: autp", "c.yaml:7:12: twins[0].model: model 'autp' is unknown: did you mean auto?"),
        ("name: oven", "name: oven\n    model: first_order", "c.yaml:6:5: twins[0].parameters: model first_order needs time_constant"),
        ("name: oven", "name: oven\n    parameters: {proces_noise: 1}", "c.yaml:7:18: twins[0].parameters.proces_noise: parameter of auto 'proces_noise' is unknown: did you mean process_noise?"),
        ("name: oven", "name: oven\n    parameters: {process_noise: 0}", "c.yaml:7:33: twins[0].parameters.process_noise: must be more than 0"),
        ("name: oven", "name: oven\n    report: {tolerance: {tmp: 1}}", "c.yaml:7:26: twins[0].report.tolerance.tmp: state 'tmp' is unknown: did you mean temp? known: temp, temp_rate"),
        ("name: oven", 'name: "{oven}"', "c.yaml:6:11: twins[0].name: {oven} occurs in no topic of the signals"),
        ("gateway: g", 'gateway: g\nuplink: {kind: https, url: "http://h"}', "c.yaml:2:28: uplink.url: frames would go out unencrypted: write https://"),
        ("gateway: g", 'gateway: g\nuplink: {kind: https, url: "https://u:p@h"}', "c.yaml:2:28: uplink.url: the URL holds a user or a password: use token_file or tls.cert"),
        ("gateway: g", 'gateway: g\nuplink: {kind: https, url: "https://h/a?b"}', "c.yaml:2:28: uplink.url: the URL goes on after host and port: write https://host:443 or http://host:80"),
        ("gateway: g", 'gateway: g\nuplink: {kind: https, url: "https://h", token: a, token_file: b}', "c.yaml:2:63: uplink.token_file: token is given too: keep one of them"),
        ("gateway: g", 'gateway: g\nuplink: {kind: https, url: "https://h", token_file: nowhere}', "c.yaml:2:53: uplink.token_file: cannot read nowhere: No such file or directory: the path is relative to the configuration file; check its permissions"),
        ("gateway: g", 'gateway: g\nuplink: {kind: https, url: "https://h", proxy: "socks5://p"}', "c.yaml:2:48: uplink.proxy: the URL has the wrong scheme: write http://host:80"),
        ("gateway: g", 'gateway: g\nuplink: {kind: https, url: "http://localhost", tls: {ca: x}}', "c.yaml:2:48: uplink.tls: an http:// connection has no TLS: write https:// in url"),
        ("gateway: g", 'gateway: g\nuplink: {kind: mqtt, url: "mqtt://h", topic: "a/{x}"}', "c.yaml:2:46: uplink.topic: placeholder {x} is unknown: only {gateway}"),
        ("gateway: g", "gateway: g\nhttp: {listen: 8787x}", "c.yaml:2:16: http.listen: must be host:port"),
        ("gateway: g", "gateway: g\njournal: {every: 0s}", "c.yaml:2:18: journal.every: must be longer than 0"),
    ],
)  # fmt: skip
def test_findings_are_located(old: str, new: str, line: str) -> None:
    text = MQTT.replace(old, new, 1)
    assert text != MQTT
    found = lines(text)
    assert any(f.startswith(line) for f in found), found


@pytest.mark.parametrize(
    ("register", "message"),
    [
        ("{address: 0}", ""),
        ("{address: 65535}", ""),
        ("{address: 65535, type: int32}", "int32 at 65535 ends at 65536"),
        ("{address: 65532, type: float64}", ""),
        ("{address: 65533, type: float64}", "float64 at 65533 ends at 65536"),
        ("{table: coil, address: 0}", "table coil holds bits, not uint16"),
        ("{table: coil, address: 0, type: bit}", ""),
        ("{table: discrete, address: 0, type: bit, bit: 1}", "table discrete takes no bit index"),
        ("{address: 0, type: bit, bit: 1}", ""),
        ("{address: 0, bit: 1}", "type uint16 takes no bit index"),
        ("{address: 0, scale: 0}", "must not be 0"),
    ],
)
def test_registers(register: str, message: str) -> None:
    found = lines(MQTT + f"      r: {{source: plc, register: {register}}}\n")
    assert (not found) if not message else (len(found) == 1 and message in found[0]), found


def test_a_register_must_fit_into_one_request() -> None:
    text = MQTT.replace('0.0.1"}\n', '0.0.1", words_max: 3}\n')
    found = lines(text + "      r: {source: plc, register: {address: 0, type: float64}}\n")
    assert found == [
        "c.yaml:9:53: twins[0].signals.r.register.type: float64 fills 4 registers, and words_max of its source "
        "is 3: raise words_max to 4"
    ]


@pytest.mark.parametrize(
    ("name", "topics", "message"),
    [
        ("{m}", ["p/{line}/{m}"], ""),
        ("{line}-{m}", ["p/{line}/{m}", "p/{line}/ambient", "p/hall"], ""),
        ("{m}", ["p/{line}/{m}", "p/{line}/ambient"], ""),
        ("{line}-{m}", ["p/{line}", "q/{m}"], "{line} and {m} do not occur together"),
        ("{line}-{m}", ["p/{line}"], "{m} occurs in no topic"),
        ("{m}", ["p/{m}", "p/{x}"], "what {x} stands for is not known"),
        ("{line}{m}", ["p/{line}/{m}"], "two placeholders touch"),
    ],
)
def test_templates(name: str, topics: list[str], message: str) -> None:
    signals = {f"s{i}": Signal(source="plant", topic=t) for i, t in enumerate(topics)}
    config = Config(
        gateway="g",
        sources=[MqttSource(name="plant", url="mqtt://h")],
        twins=[Twin(name=name, signals=signals)],
    )
    found = check(config, HERE)
    assert (not found) if not message else (len(found) == 1 and message in found[0].message), found
    assert all((f.file, f.line, f.column) == ("", 0, 0) for f in found)


def test_state_names_of_two_signals_must_differ() -> None:
    (line,) = lines(MQTT + "      temp_rate: {source: plant, topic: a}\n")
    assert line.startswith("c.yaml:9:7: twins[0].signals.temp_rate: state temp_rate belongs to two signals")


def test_one_client_id_at_one_broker() -> None:
    text = MQTT.replace('1883"', '1883", client_id: a')
    uplink = 'uplink: {kind: mqtt, url: "mqtt://127.0.0.1", client_id: a}\n'
    (line,) = lines(text + uplink)
    assert line.startswith("c.yaml:9:58: uplink.client_id: source plant has the same client_id")
    assert lines(text + uplink.replace("127.0.0.1", "127.0.0.2")) == []


def test_qos_2_beside_a_state_is_warned_of() -> None:
    text = MQTT.replace('1883"}', '1883", qos: 2}')
    assert lines(text) == []
    (finding,) = check(read(text + "state_dir: state\n"), HERE)
    assert (finding.severity, finding.line, finding.column) == ("warning", 3, 66)
    assert "deletes a message before it is durable" in finding.message


def test_limits() -> None:
    many = "".join(f"      s{i}: {{source: plant, topic: t/{i}}}\n" for i in range(20))
    (line,) = lines(MQTT + many + "limits: {topics: 16}\n")
    assert line.startswith("c.yaml:29:18: limits.topics: 21 topics are listed")
    second = "  - {name: b, signals: {t: {source: plant, topic: b}}}\n"
    (line,) = lines(MQTT + second + "limits: {twins: 1}\n")
    assert line.startswith("c.yaml:10:17: limits.twins: 2 twins are listed")


def test_the_table_of_models_is_that_of_the_models() -> None:
    assert {n: (r.suffixes, r.required) for n, r in BUILTIN.items()} == {
        n: (m.suffixes, m.required) for n, m in builtin.BUILTIN.items()
    }


# ---- whole files


def check_file(path: Path) -> list[Finding]:
    return check(load(path, {}), path.parent)


def test_contract_minimal_can_run() -> None:
    assert check_file(contract("minimal.yaml")) == []


def test_contract_factory_is_not_yet() -> None:
    found = check_file(contract("factory.yaml"))
    assert [(f.severity, f.path) for f in found] == [
        ("not_yet", "twins[0].alarms[0]"),
        ("not_yet", "twins[0].alarms[1]"),
    ]
    with pytest.raises(ConfigError, match=r"factory.yaml:42:9: twins\[0\].alarms\[0\]: .*cannot be run yet"):
        runnable(load(contract("factory.yaml"), {}), HERE)


def test_contract_replay_is_for_replay_alone() -> None:
    path = contract("replay.yaml")
    assert check_file(path) == []
    config = load(path, {})
    assert replays(config)
    replayable(config, path.parent)
    with pytest.raises(
        ConfigError, match=r"replay.yaml:4:5: sources\[0\]: .* not for the daemon: run it with `edgetwin replay`"
    ):
        runnable(config, path.parent)


CSV = """\
gateway: g
sources:
  - {name: file, kind: csv, path: rec.csv}
twins:
  - name: oven
    signals:
      temp: {source: file, column: temp}
"""
BOTH = CSV.replace("twins:", '  - {name: plant, kind: mqtt, url: "mqtt://127.0.0.1"}\ntwins:')


def test_a_recording_beside_live_sources(tmp_path: Path) -> None:
    """Replay runs the recording alone; the daemon cannot run it."""
    (tmp_path / "rec.csv").write_text("t,temp\n")
    config = read(BOTH)
    assert not replays(config)
    replayable(config, tmp_path)
    (finding,) = check(config, tmp_path)
    assert str(finding.error()).startswith("c.yaml:3:5: sources[0]: a csv source is not for the daemon")


def test_a_recording_must_be_there() -> None:
    (line,) = lines(CSV)
    assert line == (
        "c.yaml:3:35: sources[0].path: there is no file 'rec.csv': the path is relative to the configuration file"
    )


def test_there_must_be_something_to_replay() -> None:
    with pytest.raises(ConfigError, match="sources: there is no csv source to replay"):
        replayable(read(MQTT), HERE)


@pytest.mark.parametrize("path", [p for p in CONFIGS if not p.name.startswith("receiver")], ids=lambda p: p.name)
def test_examples_can_run(path: Path) -> None:
    assert check_file(path) == []
