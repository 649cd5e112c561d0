from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgetwin.cli.main import main
from tests.config.support import CONFIGS, MQTT, contract
from tests.config.test_outputs import PLANT
from tests.runtime.test_soundness import TEXT as TANK


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(MQTT)
    return path


def test_prints_what_would_run(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{file}: OK",
        "gateway  g",
        "state    not kept",
        "source   plant: mqtt 127.0.0.1:1883 (MQTT 5, QoS 1)",
        "source   plc: modbus 127.0.0.1:502 (unit 1, every 1 s)",
        "twin     oven: model auto, report every 1s",
        "  signal temp from plant: plant/oven/temp",
        "  states temp, temp_rate",
        "uplink   none",
        "http     127.0.0.1:8787",
    ]
    assert err == ""


def test_json_plan(capsys: pytest.CaptureFixture[str]) -> None:
    factory = next(p for p in CONFIGS if p.name == "factory.yaml")
    assert main(["check", "--json", str(factory)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["plan"]["uplink"]["topic"] == "edgetwin/plant-7/frames"
    assert answer["plan"]["twins"][0] == {
        "name": "oven-{oven}",
        "template": True,
        "model": "constant_velocity",
        "states": ["temp", "temp_rate", "power", "power_rate"],
        "signals": [
            {"name": "temp", "source": "plant", "binding": "plant/ovens/{oven} $.temp", "unit": "degC"},
            {"name": "power", "source": "plant", "binding": "plant/ovens/{oven} $.power", "unit": "kW"},
        ],
        "report_every": 1.0,
        "tolerance": {"temp": 0.2, "power": 0.1},
    }


def test_outputs_and_their_rules_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT)
    assert main(["check", str(file)]) == 0
    fan = "fan to plc: holding 10 uint16 (shadow, disarmed, 0 to 100, fallback 50, while T < 90, set by cool)"
    assert f"  output {fan}" in capsys.readouterr().out.splitlines()
    assert main(["check", "--json", str(file)]) == 0
    outputs = json.loads(capsys.readouterr().out)["plan"]["twins"][0]["outputs"]
    assert [(o["name"], o["binding"], o["rules"]) for o in outputs] == [
        ("fan", "holding 10 uint16", ["cool"]),
        ("lamp", "oven/lamp", []),
    ]


def test_every_error_goes_to_stderr(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(MQTT.replace("gateway: g", "gateway: 7").replace("name: oven", "nme: oven"))
    assert main(["check", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[1] for line in err.splitlines()] == ["gateway", "twins[0].nme", "twins[0]"]
    assert err.startswith(f"{file}:1:10: gateway: must be text")


def test_semantic_errors_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(MQTT.replace("source: plant", "source: plnt").replace("mqtt://", "http://"))
    assert main(["check", "--json", str(file)]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 2
    answer = json.loads(out)
    assert answer["ok"] is False
    assert [(f["severity"], f["path"], f["line"]) for f in answer["findings"]] == [
        ("error", "sources[0].url", 3),
        ("error", "twins[0].signals.temp.source", 8),
    ]


def test_not_yet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(contract("factory.yaml"))]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert all(line.startswith("not yet: ") for line in err)


def test_warnings_leave_it_runnable_unless_strict(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TANK.replace("{link: 1}", "{link: 0}"))
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{file}: OK\n")
    assert err.startswith(f"warning: {file}:19:5: twins[0].signals: state b cannot be observed from m: ")
    assert main(["check", "--strict", str(file)]) == 2
    out, again = capsys.readouterr()
    assert (out, again) == ("", err)
    assert main(["check", "--json", str(file)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert [(f["severity"], f["path"]) for f in answer["warnings"]] == [("warning", "twins[0].signals")]
    file.write_text(TANK)
    assert main(["check", "--strict", str(file)]) == 0
    assert capsys.readouterr().err == ""


def test_a_model_that_cannot_run_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TANK.replace("{link: 1}", "{stiff: 3e+5}"))
    assert main(["check", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"{file}:11:7: models[0].derivatives: tank is too stiff: ")


def test_conversions_are_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TANK.replace("topic: m}", "topic: m}\n      b: {source: plant, topic: b, unit: g}"))
    assert main(["check", str(file)]) == 0
    assert "  signal b [g → kg] from plant: b" in capsys.readouterr().out


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none.yaml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_as_a_process(file: Path) -> None:
    file.write_text("gateway: [")
    command = [sys.executable, "-m", "edgetwin.cli.main", "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{file}:")
    assert "Traceback" not in done.stderr


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"gateway", "sources", "twins", "models", "uplink", "http"} <= set(printed["$defs"]["Config"]["properties"])
