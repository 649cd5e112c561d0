"""SunSpec points in the configuration: unknown models and points are named at their places; files of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgetwin.config.check import Finding, check
from edgetwin.config.plan import plan
from edgetwin.config.sunspec import models_with
from edgetwin.errors import ConfigError
from tests.config.support import read

START = """\
gateway: g
sources:
  - {name: a, kind: modbus, url: "modbus+tcp://h", sunspec_models: [FILES]}
twins:
  - name: m
    signals:
"""


def point(name: str, kind: str = "uint16", **extra: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "size": 1, **extra}


OWN = {
    "id": 64_999,
    "group": {"name": "own", "points": [point("ID", value=64_999), point("L"), point("Kelvin", "int16", sf=-2)]},
}


def text(*signals: str, files: str = "") -> str:
    return START.replace("FILES", files) + "".join(f"      {line}\n" for line in signals)


def found(tmp_path: Path, *signals: str, files: str = "") -> list[Finding]:
    return check(read(text(*signals, files=files)), tmp_path)


@pytest.mark.parametrize(
    "signal",
    [
        "W: {source: a, sunspec: 103}",
        "power: {source: a, sunspec: {model: 103, point: W, instance: 2, unit: 5, every: 10s}}",
        "dc: {source: a, sunspec: {model: 160, group: module, index: 2, point: DCA}}",
    ],
)
def test_points_that_are_right(signal: str, tmp_path: Path) -> None:
    assert found(tmp_path, signal) == []


@pytest.mark.parametrize(
    ("signal", "path", "message"),
    [
        ("Watt: {source: a, sunspec: 103}", "Watt.sunspec", "model 103 has no point 'Watt'"),
        ("s: {source: a, sunspec: {model: 9999, point: W}}", "s.sunspec.model", "model 9999 is unknown"),
        ("W: {source: a, sunspec: 9999}", "W.sunspec", "model 9999 is unknown"),
        ("s: {source: a, sunspec: {model: 160, group: moduel, point: DCA}}", "s.sunspec", "no group 'moduel'"),
        ("Mn: {source: a, sunspec: 1}", "Mn.sunspec", "not a number"),
        ("s: {source: a, sunspec: {model: 103, point: W, every: 0s}}", "s.sunspec.every", "longer than 0"),
        ("s: {source: a, sunspec: 103, register: {address: 0}}", "s.sunspec", "sunspec does not fit"),
    ],
)
def test_points_that_cannot_be(signal: str, path: str, message: str, tmp_path: Path) -> None:
    findings = [f for f in found(tmp_path, signal) if f.path == f"twins[0].signals.{path}"]
    assert message in findings[0].message
    assert findings[0].line == 7


def test_a_number_outside_the_models_is_refused() -> None:
    with pytest.raises(ConfigError, match="65534"):
        read(text("W: {source: a, sunspec: 65535}"))


def test_models_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps(OWN))
    assert found(tmp_path, "Kelvin: {source: a, sunspec: 64999}", files="own.json") == []
    model = models_with(["own.json"], tmp_path)[64_999]
    assert (model.points[2].name, model.points[2].at, model.points[2].sf) == ("Kelvin", 2, -2)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"group": {"points": 5}}', '{"group": {"points": [{"name": 1}]}}', "7"]
)
def test_files_that_are_no_models(content: str, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(content)
    (finding,) = found(tmp_path, "W: {source: a, sunspec: 103}", files="own.json")
    assert finding.path == "sources[0].sunspec_models[0]"
    (finding,) = found(tmp_path, "W: {source: a, sunspec: 103}", files="absent.json")
    assert "cannot be read" in finding.message


def test_the_plan_names_the_point(tmp_path: Path) -> None:
    config = read(text("dc: {source: a, sunspec: {model: 160, group: module, index: 2, point: DCA}}"))
    assert plan(config).twins[0].signals[0].binding == "SunSpec model 160 module[2] DCA"
