"""Whole tables from and to files of people: CSV and Parquet."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from edgetwin.codec.table import Table
from edgetwin.errors import SourceError
from edgetwin.sources.formats import open_recording

DECIMALS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""Decimals with which nanoseconds are written in each unit."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_table(path: Path, unit: str) -> Table:
    """The whole file, its first column as the time in ``unit``; SourceError where it cannot be read."""
    recording = open_recording(path)
    time, *names = recording.names
    if len(set(recording.names)) < len(recording.names):
        raise SourceError(f"{path}: two columns have one name", hint="rename one")
    rows = list(recording.read(time, unit, names))
    t_ns = np.concatenate([r.t_ns for r in rows]) if rows else np.zeros(0, np.int64)
    values = np.concatenate([r.values for r in rows]) if rows else np.zeros((0, len(names)))
    return Table(time, unit, t_ns, tuple(names), values)


def write_table(path: Path, table: Table) -> None:
    """CSV, or Parquet where ``path`` ends in ``.parquet``; SourceError when it cannot be written."""
    write_bytes(path, _parquet(table) if path.suffix == ".parquet" else _csv(table))


def write_bytes(path: Path, data: bytes) -> None:
    """The whole file or nothing; SourceError when it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as exc:
        raise SourceError(f"cannot write {path}: {exc.strerror}", hint="name a file that can be written") from exc
    finally:
        partial.unlink(missing_ok=True)


def _csv(table: Table) -> bytes:
    """The table as text that reads back to the same numbers; a missing value is an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([table.time, *table.names])
    for t, row in zip(table.t_ns.tolist(), table.values.tolist(), strict=True):
        writer.writerow([_time(t, table.unit), *("" if v != v else repr(v) for v in row)])
    return out.getvalue().encode()


def _time(t_ns: int, unit: str) -> str:
    if unit == "iso":
        seconds, ns = divmod(t_ns, 10**9)
        return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{ns:09d}Z"
    decimals = DECIMALS.get(unit, 9)
    sign, digits = "-" if t_ns < 0 else "", str(abs(t_ns)).rjust(decimals + 1, "0")
    whole, part = digits[: len(digits) - decimals], digits[len(digits) - decimals :].rstrip("0")
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def _parquet(table: Table) -> bytes:
    """Time stamps in nanoseconds, UTC, and a double for each value; a missing one is null."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise SourceError("Parquet needs pyarrow", hint="pip install 'edgetwin[receiver]'") from exc
    arrow: Any = pyarrow
    times = arrow.array(table.t_ns, arrow.timestamp("ns", tz="UTC"))
    columns = [arrow.array(table.values[:, k], from_pandas=True) for k in range(len(table.names))]
    sink = arrow.BufferOutputStream()
    written = arrow.Table.from_arrays([times, *columns], [table.time, *table.names])
    arrow.parquet.write_table(written, sink, compression="zstd")
    return bytes(sink.getvalue())
