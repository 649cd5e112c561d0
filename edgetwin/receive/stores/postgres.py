"""States in PostgreSQL. Needs psycopg (the extra ``receiver``), imported when the store is opened.

A commit is one transaction: rows, and the progress that covers them. The row of progress of each epoch carries a
version, and a commit only goes on from the version it knows; so whatever another process does, or whatever became of a
transaction whose answer was lost, no frame is applied twice. That one process at a time works on a share is seen to by
an advisory lock on top, which the session holds: a second process waits until the first is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import structlog

from edgetwin.codec.decoder import RUNS_PER_GATEWAY
from edgetwin.codec.frames import Frame
from edgetwin.config.environment import read_secret
from edgetwin.errors import ConfigError, FrameError, StoreError
from edgetwin.receive.batch import Batch
from edgetwin.receive.config import PostgresStore
from edgetwin.receive.sequence import EPOCHS_MAX, Progress, Stream
from edgetwin.receive.share import Share
from edgetwin.receive.stores import postgres_rows, postgres_schema

log = structlog.get_logger()

SERIES_MAX = 2_000_000
"""Numbers of series kept in memory; past it they are asked for again."""

_SHARING = 0x65747773
_PATIENCE_MS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Column = tuple[str, str, str, str]
"""(gateway, twin, state, unit)"""


class Postgres:
    """A :class:`edgetwin.receive.stores.port.Store` in a schema of a database."""

    def __init__(self, config: PostgresStore, base: Path, share: Share) -> None:
        self.rows_max = config.rows_max
        self._config = config
        self._base = base
        self._share = share
        self._connection: Any = None
        self._series: dict[Column, int] = {}

    def check(self, frame: Frame) -> None:
        """FrameError when a text holds U+0000, which PostgreSQL has no place for."""
        texts = {frame.gateway}
        for report in frame.reports:
            texts.update(*report.columns)
        for part in frame.signals:
            texts.update(*part.signals)
        for event in frame.events:
            texts |= {event.kind, *event.data, *(v for v in event.data.values() if isinstance(v, str))}
        texts |= {gap.reason for gap in frame.gaps}
        if any("\0" in text for text in texts):
            raise FrameError("a text in the frame holds a zero byte", hint="PostgreSQL has no place for it")

    # ---- the connection

    def load(self) -> Sequence[Progress]:
        """Connect anew, bring the schema up to date, take the share's lock, read the progress.

        StoreError when that cannot be done now; JournalError when the schema is newer than this program; ConfigError
        when psycopg is not installed or the connection string is none.
        """
        self.close()
        psycopg = _import()
        try:
            psycopg.conninfo.conninfo_to_dict(self._config.url)
        except psycopg.ProgrammingError as exc:
            hint = "write postgresql://user@host/database"
            raise ConfigError("not a connection string", path="store.url", hint=hint) from exc
        with self._translated():
            self._connection = psycopg.connect(
                self._config.url,
                password=self._password(),
                autocommit=True,
                connect_timeout=10,
                application_name=f"edgetwin-receiver {self._share}",
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                tcp_user_timeout=60_000,
            )
            self._prepare()
            return self._progress()

    def close(self) -> None:
        """Leave the database; what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        self._series.clear()
        if connection is not None:
            connection.close()

    def _password(self) -> str | None:
        if self._config.password_file is None:
            return None
        try:
            return read_secret(self._base / self._config.password_file)
        except (OSError, ConfigError) as exc:
            raise StoreError(f"{self._config.password_file} cannot be read", hint="check its permissions") from exc

    def _prepare(self) -> None:
        connection, schema = self._connection, self._config.schema
        connection.execute("SET synchronous_commit = on")  # an acknowledgement follows
        connection.execute("SET timezone = 'UTC'")
        connection.execute(f'SET search_path = "{schema}", public')
        with connection.transaction(), connection.cursor() as cursor:
            postgres_schema.migrate(cursor, schema)
        key = f"{schema} {self._share}"
        try:  # not at once: after a crash the server may still be about to notice that the old session is gone
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
                connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", (_SHARING, key))
        except _import().errors.LockNotAvailable as exc:
            raise StoreError(
                f"another receiver looks after share {self._share}",
                hint="this one waits until it is gone; give each its own share",
            ) from exc

    def _progress(self) -> list[Progress]:
        query = "SELECT record FROM progress ORDER BY heard DESC NULLS LAST LIMIT %s"
        records = [msgspec.convert(record, Progress) for (record,) in self._connection.execute(query, (EPOCHS_MAX,))]
        return [record for record in records if self._share.has(record.gateway)]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns whatever the database says into StoreError, and then leaves it: the next ``load`` begins anew."""
        psycopg = _import()
        try:
            yield
        except psycopg.Error as exc:
            self.close()
            first = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            raise StoreError(f"PostgreSQL: {first}", hint="it is tried again, and nothing acknowledged") from exc
        except BaseException:
            self.close()
            raise

    def runs(self) -> Iterable[bytes]:
        """The frames that coming ones may continue."""
        with self._translated():
            found = self._connection.execute("SELECT gateway, frame FROM runs ORDER BY n").fetchall()
        return [frame for gateway, frame in found if self._share.has(gateway)]

    # ---- a commit

    def apply(self, batch: Batch) -> None:
        """One transaction. StoreError when it did not come to a known end, or when another receiver has moved on one
        of the epochs; then everything must be loaded again."""
        if self._connection is None:
            raise StoreError("PostgreSQL: not connected")
        fresh: dict[Column, int] = {}
        with self._translated(), self._connection.transaction(), self._connection.cursor() as cursor:
            self._advance(cursor, batch.progress)
            fresh = self._number_series(cursor, batch.frames)
            self._copy_estimates(cursor, batch.frames, fresh)
            _copy_events(cursor, batch.frames)
            _copy_gaps(cursor, batch)
            _copy_signals(cursor, batch.frames)
            _keep_runs(cursor, batch)
            _correct(cursor, batch)
        if len(self._series) > SERIES_MAX:
            self._series.clear()
        self._series |= fresh

    def _advance(self, cursor: Any, progress: Sequence[Progress]) -> None:
        """First of all, as it locks the rows of progress against other writers."""
        for row in sorted(progress, key=lambda p: (p.gateway, p.epoch)):
            cursor.execute(_ADVANCE, _progress_row(row))
            if cursor.rowcount != 1:
                raise StoreError(
                    f"another receiver has stored frames of {row.gateway!r}", hint="give each receiver its own share"
                )

    def _number_series(self, cursor: Any, frames: Sequence[Frame]) -> dict[Column, int]:
        """Numbers of series that are not in memory; they count once the transaction has succeeded."""
        wanted = {
            (frame.gateway, *column)
            for frame in frames
            for columns in {report.columns for report in frame.reports}
            for column in columns
        }
        new = sorted(wanted.difference(self._series))
        if not new:
            return {}
        lists = [list(names) for names in zip(*new, strict=True)]
        cursor.execute(_ADD_SERIES, lists)
        cursor.execute(_FIND_SERIES, lists)
        return {tuple(names): number for number, *names in cursor}

    def _copy_estimates(self, cursor: Any, frames: Sequence[Frame], fresh: dict[Column, int]) -> None:
        with cursor.copy("COPY estimates (series, t, mean, std, quality) FROM STDIN (FORMAT binary)") as copy:
            copy.write(postgres_rows.HEAD)
            for frame in frames:
                for report in frame.reports:
                    columns = [(frame.gateway, *column) for column in report.columns]
                    numbers = [self._series.get(column) or fresh[column] for column in columns]
                    copy.write(postgres_rows.rows(report, numbers))
            copy.write(postgres_rows.TAIL)


def _copy_events(cursor: Any, frames: Sequence[Frame]) -> None:
    with cursor.copy("COPY events (gateway, t, kind, twin, data, epoch, seq) FROM STDIN") as copy:
        for frame in frames:
            for event in frame.events:
                twin = event.data.get("twin")
                data = msgspec.json.encode(event.data).decode()
                who = twin if isinstance(twin, str) else None
                copy.write_row((frame.gateway, _time(event.t_ns), event.kind, who, data, frame.epoch, frame.seq))


def _copy_gaps(cursor: Any, batch: Batch) -> None:
    with cursor.copy("COPY gaps (gateway, epoch, first, last, kind, reason, count, noticed) FROM STDIN") as copy:
        for gap in batch.gaps:
            noticed = _time(gap.noticed_ns)
            copy.write_row((gap.gateway, gap.epoch, gap.first, gap.last, gap.kind, gap.reason, gap.values, noticed))


def _copy_signals(cursor: Any, frames: Sequence[Frame]) -> None:
    columns = "gateway, twin, signal, unit, t, count, min, max, mean, duration"
    with cursor.copy(f"COPY signals ({columns}) FROM STDIN") as copy:
        for frame in frames:
            for part in frame.signals:
                figures = (part.count, part.low, part.high, part.mean, part.duration_s)
                for signal, *values in zip(part.signals, *(f.tolist() for f in figures), strict=True):
                    copy.write_row((frame.gateway, *signal, _time(part.t_ns), *values))


def _keep_runs(cursor: Any, batch: Batch) -> None:
    with cursor.copy("COPY runs (gateway, epoch, key, seq, frame) FROM STDIN") as copy:
        for part in batch.runs:
            copy.write_row((part.gateway, part.epoch, part.key, part.seq, part.data))
    for gateway in sorted({part.gateway for part in batch.runs if part.key == part.seq}):
        cursor.execute(_DROP_RUNS, (gateway, gateway, RUNS_PER_GATEWAY))


def _correct(cursor: Any, batch: Batch) -> None:
    """The newest correction of a row is the one that counts, in whatever order frames come."""
    corrections = batch.corrections()
    for c in corrections:
        t = _time(c.t_ns)
        cursor.execute(_KEEP_CORRECTION, (c.gateway, c.twin, c.state, t, c.mean, c.std, c.epoch, c.seq))
        cursor.execute(_APPLY_CORRECTION, (c.gateway, c.twin, c.state, t, t))
    for frame in batch.late:  # rows that come after what corrects them
        cursor.execute(_APPLY_LATE, (frame.gateway, _time(frame.t0), _time(frame.t1)))


def _progress_row(row: Progress) -> dict[str, Any]:
    stream = Stream(row)
    record = msgspec.structs.replace(row, version=row.version + 1)
    return {
        "gateway": row.gateway,
        "epoch": row.epoch,
        "watermark": stream.through,
        "missing": stream.missing,
        "frames": row.frames,
        "rows": row.rows,
        "opened": _time(row.opened_ns) if row.opened_ns else None,
        "heard": _time(row.heard_ns) if row.heard_ns else None,
        "last_t": _time(row.last_t_ns) if row.last_t_ns else None,
        "version": row.version,
        "record": msgspec.json.encode(record).decode(),
    }


def _time(t_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=postgres_rows.microseconds(t_ns))


def _import() -> Any:
    try:
        import psycopg
    except ImportError as exc:
        raise ConfigError(
            "store kind postgresql needs psycopg", path="store.kind", hint="pip install 'edgetwin[receiver]'"
        ) from exc
    return psycopg


_ADVANCE = """
INSERT INTO progress (gateway, epoch, watermark, missing, frames, rows, opened, heard, last_t, version, record)
VALUES (%(gateway)s, %(epoch)s, %(watermark)s, %(missing)s, %(frames)s, %(rows)s, %(opened)s, %(heard)s, %(last_t)s,
        %(version)s + 1, %(record)s::jsonb)
