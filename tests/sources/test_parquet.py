from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetwin.errors import SourceError
from edgetwin.sources.formats import open_recording

pa: Any = pytest.importorskip("pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet")


def stored(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def read(path: Path, *columns: str, unit: str = "s", rows_max: int = 65_536) -> tuple[list[int], list[list[float]]]:
    pieces = list(open_recording(path).read("t", unit, columns, rows_max))
    assert all(len(p.t_ns) <= rows_max for p in pieces)
    return [t for p in pieces for t in p.t_ns.tolist()], [v for p in pieces for v in p.values.tolist()]


@pytest.mark.parametrize(
    ("times", "unit", "first"),
    [
        (pa.array([1_700_000_000_123], pa.timestamp("ms", "UTC")), "s", 1_700_000_000_123_000_000),
        (pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")), "iso", 1_700_000_000_123_456_789),
        (pa.array([1_700_000_000], pa.int32()), "s", 1_700_000_000_000_000_000),
        (pa.array([1_700_000_000_123_456], pa.int64()), "us", 1_700_000_000_123_456_000),
        (pa.array([1479995938.081]), "s", 1_479_995_938_081_000_000),
        (pa.array(["2023-11-14T22:13:20Z"]), "iso", 1_700_000_000_000_000_000),
    ],
)
def test_times(tmp_path: Path, times: Any, unit: str, first: int) -> None:
    path = stored(tmp_path / "a.parquet", t=times, x=[1.5])
    assert read(path, "x", unit=unit) == ([first], [[1.5]])


def test_values_in_pieces(tmp_path: Path) -> None:
    path = stored(
        tmp_path / "a.parquet",
        t=list(range(10)),
        x=pa.array([None if k == 3 else k for k in range(10)], pa.int16()),
        on=[k % 2 == 0 for k in range(10)],
        note=["text"] * 10,
    )
    t, values = read(path, "on", "x", rows_max=4)
    assert t == [k * 10**9 for k in range(10)]
    assert math.isnan(values[3][1])
    assert [v for v in values if not math.isnan(v[1])] == [[float(k % 2 == 0), k] for k in range(10) if k != 3]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"t": [1, None], "x": [1.0, 2.0]}, "row 2: column t: the time is missing"),
        ({"t": ["a", "b"], "x": [1.0, 2.0]}, "row 1: column t: 'a' is not a time in s"),
        ({"t": [1, 2**62], "x": [1.0, 2.0]}, "row 2: column t: '4611686018427387904' is not a time"),
        ({"t": [1, 2], "x": ["p", "q"]}, r"row 1 and on: column x is not numeric \(string\)"),
    ],
)
def test_faults(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    path = stored(tmp_path / "a.parquet", **columns)
    with pytest.raises(SourceError, match=message):
        read(path, "x")


def test_a_damaged_file(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.parquet", t=[1], x=[1.0])
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(SourceError, match="cannot be read"):
        read(path, "x")


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path / "a.parquet", t=np.arange(3), x=np.arange(3.0))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceError, match=r"needs pyarrow: pip install"):
        open_recording(path)
