"""`edgetwin simulate`, on a configuration and on a running gateway."""

from __future__ import annotations

import asyncio
import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetwin.cli.main import main
from edgetwin.clock import SystemClock
from edgetwin.config.load import load
from edgetwin.config.schema import Journal
from edgetwin.engine import Engine
from edgetwin.http import serve
from edgetwin.journal.group import Group
from edgetwin.runtime.checkpoint import Positions, open_journal
from tests.engine.build import T0, feed
from tests.http.build import Listening, View

CONFIG = """
gateway: g
state_dir: ./state
sources: [{name: plant, kind: mqtt, url: "mqtt://127.0.0.1"}]
models:
  - name: cooling
    states: {x: {initial: 50, unit: degC, std: 1.0e-9}}
    inputs: {u: {initial: 20}}
    parameters: {k: 0.02}
    derivatives: {x: "-k * (x - u)"}
    measurements: {x: x, half: x / 2 + u}
twins:
  - name: m
    model: cooling
    signals: {x: {source: plant, topic: t, noise: 0.5, unit: degC}}
  - name: plain
    model: random_walk
    signals: {y: {source: plant, topic: y, noise: 0.5}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


def cooled(t: float, u: float, x0: float = 50.0) -> float:
    return float(u + (x0 - u) * 2.718281828459045 ** (-0.02 * t))


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, dict[str, dict[str, list[float]]]]:
    assert main(["simulate", *map(str, words), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, dict[str, dict[str, list[float]]]] = json.loads(out)
    return found


def test_from_the_initial_state(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, config, "m", "--for", "60s", "--step", "20s", "--members", 3, "--input", "u=0:20,20s:80")
    assert found["from"] is None
    mean = found["states"]["x"]["mean"]
    at_20 = cooled(20, 20)
    assert mean == pytest.approx([50, at_20, cooled(20, 80, at_20), cooled(40, 80, at_20)], rel=1e-5)


def test_every_option_reaches_the_scenario(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "inputs.csv"
    table.write_text("\ufefft,u\n0,20\n10s,\n20,80\n")
    options = ["--horizon", "40s", "--inputs", table, "--parameter", "k=triangular:0.01,0.02,0.03", "--no-noise"]
    options += ["--seed", 5, "--quantiles", "0.1,0.9", "--members", 200, "--step", 20]
    by_file = answer(capsys, config, "m", *options)
    assert (by_file["seed"], by_file["noise"], by_file["members"], by_file["times"]) == (5, False, 200, [0, 20, 40])
    assert list(by_file["states"]["x"]) == ["unit", "mean", "std", "q10", "q90"]
    assert by_file["states"]["x"]["q10"][1] < cooled(20, 20) < by_file["states"]["x"]["q90"][1]
    options[2:4] = ["--input", "u=0:20,20:80"]
    assert answer(capsys, config, "m", *options) == by_file
    ramped = answer(capsys, config, "m", "--for", "50s", "--step", "50s", "--ramp", "u=0:20,50s:45", "--members", 1)
    assert ramped["states"]["x"]["mean"][-1] == pytest.approx(45 - 25 + 55 * 2.718281828459045**-1, rel=1e-4)


def test_people_get_a_table_and_spreadsheets_a_file(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bands.csv"
    assert main(["simulate", str(config), "m", "--for", "1h", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "m from the model's initial state: 1000 members, seed 0"
    assert lines[2] == "x [degC]"
    assert lines[3].split() == ["after", "mean", "std", "q05", "q25", "q50", "q75", "q95"]
    assert [line.split()[0] for line in lines[4:15]] == ["0s", *(f"{k}min" for k in range(6, 60, 6)), "1h"]
    assert lines[16] == "half"
    with out.open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 2 * 101
    assert rows[0]["name"] == "x"
    assert float(rows[-2]["t"]) == 3600
    assert float(rows[-2]["mean"]) == pytest.approx(20)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["m", "--for", "1h", "--input", "v=1"], 2, "inputs.v: the model cooling has no input 'v'"),
        (["m", "--for", "1h", "--input", "u"], 2, "--input: 'u' is not NAME=…"),
        (["m", "--for", "1h", "--input", "u=hot"], 2, "--input: 'u=hot' is not understood"),
        (["m", "--for", "1h", "--input", "u=5s:1,4s:2"], 2, "inputs.u[1]: goes back in time"),
        (["m", "--for", "1h", "--parameter", "k=normal:1"], 2, "--parameter: 'k=normal:1' is not understood"),
        (["m", "--for", "1h", "--parameter", "k=normal:1,-1"], 2, "parameters.k: normal needs"),
        (["m", "--for", "1 week"], 2, "horizon: "),
        (["m", "--for", "1h", "--members", "0"], 2, "members: must be from 1 to"),
        (["m", "--for", "1h", "--inputs", "nowhere.csv"], 2, "--inputs: cannot be read"),
        (["mm", "--for", "1h"], 2, "there is no twin 'mm': did you mean m?"),
        (["plain", "--for", "1h"], 1, "the twin has not heard every signal yet"),
    ],
)
def test_faults(config: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, text: str) -> None:
    assert main(["simulate", str(config), *words]) == code
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "needs a header"),
        ("u,t\n1,2\n", "needs a header"),
        ("t,u\n0\n", ":2:"),
        ("t,u\n0,1\n5,x\n", "'x' is not a"),
    ],
)
def test_faults_of_a_file(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    table = tmp_path / "inputs.csv"
    table.write_text(text)
    assert main(["simulate", str(config), "m", "--for", "1h", "--inputs", str(table)]) == 2
    err = capsys.readouterr().err
    assert str(table) in err
    assert fault in err


def heard(config: Path) -> Engine:
    engine = Engine(load(config))
    feed(engine, [40.0] * 30, slot=0)
    feed(engine, [7.0] * 3, slot=1)
    return engine


def kept(state_dir: Path, engine: Engine | bytes, gateway: str) -> None:
    """A journal whose state is that of ``engine``."""
    journal = open_journal(state_dir, Journal(), SystemClock())
    group = Group()
    base = engine if isinstance(engine, bytes) else engine.snapshot()
    group.base([base], Positions(gateway, T0).pack())
    journal.commit(group)
    journal.close()


def test_from_where_the_gateway_stopped(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = heard(config)
    kept(config.parent / "state", engine, "g")
    capsys.readouterr()
    found = answer(capsys, config, "plain", "--for", "1min")
    expected = engine.estimate("plain", None, T0).states["y"]
    assert found["states"]["y"]["mean"][0] == pytest.approx(expected.mean, abs=5 * expected.std / 1000**0.5)
    assert str(found["from"]).startswith("2023-11-14T22:13:22")
    kept(config.parent / "state", engine, "other")
    assert main(["simulate", str(config), "m", "--for", "1min"]) == 2
    assert "state_dir: it belongs to the gateway 'other'" in capsys.readouterr().err
    kept(config.parent / "state", b"no snapshot", "g")
    assert main(["simulate", str(config), "m", "--for", "1min"]) == 1
    assert "snapshot cannot be read" in capsys.readouterr().err


@pytest.fixture
def url(config: Path) -> Iterator[str]:
    """A gateway's HTTP API in a thread of its own."""
    started, addresses, stop = threading.Event(), [], asyncio.Event()

    async def live() -> None:
        async with serve(View(heard(config), [Listening()]), "127.0.0.1:0") as (host, port):
            addresses.append((asyncio.get_running_loop(), f"http://{host}:{port}"))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    started.wait()
    loop, address = addresses[0]
    yield address
    loop.call_soon_threadsafe(stop.set)
    thread.join()


def test_of_a_running_gateway(url: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, url + "/", "m", "--for", "60s", "--step", "60s", "--input", "u=80", "--members", 500)
    assert str(found["from"]).startswith("2023-11-14T22:14:20")
    assert found["states"]["x"]["mean"][-1] == pytest.approx(cooled(60, 80, found["states"]["x"]["mean"][0]), rel=1e-3)
    assert main(["simulate", url, "m", "--for", "1h", "--input", "v=1"]) == 2
    assert "inputs.v: the model cooling has no input 'v'" in capsys.readouterr().err
    assert main(["simulate", url, "mm", "--for", "1h"]) == 2
    assert "there is no twin 'mm': did you mean m?" in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "http://127.0.0.1:1", "m", "--for", "1h"]) == 1
    assert "http://127.0.0.1:1 cannot be asked" in capsys.readouterr().err
