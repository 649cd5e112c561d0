from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edgetwin.cli.main import main
from edgetwin.config.load import load
from tests.config.support import REPOSITORY
from tests.fit.build import LAG, LAG_TRUTH, T0, lag, write

EXAMPLE = REPOSITORY / "configs" / "fit.yaml"


def configured(folder: Path, text: str = LAG, seed: int = 1, n: int = 800) -> Path:
    write(folder / "f.csv", lag(seed, n))
    (folder / "c.yaml").write_text(text)
    return folder / "c.yaml"


def test_fit_and_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = configured(tmp_path), tmp_path / "m.fit.yaml"
    assert main(["fit", str(config), "--noise", "--validate", "0.25", "--out", str(out)]) == 0
    said, progress = capsys.readouterr()
    assert "m: climb 1, step 0, log-likelihood -" in progress
    assert "twin     m: model lag, 600 samples, stretches: 1\n" in said
    assert "fitted   process_noise.x  0.1" in said or "fitted   process_noise.x  0.2" in said
    assert "foresees z: one-step RMSE " in said
    assert "over 200 samples held out" in said
    assert "correlation of the errors\n         a " in said
    text = out.read_text()
    assert "# model lag; files f.csv\n" in text
    assert "# from 2023-11-14T22:13:20.000Z to 2023-11-14T22:26:39.000Z, stretches: 1\n" in text
    given = yaml.safe_load(text)["twins"]["m"]
    assert abs(given["parameters"]["a"] - LAG_TRUTH["a"]) < 0.03
    config.write_text("fitted: [m.fit.yaml]\n" + LAG)
    twin = load(config, {}).twins[0]
    assert twin.parameters == given["parameters"]
    assert twin.process_noise == given["process_noise"]
    assert twin.signals["z"].noise == given["noise"]["z"]
    assert twin.signals["u"].noise is None
    assert main(["check", str(config)]) == 0
    # From its own result a fit goes nowhere.
    assert main(["fit", str(config), "--noise", "--validate", "0.25", "--out", str(tmp_path / "again.yaml")]) == 0
    again = yaml.safe_load((tmp_path / "again.yaml").read_text())["twins"]["m"]["parameters"]
    assert again == pytest.approx(given["parameters"], rel=1e-3)


