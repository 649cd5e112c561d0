"""Snapshots on disk: two slots, written in turn, so that one whole snapshot always exists.

A file is ``EDGETWIN``, version u32, number u64, length u64, CRC-32 of the body u32 (all little-endian), body.
It is written beside its place, synced, renamed, and the directory is synced.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from edgetwin.errors import JournalError
from edgetwin.journal.disk import sync_directory

_HEADER = struct.Struct("<8sIQQI")
_MAGIC = b"EDGETWIN"
_VERSION = 1


class SnapshotFiles:
    """The two slots ``{name}.a`` and ``{name}.b`` in a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self._slots = (directory / f"{name}.a", directory / f"{name}.b")
        self._number = 0
        self.damaged: list[str] = []

    def load(self) -> bytes | None:
        """The newest whole snapshot, or None. Damaged slots are named in ``damaged``."""
        found = [(number, body) for path in self._slots if (read := self._read(path)) for number, body in [read]]
        if not found:
            return None
        self._number, body = max(found)
        return body

    def save(self, body: bytes) -> None:
        """Write the older slot. Raises JournalError with a hint when the disk refuses."""
        number = self._number + 1
        path = self._slots[number % 2]
        partial = path.with_suffix(path.suffix + ".tmp")
        try:
            with partial.open("wb") as f:
                f.write(_HEADER.pack(_MAGIC, _VERSION, number, len(body), zlib.crc32(body)))
                f.write(body)
                f.flush()
                os.fsync(f.fileno())
            partial.replace(path)
            sync_directory(path.parent)
        except OSError as exc:
            partial.unlink(missing_ok=True)
            raise JournalError(
                f"snapshot {path} cannot be written ({exc.strerror})",
                hint="free space on its disk or make it writable; until then a restart loses what came since",
            ) from exc
        self._number = number

    def _read(self, path: Path) -> tuple[int, bytes] | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            self.damaged.append(path.name)
            return None
        if len(data) >= _HEADER.size:
            magic, version, number, length, crc = _HEADER.unpack_from(data)
            body = data[_HEADER.size :]
            if (magic, version, length) == (_MAGIC, _VERSION, len(body)) and zlib.crc32(body) == crc:
                return number, body
        self.damaged.append(path.name)
        return None
