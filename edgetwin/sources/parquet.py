"""Parquet files as arrays. pyarrow is imported only when there is one to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.errors import SourceError
from edgetwin.kernels.times import NS_MAX, UNITS
from edgetwin.sources.payload import read_time
from edgetwin.sources.recording import ROWS_MAX, Rows


class ParquetRecording:
    """One file. Times are time stamps, whole numbers, or anything whose text is a time in the unit; an error names the
    row, counted from 1."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as exc:
            raise SourceError(f"{path}: Parquet needs pyarrow", hint="pip install 'edgetwin[receiver]'") from exc
        self.path = path
        self._arrow: Any = pyarrow
        self._parquet: Any = pyarrow.parquet
        with self._translated():
            schema = self._parquet.read_schema(path)
        self.names: tuple[str, ...] = tuple(schema.names)

    def read(self, time: str, unit: str, columns: Sequence[str], rows_max: int = ROWS_MAX) -> Iterator[Rows]:
        """See :class:`edgetwin.sources.recording.Recording`."""
        first = 1
        with self._translated(), self._parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(rows_max, columns=list(dict.fromkeys([time, *columns]))):
                t_ns = self._times(batch.column(time), time, unit, first)
                values = [self._values(batch.column(name), name, first) for name in columns]
                yield Rows(t_ns, np.stack(values, axis=1) if values else np.empty((len(t_ns), 0)))
                first += batch.num_rows

    def _translated(self) -> Any:
        return _Translated(self.path, self._arrow)

    def _times(self, array: Any, name: str, unit: str, first: int) -> NDArray[np.int64]:
        types = self._arrow.types
        if array.null_count:
            row = int(np.flatnonzero(np.asarray(array.is_null()))[0])
            raise SourceError(f"{self.path}: row {first + row}: column {name}: the time is missing")
        if types.is_timestamp(array.type):
            return _stamps(array, array.type.unit)
        if types.is_integer(array.type) and unit != "iso":
            whole: NDArray[np.int64] = array.to_numpy(zero_copy_only=False).astype(np.int64)
            factor = np.int64(10 ** UNITS[unit])
            if not len(whole) or (-(NS_MAX // factor) <= whole.min() and whole.max() <= NS_MAX // factor):
                return whole * factor
        texts = (str(value) for value in array.to_pylist())
        return np.array([self._time(text, name, unit, first + k) for k, text in enumerate(texts)], np.int64)

    def _time(self, text: str, name: str, unit: str, row: int) -> int:
        t = read_time(text, unit)
        if t is None:
            raise SourceError(f"{self.path}: row {row}: column {name}: {text[:60]!r} is not a time in {unit}")
        return t

    def _values(self, array: Any, name: str, first: int) -> NDArray[np.float64]:
        try:
            values: NDArray[np.float64] = array.cast("float64", safe=False).to_numpy(zero_copy_only=False)
        except (self._arrow.ArrowInvalid, self._arrow.ArrowNotImplementedError) as exc:
            raise SourceError(f"{self.path}: row {first} and on: column {name} is not numeric ({array.type})") from exc
        return values.astype(np.float64)


def _stamps(array: Any, unit: str) -> NDArray[np.int64]:
    """Arrow time stamps in nanoseconds; a naive one is UTC."""
    whole: NDArray[np.int64] = array.cast("int64").to_numpy(zero_copy_only=False)
    return whole * np.int64(10 ** UNITS[unit])


class _Translated:
    """Errors of pyarrow and of the disk as SourceError."""

    def __init__(self, path: Path, arrow: Any) -> None:
        self._path = path
        self._arrow = arrow

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, exc: BaseException | None, _trace: object) -> None:
        if isinstance(exc, (self._arrow.ArrowException, OSError)):
            raise SourceError(f"{self.path}: the file cannot be read ({exc})", hint="copy it again") from exc

    @property
    def path(self) -> Path:
        return self._path
