"""Durable commits beside SQLite (WAL, synchronous=FULL) and a bare write with fdatasync, and recovery of a large log.

All on the directory of ``TMPDIR``, which should be the disk in question and no tmpfs.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgetwin.clock import SystemClock
from edgetwin.journal import Group, Journal, Limits, RealDisk

RECORD = os.urandom(200)
MIB = 1024 * 1024
SECONDS = 2.0


def _journal(path: Path, batch: int) -> tuple[Callable[[], None], Callable[[], None]]:
    journal, _ = Journal.open(RealDisk(path / "journal"), Limits(1024 * MIB, 8 * MIB), SystemClock())

    def commit() -> None:
        group = Group()
        for _ in range(batch):
            group.frame(journal.take_frame_number(), RECORD)
        journal.commit(group)

    return commit, journal.close


def _sqlite(path: Path, batch: int) -> tuple[Callable[[], None], Callable[[], None]]:
    db = sqlite3.connect(path / "outbox.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE frames (seq INTEGER PRIMARY KEY, payload BLOB)")

    def commit() -> None:
        db.execute("BEGIN")
        db.executemany("INSERT INTO frames (payload) VALUES (?)", [(RECORD,)] * batch)
        db.execute("COMMIT")

    return commit, db.close


def _bare(path: Path, batch: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """The limit: the payload alone, into room reserved before, and a sync."""
    size = 512 * MIB
    fd = os.open(path / "bare", os.O_RDWR | os.O_CREAT, 0o600)
    os.posix_fallocate(fd, 0, size)
    os.fsync(fd)
    data = RECORD * batch
    offset = 0

    def commit() -> None:
        nonlocal offset
        os.pwrite(fd, data, offset)
        os.fdatasync(fd)
        offset = (offset + len(data)) % (size - len(data))

    return commit, lambda: os.close(fd)


CLIENTS = {"bare write and fdatasync": _bare, "sqlite WAL FULL": _sqlite, "edgetwin": _journal}


def _written() -> int:
    """Bytes that this process has caused to be sent to the disk so far (proc(5), write_bytes)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def commits(client: str, batch: int) -> dict[str, Any]:
    """Commits of ``batch`` records of 200 bytes, one after the other, for two seconds."""
    with tempfile.TemporaryDirectory() as where:
        commit, close = CLIENTS[client](Path(where), batch)
        for _ in range(3):
            commit()
        before, start, count, times = _written(), time.perf_counter(), 0, []
        while (now := time.perf_counter()) - start < SECONDS:
            commit()
            times.append(time.perf_counter() - now)
            count += 1
        seconds = time.perf_counter() - start
        written = _written() - before
        close()
    return {
        "bench": "journal", "what": "commits", "client": client, "batch": batch,
        "commits_per_s": count / seconds, "records_per_s": count * batch / seconds,
        "p50_ms": sorted(times)[len(times) // 2] * 1e3, "p99_ms": sorted(times)[len(times) * 99 // 100] * 1e3,
        "disk_bytes_per_payload_byte": written / (count * batch * len(RECORD)),
    }  # fmt: skip


def recovery(total: int, size: int) -> dict[str, Any]:
    """Open a journal of ``total`` bytes of frames of ``size`` bytes; the files are in the page cache."""
    with tempfile.TemporaryDirectory() as where:
        disk, limits, clock = RealDisk(Path(where)), Limits(4096 * MIB, 8 * MIB), SystemClock()
        journal, _ = Journal.open(disk, limits, clock)
        payload = os.urandom(size)
        for _ in range(total // MIB):
            group = Group()
            for _ in range(MIB // size):
                group.frame(journal.take_frame_number(), payload)
            journal.commit(group)
        journal.close()
        start = time.perf_counter()
        journal, found = Journal.open(disk, limits, clock)
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        read = sum(len(frame.payload) for frame in journal.frames())
        reading = time.perf_counter() - start
        journal.close()
    return {
        "bench": "journal", "what": "recovery", "megabytes": total // MIB, "frame_bytes": size,
        "frames": found.frames, "seconds": seconds, "seconds_per_64_mb": seconds / (total / (64 * MIB)),
        "drain_mb_per_s": read / MIB / reading,
    }  # fmt: skip


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Commits at batches of 1 to 1,000 records for each client, then recovery."""
    for batch in (1, 100) if quick else (1, 10, 100, 1000):
        records = {client: commits(client, batch) for client in CLIENTS}
        ours = records["edgetwin"]
        ours["times_sqlite"] = ours["commits_per_s"] / records["sqlite WAL FULL"]["commits_per_s"]
        ours["share_of_limit"] = ours["commits_per_s"] / records["bare write and fdatasync"]["commits_per_s"]
        yield from records.values()
    for size in (1024, 16_384):
        yield recovery((128 if quick else 1024) * MIB, size)
