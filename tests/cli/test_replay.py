from __future__ import annotations

from pathlib import Path

import pytest

from edgetwin.cli.main import main
from edgetwin.replay.run import FILES
from tests.config.support import REPOSITORY
from tests.replay.build import ONE, T0, table, write

EXAMPLE = REPOSITORY / "configs" / "replay.yaml"


def test_the_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(EXAMPLE)]) == 0
    assert "runs with `edgetwin replay CONFIG --out DIR`" in capsys.readouterr().out
    assert main(["replay", str(EXAMPLE), "--out", str(tmp_path / "a" / "b"), "--every", "10min"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("1434 samples over 0.9986 days in ")
    assert "source   log: " in out
    assert "signal   cold-room.air: one-step RMSE " in out
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == sorted(FILES)
    rows = table(tmp_path / "a" / "b" / "states.csv")
    assert len(rows) == 4 * 144
    assert {int(row["t"]) % 600 for row in rows} == {0}


def test_faults_of_the_configuration_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(ONE)
    assert main(["replay", str(config), "--out", str(tmp_path / "out")]) == 2
    assert f"{config}:3:35: sources[0].path: there is no file 'file.csv'" in capsys.readouterr().err
    write(tmp_path / "file.csv", ["t", "y"], [])
    assert main(["replay", str(config), "--out", str(tmp_path / "out")]) == 2
    assert "column of file.csv 'x' is unknown" in capsys.readouterr().err


def test_faults_of_a_recording_are_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(ONE)
    write(tmp_path / "file.csv", ["t", "x"], [[T0, "?"]])
    assert main(["replay", str(config), "--out", str(tmp_path / "out")]) == 1
    assert f"{tmp_path / 'file.csv'}:2: column x: '?' is not a number" in capsys.readouterr().err


def test_the_daemon_refuses_a_recording(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(EXAMPLE)]) == 2
    assert "run it with `edgetwin replay`" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [("1", "needs a unit"), ("0s", "longer than 0"), ("1 week", "unit")])
def test_the_grid_is_a_duration(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["replay", str(EXAMPLE), "--out", "nowhere", "--every", text])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
