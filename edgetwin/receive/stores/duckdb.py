"""States in a DuckDB file. Needs duckdb and pyarrow (the extra ``receiver``), imported when the store is opened.

A commit is one transaction of rows and of the progress that covers them. One process has the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgetwin.codec.decoder import RUNS_PER_GATEWAY
from edgetwin.codec.frames import Frame
from edgetwin.errors import ConfigError, JournalError, StoreError
from edgetwin.receive.batch import Batch
from edgetwin.receive.config import DuckDbStore
from edgetwin.receive.sequence import EPOCHS_MAX, Progress, Stream
from edgetwin.receive.stores.files import storing
from edgetwin.receive.stores.port import QUALITY

NAME = "edgetwin.duckdb"

_FIRST = """
CREATE TABLE states (
    gateway VARCHAR, twin VARCHAR, state VARCHAR, t TIMESTAMP_NS, mean DOUBLE, std DOUBLE, quality VARCHAR, unit VARCHAR
);
CREATE TABLE corrections (
    gateway VARCHAR, twin VARCHAR, state VARCHAR, t TIMESTAMP_NS, mean DOUBLE, std DOUBLE, epoch UBIGINT, seq UBIGINT,
    PRIMARY KEY (gateway, twin, state, t)
);
CREATE TABLE events (
    gateway VARCHAR, t TIMESTAMP_NS, kind VARCHAR, twin VARCHAR, data JSON, epoch UBIGINT, seq UBIGINT
);
CREATE TABLE gaps (
    gateway VARCHAR, epoch UBIGINT, first UBIGINT, last UBIGINT, kind VARCHAR, reason VARCHAR, count UBIGINT,
    noticed TIMESTAMP_NS
);
CREATE TABLE signals (
    gateway VARCHAR, twin VARCHAR, signal VARCHAR, t TIMESTAMP_NS, count BIGINT, min DOUBLE, max DOUBLE, mean DOUBLE,
    duration DOUBLE, unit VARCHAR
);
CREATE SEQUENCE runs_n;
CREATE TABLE runs (
    gateway VARCHAR, epoch UBIGINT, key UBIGINT, seq UBIGINT, frame BLOB, n BIGINT DEFAULT nextval('runs_n')
);
CREATE TABLE progress (
    gateway VARCHAR, epoch UBIGINT, watermark HUGEINT, missing UBIGINT, frames UBIGINT, rows UBIGINT,
    opened TIMESTAMP_NS, heard TIMESTAMP_NS, last_t TIMESTAMP_NS, record VARCHAR,
    PRIMARY KEY (gateway, epoch)
);
CREATE VIEW gateways AS
    SELECT gateway, epoch, watermark, missing, frames, rows, opened, heard, last_t
    FROM progress WHERE opened IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY gateway ORDER BY opened DESC) = 1;
