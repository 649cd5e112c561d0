"""The audit: a file of JSON lines, each on the disk before what it tells of happens.

A line is ``{"n": number, "t": ns, "kind": kind, ..., "crc": CRC-32 of the line without this member}``. Two files take
turns: when ``audit.jsonl`` has grown to FILE_BYTES_MAX it becomes ``audit.1.jsonl``. A line that was cut by a crash, or
altered, fails its checksum; it is passed over and counted.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgetwin.errors import JournalError
from edgetwin.journal.disk import sync_directory
from edgetwin.records import Scalar

FILE_BYTES_MAX = 8 * 2**20
RECENT_MAX = 1_000
NAME, OLDER = "audit.jsonl", "audit.1.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: its number, time in ns, kind and data."""

    n: int
    t_ns: int
    kind: str
    data: dict[str, Scalar]


class Audit:
    """Entries in memory: the last RECENT_MAX. Without a directory nothing is durable, and ``durable`` says so."""

    def __init__(self, directory: Path | None) -> None:
        self.recent: deque[Entry] = deque(maxlen=RECENT_MAX)
        self.damaged = 0
        self._directory = directory
        self._next = 0
        self._turn = asyncio.Lock()

    @property
    def durable(self) -> bool:
        """Whether entries survive a crash."""
        return self._directory is not None

    def load(self) -> Iterator[Entry]:
        """What earlier runs wrote, oldest first; to be exhausted before the first :meth:`append`."""
        if self._directory is None:
            return
        for name in (OLDER, NAME):
            try:
                lines = (self._directory / name).read_bytes().split(b"\n")
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise JournalError(f"cannot read {self._directory / name}: {exc.strerror}") from exc
            for line in filter(None, lines):
                entry = _parse(line)
                if entry is None:
                    self.damaged += 1
                    continue
                self._next = max(self._next, entry.n + 1)
                self.recent.append(entry)
                yield entry

    async def append(self, kind: str, t_ns: int, data: Mapping[str, Scalar]) -> None:
        """Write, sync, and only then return. Raises JournalError when that is not possible."""
        async with self._turn:
            entry = Entry(self._next, t_ns, kind, dict(data))
            self._next += 1
            if self._directory is not None:
                await asyncio.to_thread(self._write, _line(entry))
            self.recent.append(entry)

    def _write(self, line: bytes) -> None:
        assert self._directory is not None
        path = self._directory / NAME
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    line = b"\n" + line  # the last line was cut
                if os.write(fd, line) != len(line):
                    raise JournalError(f"{path} is full", hint="make room on its file system")
                os.fsync(fd)
            finally:
                os.close(fd)
            if not size or size + len(line) > FILE_BYTES_MAX:
                if size:
                    path.replace(self._directory / OLDER)
                sync_directory(self._directory)
        except OSError as exc:
            raise JournalError(f"cannot write {path}: {exc.strerror}", hint="check state_dir") from exc


def _line(entry: Entry) -> bytes:
    body = msgspec.json.encode({"n": entry.n, "t": entry.t_ns, "kind": entry.kind} | entry.data)
    return body[:-1] + b',"crc":%d}\n' % zlib.crc32(body)


def _parse(line: bytes) -> Entry | None:
    head, mark, tail = line.rpartition(b',"crc":')
    if not mark or not tail.endswith(b"}") or not tail[:-1].isdigit():
        return None
    body = head + b"}"
    if zlib.crc32(body) != int(tail[:-1]):
        return None
    data = msgspec.json.decode(body)
    return Entry(data.pop("n"), data.pop("t"), data.pop("kind"), data)
