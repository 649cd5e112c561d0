from __future__ import annotations

import csv
import gzip
import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgetwin.errors import SourceError
from edgetwin.sources import csv as reader
from edgetwin.sources.csv import CsvRecording
from edgetwin.sources.formats import open_recording

FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)
CELLS = st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.sampled_from(["", "nan", " NA ", "7"]))


def read(path: Path, *columns: str, unit: str = "s", rows_max: int = 65_536) -> tuple[list[int], NDArray[np.float64]]:
    pieces = list(open_recording(path).read("t", unit, columns, rows_max))
    assert all(0 < len(p.t_ns) <= rows_max for p in pieces)
    values = [p.values for p in pieces] or [np.empty((0, len(columns)))]
    return [t for p in pieces for t in p.t_ns.tolist()], np.concatenate(values)


def fault(path: Path, content: str | bytes, *columns: str, unit: str = "s") -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SourceError) as caught:
        read(path, *(columns or ("x",)), unit=unit)
    return str(caught.value).removeprefix(str(path))


@FILES
@given(
    st.lists(st.tuples(TEXTS, CELLS, st.integers(0, 9 * 10**9), CELLS), max_size=30), st.sampled_from(",;\t"), st.data()
)
def test_as_the_csv_module_reads(
    tmp_path: Path, rows: list[tuple[str, str, int, str]], delimiter: str, data: st.DataObject
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=data.draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerow(["note", "x", "t", "y"])
    writer.writerows(rows)
    path = tmp_path / "a.csv"
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if data.draw(st.booleans()) else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "READ_BYTES", data.draw(st.integers(1, 200)))
        t, values = read(path, "y", "x", rows_max=data.draw(st.integers(1, 40)))
    assert t == [10**9 * row[2] for row in rows]
    expected = [[math.nan if c.strip().lower() in ("", "nan", "na") else float(c) for c in (r[3], r[1])] for r in rows]
    np.testing.assert_array_equal(values, np.array(expected).reshape(-1, 2))


@pytest.mark.parametrize(
    ("unit", "text", "t_ns"),
    [
        ("s", "1479995938.081", 1_479_995_938_081_000_000),
        ("s", "1700000000.123456789", 1_700_000_000_123_456_789),
        ("ms", "1700000000123.456789", 1_700_000_000_123_456_789),
        ("us", "1.7e15", 1_700_000_000_000_000_000),
        ("ns", "1700000000123456789", 1_700_000_000_123_456_789),
        ("s", "1700000000.00000000000000000000", 1_700_000_000_000_000_000),
        ("iso", "2023-11-14T22:13:20.000000001Z", 1_700_000_000_000_000_001),
        ("iso", '"2023-11-14 22:13:20"', 1_700_000_000_000_000_000),
        ("s", " -1.5 ", -1_500_000_000),
    ],
)
def test_times_are_exact(tmp_path: Path, unit: str, text: str, t_ns: int) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"t,x\n{text},1\n")
    assert read(path, "x", unit=unit)[0] == [t_ns]


def test_what_is_no_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    cells = ["", " ", "NaN", "-nan", "NA", "n/a", "null", "None", '""']
    path.write_text("\ufefft,x\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells)) + "\n \n9\n10,true")
    t, values = read(path, "x")
    assert t == [k * 10**9 for k in range(11)]
    assert np.isnan(values[:10]).all()
    assert values[10, 0] == 1.0


def test_numbers_beyond_the_fast_path(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    cells = ["0.1000000000000000055511151231257827", "1e999", "-inf", "Infinity", "1e-400", "+.5"]
    path.write_text("t,x\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells)))
    assert read(path, "x")[1][:, 0].tolist() == [0.1, math.inf, math.inf, math.inf, 0.0, 0.5]


def test_many_odd_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,x\n" + "".join(f"{k},NA\n{k}.5,{k}\n" for k in range(6000)))
    t, values = read(path, "x")
    assert len(t) == 12_000
    assert values[1::2, 0].tolist() == list(range(6000))
    assert np.isnan(values[::2]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("t,x\n1,2\n\n2,two\n", ":4: column x: 'two' is not a number"),
        ("t,x\n1,2\n2,1 2\n", ":3: column x: '1 2' is not a number"),
        ("t,x\nnow,2\n", ":2: column t: 'now' is not a time in s"),
        ("t,x\n1,2\n,3\n", ":3: column t: the time is missing"),
        ("x,t\n1\n", ":2: column t: the time is missing"),
        ("t,x\n1,2\n2,3,4\n", ":3: more cells than the 2 columns"),
        ('t,x,note\n1,2,"a\nb"\n2,x,\n', ":4: column x: 'x' is not a number"),
        ('t,x\n1,"2\n', ":2: the quotes of a cell do not match"),
        ('t,x\n1,"2"3\n', ":2: the quotes of a cell do not match"),
        ("t,x\n1e30,2\n", ":2: column t: '1e30' is not a time"),
        ("", ":1: there is no first line"),
        (b"t,\xff\n", ":1: the first line is not UTF-8"),
        (gzip.compress(b"t,x\n" + b"1,2\n" * 5000, mtime=0)[:-20], ": the file cannot be read on"),
    ],
)
def test_faults_are_located(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in fault(tmp_path / "a.csv", content)


def test_an_iso_time_is_asked_for_by_name(tmp_path: Path) -> None:
    assert "write it as 2024-05-01T10:00:00Z" in fault(tmp_path / "a.csv", "t,x\n5 May,1\n", unit="iso")


def test_a_row_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LINE_BYTES_MAX", 1000)
    monkeypatch.setattr(reader, "READ_BYTES", 300)
    assert ":2: a row of more than 1000 bytes" in fault(tmp_path / "a.csv", 't,x\n1,"' + "2" * 5000)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        open_recording(tmp_path / "none.csv")


def test_quoted_and_padded_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('t,"a, b", x ,\n1,2,3,\n')
    recording = CsvRecording(path)
    assert recording.names == ("t", "a, b", "x", "")
    assert read(path, "a, b", "x")[1].tolist() == [[2, 3]]