"""

STEPS = (_FIRST,)


class DuckDb:
    """A :class:`edgetwin.receive.stores.port.Store` in ``edgetwin.duckdb``."""

    def __init__(self, config: DuckDbStore, directory: Path) -> None:
        self.rows_max = config.rows_max
        self._directory = directory
        self._connection: Any = None

    def check(self, frame: Frame) -> None:
        """DuckDB takes every frame."""

    def load(self) -> Sequence[Progress]:
        """Open the file and bring its tables up to date. StoreError when that cannot be done now, JournalError when
        the tables are newer than this program, ConfigError when duckdb or pyarrow is not installed."""
        self.close()
        duckdb, _ = _import()
        with storing(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
        with self._translated():
            options = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
            self._connection = duckdb.connect(str(self._directory / NAME), config=options)
            self._migrate()
            query = "SELECT record FROM progress ORDER BY heard DESC NULLS LAST LIMIT ?"
            found = self._connection.execute(query, [EPOCHS_MAX]).fetchall()
            return [msgspec.json.decode(record, type=Progress) for (record,) in found]

    def close(self) -> None:
        """Close the file; what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def runs(self) -> Iterable[bytes]:
        """The frames that coming ones may continue."""
        with self._translated():
            found = self._connection.execute("SELECT frame FROM runs ORDER BY n").fetchall()
        return [frame for (frame,) in found]

    def apply(self, batch: Batch) -> None:
        """One transaction. StoreError when it failed; then everything must be loaded again."""
        if self._connection is None:
            raise StoreError("DuckDB: not open")
        with self._translated():
            self._connection.execute("BEGIN")
            for name, table in _tables(batch):
                if table.num_rows:
                    self._connection.register("batch", table)
                    self._connection.execute(_INSERT[name])
                    self._connection.unregister("batch")
            for gateway in sorted({part.gateway for part in batch.runs if part.key == part.seq}):
                self._connection.execute(_DROP_RUNS, [gateway, gateway, RUNS_PER_GATEWAY])
            self._correct(batch)
            self._connection.execute("COMMIT")

    def _correct(self, batch: Batch) -> None:
        """The newest correction of a row is the one that counts, in whatever order frames come."""
        for c in batch.corrections():
            place = [c.gateway, c.twin, c.state, c.t_ns]
            self._connection.execute(_KEEP_CORRECTION, [*place, c.mean, c.std, c.epoch, c.seq])
            self._connection.execute(_APPLY_CORRECTION, place)
        for frame in batch.late:  # rows that come after what corrects them
            self._connection.execute(_APPLY_LATE, [frame.gateway, frame.t0, frame.t1])

    def _migrate(self) -> None:
        run = self._connection.execute
        run("BEGIN")
        run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER, applied TIMESTAMP)")
        (version,) = run("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
        if version > len(STEPS):
            what = f"{self._directory / NAME} has version {version}, this program knows {len(STEPS)}"
            raise JournalError(what, hint="update the receiver")
        for number, step in enumerate(STEPS[version:], version + 1):
            run(step)
            run("INSERT INTO schema_version VALUES (?, current_timestamp::TIMESTAMP)", [number])
        run("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns whatever DuckDB says into StoreError, and closes the file: the next ``load`` begins anew."""
        duckdb, _ = _import()
        try:
            yield
        except duckdb.Error as exc:
            self.close()
            first = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            hint = "free space on its disk, or close the other program that has the file open"
            raise StoreError(f"DuckDB: {first}", hint=hint) from exc
        except BaseException:
            self.close()
            raise


def _import() -> tuple[Any, Any]:
    try:
        import duckdb
        import pyarrow
    except ImportError as exc:
        raise ConfigError(
            "store kind duckdb needs duckdb and pyarrow", path="store.kind", hint="pip install 'edgetwin[receiver]'"
        ) from exc
    return duckdb, pyarrow


# ---- a batch as Arrow tables


def _tables(batch: Batch) -> Iterator[tuple[str, Any]]:
    _, arrow = _import()
    yield "progress", _table(arrow, _PROGRESS, [_progress_row(row) for row in batch.progress])
    yield "states", _states(arrow, batch.frames)
    yield "events", _table(arrow, _EVENTS, list(_event_rows(batch.frames)))
    gaps = [(g.gateway, g.epoch, g.first, g.last, g.kind, g.reason, g.values, g.noticed_ns) for g in batch.gaps]
    yield "gaps", _table(arrow, _GAPS, gaps)
    yield "signals", _table(arrow, _SIGNALS, list(_signal_rows(batch.frames)))
    yield "runs", _table(arrow, _RUNS, [(p.gateway, p.epoch, p.key, p.seq, p.data) for p in batch.runs])


def _states(arrow: Any, frames: Sequence[Frame]) -> Any:
    word = arrow.dictionary(arrow.int32(), arrow.string())
    reports = [(frame.gateway, report) for frame in frames for report in frame.reports if len(report)]
    names = [(gateway, *column) for gateway, report in reports for column in report.columns]
    gateway, twin, state, unit = zip(*names, strict=True) if names else ((), (), (), ())
    quality = [QUALITY[q] for _, report in reports for q in report.quality.tolist()]
    times = [np.full(len(report), report.t_ns, np.int64) for _, report in reports]
    return arrow.table(
        {
            "gateway": arrow.array(gateway, word),
            "twin": arrow.array(twin, word),
            "state": arrow.array(state, word),
            "t": arrow.array(np.concatenate([np.empty(0, np.int64), *times])),
            "mean": arrow.array(np.concatenate([np.empty(0), *(report.mean for _, report in reports)])),
            "std": arrow.array(np.concatenate([np.empty(0), *(report.std for _, report in reports)])),
            "quality": arrow.array(quality, word),
            "unit": arrow.array(unit, word),
        }
    )


def _table(arrow: Any, columns: Mapping[str, Callable[[Any], Any]], rows: Sequence[Sequence[Any]]) -> Any:
    arrays = [arrow.array([row[i] for row in rows], kind(arrow)) for i, kind in enumerate(columns.values())]
    return arrow.table(arrays, list(columns))


def _event_rows(frames: Sequence[Frame]) -> Iterator[tuple[Any, ...]]:
    for frame in frames:
        for event in frame.events:
            twin = event.data.get("twin")
            data = msgspec.json.encode(event.data).decode()
            who = twin if isinstance(twin, str) else None
            yield frame.gateway, event.t_ns, event.kind, who, data, frame.epoch, frame.seq


def _signal_rows(frames: Sequence[Frame]) -> Iterator[tuple[Any, ...]]:
    for frame in frames:
        for part in frame.signals:
            figures = (part.count, part.low, part.high, part.mean, part.duration_s)
            for (twin, signal, unit), *values in zip(part.signals, *(f.tolist() for f in figures), strict=True):
                yield frame.gateway, twin, signal, part.t_ns, *values, unit


def _progress_row(row: Progress) -> tuple[Any, ...]:
    stream = Stream(row)
    times = [t or None for t in (row.opened_ns, row.heard_ns, row.last_t_ns)]
    record = msgspec.structs.replace(row, version=row.version + 1)
    text = msgspec.json.encode(record).decode()
    return row.gateway, row.epoch, str(stream.through), stream.missing, row.frames, row.rows, *times, text


def _text(arrow: Any) -> Any:
    return arrow.string()


def _i64(arrow: Any) -> Any:
    return arrow.int64()


def _u64(arrow: Any) -> Any:
    return arrow.uint64()


def _f64(arrow: Any) -> Any:
    return arrow.float64()


def _blob(arrow: Any) -> Any:
    return arrow.binary()


_SIGNALS = {"gateway": _text, "twin": _text, "signal": _text, "t": _i64, "count": _i64, "min": _f64, "max": _f64}
_SIGNALS |= {"mean": _f64, "duration": _f64, "unit": _text}
_RUNS = {"gateway": _text, "epoch": _u64, "key": _u64, "seq": _u64, "frame": _blob}
_EVENTS = {"gateway": _text, "t": _i64, "kind": _text, "twin": _text, "data": _text, "epoch": _u64, "seq": _u64}
_GAPS = {"gateway": _text, "epoch": _u64, "first": _u64, "last": _u64, "kind": _text, "reason": _text}
_GAPS |= {"count": _u64, "noticed": _i64}
_PROGRESS = {"gateway": _text, "epoch": _u64, "watermark": _text, "missing": _u64, "frames": _u64, "rows": _u64}
_PROGRESS |= {"opened": _i64, "heard": _i64, "last_t": _i64, "record": _text}

_INSERT = {
    "states": "INSERT INTO states SELECT * REPLACE (make_timestamp_ns(t) AS t) FROM batch",
    "events": "INSERT INTO events SELECT * REPLACE (make_timestamp_ns(t) AS t) FROM batch",
    "gaps": "INSERT INTO gaps SELECT * REPLACE (make_timestamp_ns(noticed) AS noticed) FROM batch",
    "signals": "INSERT INTO signals SELECT * REPLACE (make_timestamp_ns(t) AS t) FROM batch",
    "runs": "INSERT INTO runs (gateway, epoch, key, seq, frame) SELECT * FROM batch",
    "progress": """
        INSERT OR REPLACE INTO progress SELECT * REPLACE (
            watermark::HUGEINT AS watermark, make_timestamp_ns(opened) AS opened, make_timestamp_ns(heard) AS heard,
            make_timestamp_ns(last_t) AS last_t
        ) FROM batch""",
}

_DROP_RUNS = """
DELETE FROM runs WHERE gateway = ? AND (epoch, key) NOT IN (
    SELECT (epoch, key) FROM runs WHERE gateway = ? GROUP BY epoch, key ORDER BY max(n) DESC LIMIT ?
)
"""

_KEEP_CORRECTION = """
INSERT INTO corrections VALUES (?, ?, ?, make_timestamp_ns(?), ?, ?, ?, ?)
ON CONFLICT (gateway, twin, state, t) DO UPDATE SET
    mean = excluded.mean, std = excluded.std, epoch = excluded.epoch, seq = excluded.seq
WHERE corrections.epoch <> excluded.epoch OR corrections.seq <= excluded.seq
"""

_APPLY_CORRECTION = """
UPDATE states SET mean = c.mean, std = c.std FROM corrections c
WHERE c.gateway = ? AND c.twin = ? AND c.state = ? AND c.t = make_timestamp_ns(?)
AND states.gateway = c.gateway AND states.twin = c.twin AND states.state = c.state AND states.t = c.t
"""

_APPLY_LATE = """
UPDATE states SET mean = c.mean, std = c.std FROM corrections c
WHERE c.gateway = ? AND c.t BETWEEN make_timestamp_ns(?) AND make_timestamp_ns(?)
AND states.gateway = c.gateway AND states.twin = c.twin AND states.state = c.state AND states.t = c.t
"""
