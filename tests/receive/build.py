"""Frames, stores, and what a store made of frames."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import psycopg
import pyarrow.parquet as pq

from edgetwin.clock import Clock, ManualClock
from edgetwin.codec.frames import FrameGap, encode_frame
from edgetwin.receive.config import AnyStore, CsvStore, DuckDbStore, ParquetStore, PostgresStore
from edgetwin.receive.deadletters import DeadLetters
from edgetwin.receive.receiver import Receiver
from edgetwin.receive.share import WHOLE, Share
from edgetwin.receive.stores.open import make_store
from edgetwin.receive.stores.port import QUALITY, iso
from edgetwin.records import Event, Report
from edgetwin.uplink.store import FrameStore
from tests.codec.build import T0, report

Row = tuple[str, ...]

KINDS = ("csv", "parquet", "duckdb", "postgresql")


def frame(
    seq: int, epoch: int = 7, gateway: str = "g", gaps: Sequence[FrameGap] = (), events: Sequence[Event] = ()
) -> bytes:
    """A frame of one report that is different for each number."""
    return encode_frame([report_of(seq)], gateway, epoch, seq, events, gaps)


def report_of(seq: int) -> Report:
    return report(T0 + seq * 10**9, seed=seq)


def put(outbox: FrameStore, first: int, last: int) -> None:
    """Reports ``first`` to ``last - 1``, a frame for each."""
    for seq in range(first, last):
        outbox.put([report_of(seq)])


def rows_of(reports: Sequence[Report], gateway: str = "g") -> list[Row]:
    """What a store must hold for these reports, as states.csv has it."""
    return [
        (gateway, twin, state, unit, str(r.t_ns), iso(r.t_ns), repr(mean), repr(std), QUALITY[quality])
        for r in reports
        for (twin, state, unit), mean, std, quality in zip(
            r.columns, r.mean.tolist(), r.std.tolist(), r.quality.tolist(), strict=True
        )
    ]


def read(path: Path) -> list[Row]:
    """The rows of a CSV file without its header."""
    with path.open(newline="", encoding="utf-8") as f:
        return [tuple(row) for row in csv.reader(f)][1:]


class Place:
    """Where a store of some kind is, how to open it, and what it holds."""

    def __init__(self, kind: str, folder: Path, url: str = "", **options: object) -> None:
        self.kind = kind
        self.folder = folder
        self.url = url
        self.schema = f"s{secrets.token_hex(6)}"
        self.config = self._config(options)

    def _config(self, options: dict[str, object]) -> AnyStore:
        if self.kind == "postgresql":
            return PostgresStore(url=self.url, schema=self.schema, path=str(self.folder), **options)
        classes = {"csv": CsvStore, "parquet": ParquetStore, "duckdb": DuckDbStore}
        return classes[self.kind](str(self.folder), **options)

    def open(self, share: Share = WHOLE, clock: Clock | None = None) -> Receiver:
        """A receiver that has loaded the store."""
        store = make_store(self.config, self.folder, self.folder, share)
        dead = DeadLetters(self.folder / "dead-letters")
        receiver = Receiver(store, clock or ManualClock(T0), dead, share=share)
        receiver.load()
        return receiver

    def rows(self) -> list[Row]:
        """The states, in the order of arrival where the kind of store keeps it."""
        return {"csv": self._csv, "parquet": self._parquet, "duckdb": self._duckdb, "postgresql": self._postgres}[
            self.kind
        ]()

    def gaps(self) -> list[tuple[int, int, int, str, str]]:
        """(epoch, first, last, kind, reason) of each line."""
        columns = "epoch, first, last, kind, reason"
        if self.kind in ("csv", "parquet"):
            return [(int(r[2]), int(r[3]), int(r[4]), r[5], r[6]) for r in read(self.folder / "gaps.csv")]
        return [(int(e), int(a), int(b), k, r) for e, a, b, k, r in self.query(f"SELECT {columns} FROM gaps")]

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """The rows of a query to a database."""
        if self.kind == "postgresql":
            with psycopg.connect(self.url, options=f"-c search_path={self.schema} -c timezone=UTC") as connection:
                return connection.execute(sql).fetchall()
        with duckdb.connect(str(self.folder / "edgetwin.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def _csv(self) -> list[Row]:
        paths = sorted(self.folder.glob("states*.csv"), key=lambda p: ("-" in p.stem, p.stem))
        return [row for path in paths for row in read(path)]

    def _parquet(self) -> list[Row]:
        return [row for path in sorted(self.folder.glob("states-*.parquet")) for row in _parquet(path)]

    def _duckdb(self) -> list[Row]:
        sql = "SELECT gateway, twin, state, unit, epoch_ns(t), mean, std, quality FROM states ORDER BY rowid"
        return [(g, w, s, u, str(t), iso(t), repr(m), repr(d), q) for g, w, s, u, t, m, d, q in self.query(sql)]

    def _postgres(self) -> list[Row]:
        sql = "SELECT s.gateway, s.twin, s.state, s.unit, e.t, e.mean, e.std, e.quality FROM estimates e JOIN series s"
        found = self.query(f"{sql} ON s.id = e.series ORDER BY e.ctid")
        return [(g, w, s, u, str(ns(t)), iso(ns(t)), repr(m), repr(d), QUALITY[q]) for g, w, s, u, t, m, d, q in found]


def ns(t: datetime) -> int:
    """Nanoseconds since 1970, exactly."""
    since = t - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def _parquet(path: Path) -> Iterator[Row]:
    table = pq.read_table(path)
    names = ("gateway", "twin", "state", "unit", "mean", "std", "quality")
    columns = [table[name].to_pylist() for name in names]
    for t, (g, w, s, u, m, d, q) in zip(table["t"].cast("int64").to_pylist(), zip(*columns, strict=True), strict=True):
        yield g, w, s, u, str(t), iso(t), repr(m), repr(d), q
