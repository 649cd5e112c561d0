"""A folder of CSV or Parquet files that one process writes.

A commit makes the files durable first and then replaces ``progress.json``, which holds their sizes and the frames in
them. When the folder is opened, the files are cut back to it. So a crash at any instant leaves whole commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from edgetwin.codec.frames import Frame
from edgetwin.receive.batch import Batch
from edgetwin.receive.config import CsvStore, ParquetStore
from edgetwin.receive.sequence import EPOCHS_MAX, Progress
from edgetwin.receive.stores import progress
from edgetwin.receive.stores.csv import CsvStates
from edgetwin.receive.stores.files import CsvLog, Position, storing
from edgetwin.receive.stores.parquet import ParquetStates
from edgetwin.receive.stores.port import iso
from edgetwin.receive.stores.runs import Runs

GAP_COLUMNS = ("noticed", "gateway", "epoch", "first", "last", "kind", "reason", "values")
SIGNAL_COLUMNS = (
    "gateway", "twin", "signal", "unit", "t_ns", "t", "count", "min", "max", "mean", "duration_s",
)  # fmt: skip
EVENT_COLUMNS = ("gateway", "epoch", "seq", "t", "kind", "data")


class States(Protocol):
    """What is particular to a kind of file."""

    def write(self, frame: Frame) -> None:
        """Add the states of a frame."""

    def commit(self) -> int | Position:
        """Make what was written durable; returns the position to open at."""

    def close(self) -> None:
        """Release the files."""


class FolderStore:
    """A :class:`edgetwin.receive.stores.port.Store` in a directory that nobody else writes to."""

    def __init__(self, config: CsvStore | ParquetStore, directory: Path) -> None:
        self.rows_max = config.rows_max
        self._config = config
        self._directory = directory
        self._kind = "csv" if isinstance(config, CsvStore) else "parquet"
        self._received: dict[tuple[str, int], Progress] = {}
        self._states: States | None = None
        self._logs: dict[str, CsvLog] = {}
        self._runs: Runs | None = None

    def check(self, frame: Frame) -> None:
        """Files take every frame."""

    def load(self) -> Sequence[Progress]:
        """Open the files at their last commit. JournalError when the directory cannot be written, belongs to another
        kind of store, or has lost what was committed; ConfigError when pyarrow is needed and not there."""
        self.close()
        with storing(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
        done = progress.load(self._directory, self._kind)
        size = self._config.file_bytes_max
        self._received = {(row.gateway, row.epoch): row for row in done.received}
        self._states = self._open_states(done)
        self._runs = Runs(self._directory, done.runs.number, done.runs.size)
        for name, columns in (("gaps", GAP_COLUMNS), ("events", EVENT_COLUMNS), ("signals", SIGNAL_COLUMNS)):
            self._logs[name] = CsvLog(self._directory, name, columns, done.logs.get(name, Position()), size)
        return done.received

    def runs(self) -> Iterable[bytes]:
        """The frames that coming ones may continue."""
        assert self._runs is not None
        return self._runs.frames()

    def apply(self, batch: Batch) -> None:
        """Add a batch and commit. After JournalError the store must be loaded again."""
        assert self._states is not None and self._runs is not None
        for frame in batch.frames:
            self._logs["signals"].write(_signal_rows(frame))
            self._states.write(frame)
            self._logs["events"].write(
                (frame.gateway, frame.epoch, frame.seq, iso(e.t_ns), e.kind, msgspec.json.encode(e.data).decode())
                for e in frame.events
            )
        self._logs["gaps"].write(
            (iso(g.noticed_ns), g.gateway, g.epoch, g.first, g.last, g.kind, g.reason, g.values) for g in batch.gaps
        )
        for part in batch.runs:
            self._runs.add(part)
        states = self._states.commit()
        runs = Position(*self._runs.commit())
        logs = {name: log.commit() for name, log in self._logs.items()}
        received = self._advanced(batch)
        if isinstance(states, Position):
            done = progress.Commit(kind=self._kind, logs=logs | {"states": states}, runs=runs, received=received)
        else:
            done = progress.Commit(kind=self._kind, logs=logs, parquet=states, runs=runs, received=received)
        progress.save(self._directory, done)
        self._runs.tidy()

    def close(self) -> None:
        """Release the files; what was not committed is forgotten when they are opened again."""
        for part in (self._states, self._runs, *self._logs.values()):
            if part is not None:
                part.close()
        self._states, self._runs = None, None
        self._logs.clear()

    def _open_states(self, done: progress.Commit) -> States:
        if isinstance(self._config, CsvStore):
            position = done.logs.get("states", Position())
            return CsvStates(self._directory, position, self._config.file_bytes_max)
        return ParquetStates(self._directory, done.parquet)

    def _advanced(self, batch: Batch) -> list[Progress]:
        """What the file of progress is to hold, at most as many epochs as the receiver itself remembers."""
        for row in batch.progress:
            self._received.pop((row.gateway, row.epoch), None)
            self._received[row.gateway, row.epoch] = row
        while len(self._received) > EPOCHS_MAX:
            del self._received[next(iter(self._received))]
        return list(self._received.values())


def _signal_rows(frame: Frame) -> Iterator[tuple[object, ...]]:
    for summary in frame.signals:
        t = iso(summary.t_ns)
        figures = (summary.count, summary.low, summary.high, summary.mean, summary.duration_s)
        for signal, *values in zip(summary.signals, *(f.tolist() for f in figures), strict=True):
            yield frame.gateway, *signal, summary.t_ns, t, *values
