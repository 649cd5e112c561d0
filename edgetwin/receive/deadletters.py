"""Payloads that were refused, kept for a look with the reason beside them; bounded in number and bytes."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import msgspec

from edgetwin.receive.stores.files import storing

COUNT_MAX = 1_000
BYTES_MAX = 64 * 1024 * 1024


class DeadLetters:
    """``NNNNNNNN.frame`` in a directory, as received, and ``NNNNNNNN.json`` with topic, reason and size; when full, the
    oldest goes. Bytes are counted of payloads alone. A payload that is there already, as when a gateway tries it again,
    is not kept twice."""

    def __init__(self, directory: Path, count_max: int = COUNT_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._directory = directory
        self._count_max = count_max
        self._bytes_max = bytes_max
        with storing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            found = sorted((int(p.stem), p.stat().st_size) for p in directory.glob("*.frame") if p.stem.isdecimal())
            self._kept = {_digest(self._path(number).read_bytes()): (number, size) for number, size in found}
        self._bytes = sum(size for _, size in self._kept.values())
        self._next = found[-1][0] + 1 if found else 0
        self._make_room(0)

    def add(self, payload: bytes, topic: str, reason: str) -> None:
        """Keep a payload. JournalError when the disk refuses."""
        about = {"topic": topic, "reason": reason, "bytes": len(payload)}
        payload = payload[: self._bytes_max]
        digest = _digest(payload)
        if digest in self._kept:
            return
        self._make_room(len(payload), 1)
        with storing(self._directory):
            self._path(self._next).write_bytes(payload)
            self._path(self._next, "json").write_bytes(msgspec.json.encode(about))
        self._kept[digest] = self._next, len(payload)
        self._bytes += len(payload)
        self._next += 1

    def _make_room(self, size: int, count: int = 0) -> None:
        while self._kept and (len(self._kept) + count > self._count_max or self._bytes + size > self._bytes_max):
            number, freed = self._kept.pop(next(iter(self._kept)))
            self._bytes -= freed
            with storing(self._directory):
                self._path(number).unlink(missing_ok=True)
                self._path(number, "json").unlink(missing_ok=True)

    def _path(self, number: int, kind: str = "frame") -> Path:
        return self._directory / f"{number:08d}.{kind}"


def _digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=16).digest()
