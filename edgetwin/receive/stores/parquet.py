"""States in Parquet files. Needs pyarrow (the extra ``receiver``), imported when a store is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.codec.frames import Frame
from edgetwin.errors import ConfigError
from edgetwin.journal.disk import sync_directory
from edgetwin.receive.stores.files import storing
from edgetwin.receive.stores.port import QUALITY

ROWS_PER_GROUP = 65_536

_PARTIAL = ".partial"


class ParquetStates:
    """``states-NNNNNNNN.parquet``, numbered from 0; each commit closes a file and gives it its name.

    The position is the number of the next file. Rows wait in memory for a row group, at most ``ROWS_PER_GROUP`` and a
    report.
    """

    def __init__(self, directory: Path, position: int) -> None:
        """ConfigError when pyarrow is not installed."""
        self._arrow, self._parquet = _import()
        self._directory = directory
        self._number = position
        self._schema = _schema(self._arrow)
        self._writer: Any = None
        self._waiting: list[dict[str, Any]] = []
        self._waiting_rows = 0
        with storing(directory):
            self._forget_uncommitted()

    def write(self, frame: Frame) -> None:
        """Add the states of a frame."""
        for report in frame.reports:
            n = len(report)
            twins, states, units = zip(*report.columns, strict=True) if n else ((), (), ())
            self._waiting.append(
                {
                    "gateway": [frame.gateway] * n,
                    "twin": twins,
                    "state": states,
                    "t": np.full(n, report.t_ns, np.int64),
                    "mean": report.mean,
                    "std": report.std,
                    "quality": [QUALITY[q] for q in report.quality.tolist()],
                    "unit": units,
                }
            )
            self._waiting_rows += n
            if self._waiting_rows >= ROWS_PER_GROUP:
                self._write_group()

    def commit(self) -> int:
        """Finish the file if it has rows; returns the number of the next."""
        if self._waiting_rows:
            self._write_group()
        if self._writer is not None:
            with storing(self._path(_PARTIAL)):
                self._writer.close()
                _sync(self._path(_PARTIAL))
                self._path(_PARTIAL).replace(self._path())
                sync_directory(self._directory)
            self._writer = None
            self._number += 1
        return self._number

    def close(self) -> None:
        """Give up the file that was not committed."""
        if self._writer is not None:
            self._writer.close()
            self._path(_PARTIAL).unlink(missing_ok=True)
        self._writer = None

    def _write_group(self) -> None:
        columns = [self._column(field) for field in self._schema]
        group = self._arrow.Table.from_arrays(columns, schema=self._schema)
        with storing(self._path(_PARTIAL)):
            if self._writer is None:
                self._writer = self._parquet.ParquetWriter(self._path(_PARTIAL), self._schema, compression="zstd")
            self._writer.write_table(group, row_group_size=ROWS_PER_GROUP)
        self._waiting, self._waiting_rows = [], 0

    def _column(self, field: Any) -> Any:
        parts = [part[field.name] for part in self._waiting]
        if isinstance(parts[0], np.ndarray):
            joined: NDArray[Any] = np.concatenate(parts)
            return self._arrow.array(joined).cast(field.type)
        return self._arrow.array([value for part in parts for value in part], type=field.type)

    def _path(self, suffix: str = "") -> Path:
        return self._directory / f"states-{self._number:08d}.parquet{suffix}"

    def _forget_uncommitted(self) -> None:
        for path in self._directory.glob(f"states-*.parquet{_PARTIAL}"):
            path.unlink()
        for path in self._directory.glob("states-*.parquet"):
            number = path.name.removeprefix("states-").removesuffix(".parquet")
            if number.isdecimal() and int(number) >= self._number:
                path.unlink()


def _import() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise ConfigError(
            "store kind parquet needs pyarrow", path="store.kind", hint="pip install 'edgetwin[receiver]'"
        ) from exc
    return pyarrow, pyarrow.parquet


def _schema(arrow: Any) -> Any:
    word = arrow.dictionary(arrow.int32(), arrow.string())
    kinds = {"gateway": word, "twin": word, "state": word, "t": arrow.timestamp("ns", tz="UTC")}
    kinds |= {"mean": arrow.float64(), "std": arrow.float64(), "quality": word, "unit": word}
    return arrow.schema(kinds)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