ON CONFLICT (gateway, epoch) DO UPDATE SET
    watermark = excluded.watermark, missing = excluded.missing, frames = excluded.frames, rows = excluded.rows,
    opened = excluded.opened, heard = excluded.heard, last_t = excluded.last_t,
    version = excluded.version, record = excluded.record
WHERE progress.version = %(version)s
"""

_DROP_RUNS = """
DELETE FROM runs WHERE gateway = %s AND (epoch, key) NOT IN (
    SELECT epoch, key FROM runs WHERE gateway = %s GROUP BY epoch, key ORDER BY max(n) DESC LIMIT %s
)
"""

_SERIES = "unnest(%s::text[], %s::text[], %s::text[], %s::text[])"
_ADD_SERIES = f"INSERT INTO series (gateway, twin, state, unit) SELECT * FROM {_SERIES} ON CONFLICT DO NOTHING"
_FIND_SERIES = f"""
SELECT s.id, s.gateway, s.twin, s.state, s.unit
FROM {_SERIES} AS w (gateway, twin, state, unit) JOIN series s USING (gateway, twin, state, unit)
"""

_KEEP_CORRECTION = """
INSERT INTO corrections AS c VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (gateway, twin, state, t) DO UPDATE SET
    mean = excluded.mean, std = excluded.std, epoch = excluded.epoch, seq = excluded.seq
WHERE c.epoch <> excluded.epoch OR c.seq <= excluded.seq
"""

_APPLY_CORRECTION = """
UPDATE estimates e SET mean = c.mean, std = c.std
FROM corrections c JOIN series s USING (gateway, twin, state)
WHERE c.gateway = %s AND c.twin = %s AND c.state = %s AND c.t = %s AND e.series = s.id AND e.t = %s
"""

_APPLY_LATE = """
UPDATE estimates e SET mean = c.mean, std = c.std
FROM corrections c JOIN series s USING (gateway, twin, state)
WHERE c.gateway = %s AND c.t BETWEEN %s AND %s AND e.series = s.id AND e.t = c.t
"""
