"""`edgetwin codec`: files in and out, tolerances by column, located errors."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from edgetwin.cli.main import main

TEXT = "t,temp,flow\n" + "".join(
    f"{1700000000 + i / 4},{20 + (i * 7 % 101) / 100},{i * i % 5 or ''}\n" for i in range(200)
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(TEXT)
    return path


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_there_and_back(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coded, out = tmp_path / "c.etwt", tmp_path / "out.csv"
    assert (
        main(["codec", "encode", str(source), "--tolerance", "5%", "--tolerance", "flow=0", "-o", str(coded), "--json"])
        == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert (report["rows"], report["values"]) == (200, 400)
    assert report["bytes"] == coded.stat().st_size < len(TEXT) / 8
    assert report["columns"]["temp"]["tolerance"] == pytest.approx(0.05)
    assert 0 < report["columns"]["temp"]["largest_error"] <= report["columns"]["temp"]["tolerance"]
    assert report["columns"]["flow"] == {"tolerance": 0.0, "largest_error": 0.0}
    assert main(["codec", "decode", str(coded), "-o", str(out)]) == 0
    sent, found = rows(source), rows(out)
    assert found[0] == sent[0] and len(found) == len(sent)
    for a, b in zip(sent[1:], found[1:], strict=True):
        assert float(a[0]) == float(b[0])
        assert abs(float(a[1]) - float(b[1])) <= 0.05 + 1e-12
        assert (a[2] == b[2] == "") or float(a[2]) == float(b[2])


@pytest.mark.parametrize(
    ("unit", "times"),
    [("ms", ["-1500", "0.25", "7"]), ("ns", ["1", "2", "900"]), ("iso", ["2024-05-01T10:00:00.000000001Z", "2024-05-01T10:00:01.000000000Z"]), ("s", ["-0.5", "0.000000001"])],
)  # fmt: skip
def test_times_come_back_as_text(unit: str, times: list[str], tmp_path: Path) -> None:
    source, coded, out = tmp_path / "a.csv.gz", tmp_path / "c", tmp_path / "b.csv"
    source.write_bytes(gzip.compress(("t,x\n" + "".join(f"{t},1\n" for t in times)).encode()))
    assert main(["codec", "encode", str(source), "--tolerance", "0", "--time-unit", unit, "-o", str(coded)]) == 0
    assert main(["codec", "decode", str(coded), "-o", str(out)]) == 0
    assert [row[0] for row in rows(out)[1:]] == times


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--tolerance", "tmp=1"], 2, "no column 'tmp': known: temp, flow"),
        (["--tolerance", "temp=1"], 2, "none for column 'flow'"),
        (["--tolerance", "-1"], 2, "'-1' is not a tolerance"),
        (["--tolerance", "nan"], 2, "'nan' is not a tolerance"),
        (["--tolerance", "x%"], 2, "'x%' is not a tolerance"),
        (["--tolerance", "1", "--time-unit", "iso"], 1, "in.csv:2: column t"),
    ],
)
def test_faults_are_told(
    words: list[str], code: int, message: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [w.replace("-1", "=-1") if w == "-1" else w for w in words]
    if words[1].startswith("=-"):
        words = [f"--tolerance{words[1]}"]
    assert main(["codec", "encode", str(source), *words, "-o", str(out)]) == code
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_what_is_no_table_is_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codec", "decode", str(source), "-o", str(tmp_path / "x")]) == 1
    assert "not a coded table" in capsys.readouterr().err
    assert main(["codec", "decode", str(tmp_path / "none"), "-o", str(tmp_path / "x")]) == 1
    assert main(["codec", "encode", str(source), "--tolerance", "1", "-o", str(tmp_path / "no" / "x")]) == 1


def test_parquet_in_and_out(source: Path, tmp_path: Path) -> None:
    """CSV to Parquet to CSV through two coded files: exactly what was in the first one."""
    import pyarrow.parquet

    first, second = tmp_path / "1.etc", tmp_path / "2.etc"
    table, out = tmp_path / "a.parquet", tmp_path / "b.csv"
    assert main(["codec", "encode", str(source), "--tolerance", "0", "-o", str(first)]) == 0
    assert main(["codec", "decode", str(first), "-o", str(table)]) == 0
    read = pyarrow.parquet.read_table(table)
    assert str(read.schema.field("t").type) == "timestamp[ns, tz=UTC]"
    assert read.column("flow").null_count == sum(row[2] == "" for row in rows(source)[1:])
    assert main(["codec", "encode", str(table), "--tolerance", "0", "-o", str(second)]) == 0
    assert main(["codec", "decode", str(second), "-o", str(out)]) == 0

    def numbers(path: Path) -> list[list[str]]:
        return [[repr(float(cell or "nan")) for cell in row] for row in rows(path)[1:]]

    assert numbers(out) == numbers(source)
