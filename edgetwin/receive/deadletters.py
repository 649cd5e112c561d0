"""Payloads that are no frames, kept for a look: one file each, bounded in number and bytes."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from edgetwin.receive.files import storing

COUNT_MAX = 1_000
BYTES_MAX = 64 * 1024 * 1024


class DeadLetters:
    """``NNNNNNNN.frame`` in a directory, as received; when full, the oldest goes. Decoding one tells its fault."""

    def __init__(self, directory: Path, count_max: int = COUNT_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._directory = directory
        self._count_max = count_max
        self._bytes_max = bytes_max
        with storing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            found = sorted((int(p.stem), p.stat().st_size) for p in directory.glob("*.frame") if p.stem.isdecimal())
        self._kept = deque(found)
        self._bytes = sum(size for _, size in found)
        self._next = found[-1][0] + 1 if found else 0
        self._make_room(0)

    def add(self, payload: bytes) -> None:
        """Keep a payload. JournalError when the disk refuses."""
        payload = payload[: self._bytes_max]
        self._make_room(len(payload), 1)
        with storing(self._directory):
            self._path(self._next).write_bytes(payload)
        self._kept.append((self._next, len(payload)))
        self._bytes += len(payload)
        self._next += 1

    def _make_room(self, size: int, count: int = 0) -> None:
        while self._kept and (len(self._kept) + count > self._count_max or self._bytes + size > self._bytes_max):
            number, freed = self._kept.popleft()
            self._bytes -= freed
            with storing(self._directory):
                self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08d}.frame"