def test_the_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its fit foresees the samples held out far better than the guess, and is as sure as it says."""
    assert main(["fit", str(EXAMPLE), "--noise", "--validate", "0.25", "--out", str(tmp_path / "f.yaml")]) == 0
    said = capsys.readouterr().out
    assert "twin     cold-room: model cold_room, " in said
    before, after, _, nis = map(float, re.findall(r"([\d.]+)", said.partition("RMSE ")[2].partition(" over")[0]))
    assert after < 0.65 * before
    assert 0.8 < nis < 1.25
    assert "warning" not in said


def test_twins_files_and_spans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = "  - {name: n, model: random_walk, signals: {z: {source: f, column: z}}}\n"
    config, out = configured(tmp_path, LAG + second), tmp_path / "out.yaml"
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for seed, file in enumerate(files, 10):
        write(file, lag(seed, 300))
    words = ["fit", str(config), "--noise", "--out", str(out)]
    assert main([*words, "--twin", "m", "--files", *map(str, files)]) == 0
    assert "model lag, 600 samples, stretches: 2" in capsys.readouterr().out
    assert list(yaml.safe_load(out.read_text())["twins"]) == ["m"]
    span = ["--from", "2023-11-14T22:13:20Z", "--to", "2023-11-14T22:18:20Z"]
    assert main([*words, *span, "--parameters", "none", "--starts", "1"]) == 0
    said = capsys.readouterr().out
    assert "twin     m: model lag, 300 samples" in said
    assert "twin     n: model random_walk, 299 samples" in said
    given = yaml.safe_load(out.read_text())["twins"]
    assert {name: list(sections) for name, sections in given.items()} == {
        "m": ["process_noise", "noise"],
        "n": ["parameters", "noise"],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bounds", "a=2:1"], "'a=2:1' is not NAME=LOW:HIGH"),
        (["--bounds", "a"], "'a' is not NAME=LOW:HIGH"),
        (["--validate", "1"], "'1' is not a share from 0 up to 1"),
        (["--starts", "0"], "'0' is not a number from 1 to 100"),
        (["--from", "yesterday"], "is not a time"),
        (["--gap", "3"], "needs a unit"),
    ],
)
def test_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", str(EXAMPLE), "--out", "nowhere.yaml", *words])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_faults_of_the_configuration_are_2_and_of_the_data_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(tmp_path)
    words = ["fit", str(config), "--out", str(tmp_path / "out.yaml")]
    assert main([*words, "--twin", "M"]) == 2
    assert "--twin: there is no twin 'M'" in capsys.readouterr().err
    assert main([*words, "--parameters", "c"]) == 2
    assert f"{config}:14:12: twins[0].model: m has no 'c' to fit" in capsys.readouterr().err
    assert main([*words, "--files", str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err
    assert main([*words, "--from", "2030-01-01T00:00:00Z"]) == 1
    assert "no measurement of m in f.csv between --from and --to" in capsys.readouterr().err
    assert main([*words[:2], "--out", str(tmp_path / "no" / "out.yaml")]) == 1
    assert "cannot write " in capsys.readouterr().err
    assert not (tmp_path / "out.yaml").exists()


def test_an_interrupt_leaves_the_best_so_far(tmp_path: Path) -> None:
    """Ctrl-C while it climbs, on a recording that takes a while."""
    config, out = configured(tmp_path, n=200_000), tmp_path / "out.yaml"
    words = [sys.executable, "-m", "edgetwin.cli.main", "fit", str(config), "--noise", "--out", str(out)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a background job ignores it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=environment, **pipes, **heard) as process:  # type: ignore[call-overload]
        assert process.stderr is not None
        for line in process.stderr:
            if "step 1," in line:
                process.send_signal(signal.SIGINT)
                break
        said, rest = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"interrupted: {out} holds the best found so far, not the maximum" in rest
    assert f"written  {out}" in said
    text = out.read_text()
    assert "INTERRUPTED" in text
    assert yaml.safe_load(text)["twins"]["m"]["parameters"].keys() == {"a", "b"}


def test_progress_is_one_line_on_a_terminal(tmp_path: Path) -> None:
    config = configured(tmp_path)
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "edgetwin.cli.main", "fit", str(config), "--out", str(tmp_path / "out.yaml")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(ours, 4096):
                text += piece
        assert process.wait(timeout=60) == 0
    os.close(ours)
    lines = text.decode().split("\r")
    assert len(lines) > 4
    assert text.count(b"\n") == 1
    assert lines[1].startswith("m: climb 1, step 0, log-likelihood -")


FITTED = """\
twins:
  m:
    parameters: {a: 0.3}
    noise: {z: 0.7}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  m:", "  mm:", "m.yaml:2:3: twins.mm: twin 'mm' is unknown to the configuration"),
        ("{a:", "{A:", "m.yaml:3:18: twins.m.parameters.A: 'A' of parameters of m is unknown to the configuration"),
        ("{z:", "{y:", "m.yaml:4:13: twins.m.noise.y: 'y' of noise of m is unknown"),
        ("0.7", "-1", "m.yaml:4:16: twins.m.noise.z: must be more than 0"),
        ("noise", "nois", "m.yaml:4:5: twins.m.nois: unknown key"),
    ],
)
def test_a_fitted_file_that_does_not_match(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(tmp_path, "fitted: [m.yaml]\n" + LAG, n=50)
    (tmp_path / "m.yaml").write_text(FITTED)
    assert load(config, {}).twins[0].parameters == {"a": 0.3}
    (tmp_path / "m.yaml").write_text(FITTED.replace(old, new))
    assert main(["check", str(config)]) == 2
    assert message in capsys.readouterr().err


def test_a_fitted_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path, "fitted: [m.yaml]\n" + LAG, n=50)
    assert main(["check", str(config)]) == 2
    assert f"{config}:1:10: fitted[0]: there is no file" in capsys.readouterr().err


def test_later_files_win_and_values_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bounded = LAG.replace("a: 0.1", "a: {value: 0.1, min: 0.05, max: 0.5}")
    config = configured(tmp_path, "fitted: [m.yaml, n.yaml]\n" + bounded, n=50)
    (tmp_path / "m.yaml").write_text(FITTED)
    (tmp_path / "n.yaml").write_text("twins: {m: {parameters: {a: 0.4}}}\n")
    assert load(config, {}).twins[0].parameters == {"a": 0.4}
    (tmp_path / "n.yaml").write_text("twins: {m: {parameters: {a: 4}}}\n")
    assert main(["check", str(config)]) == 2
    assert "must be at least 0.05 and at most 0.5" in capsys.readouterr().err


assert T0 == 1_700_000_000  # the times above are spelled out
