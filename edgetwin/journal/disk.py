"""The port to the disk: what the journal asks of a directory. Implementations raise OSError; the journal translates.

What the journal relies on: after ``sync`` of a file and ``sync_directory`` returned, content and name survive a power
cut; before, any sector of a write (512 bytes, aligned in the file) holds its old or its new content, independently, and
any name is the old or the new one. A failed ``sync`` says nothing about what is on the disk, now or ever (PostgreSQL's
"fsyncgate", 2018; Rebello et al., USENIX ATC 2020), so a file is not written again after one.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

LOCK_NAME = "lock"


class File(Protocol):
    """An open file."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data``; a short write is an OSError."""

    def read_at(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes, fewer only at the end of the file."""

    def sync(self) -> None:
        """Make content and length durable."""

    def allocate(self, size: int) -> None:
        """Make the file ``size`` bytes long, zeros where nothing was written, with its blocks reserved."""

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""

    def size(self) -> int:
        """Length in bytes."""

    def close(self) -> None:
        """Release it; nothing is synced."""


class Disk(Protocol):
    """A directory of the journal's own."""

    name: str
    """For messages."""

    def lock(self) -> None:
        """Become the owner. BlockingIOError when another process is."""

    def close(self) -> None:
        """Stop being the owner."""

    def names(self) -> list[str]:
        """The files in it, sorted."""

    def create(self, name: str) -> File:
        """A new file, open for writing; one that is there already is an OSError."""

    def open(self, name: str) -> File:
        """A file that is there, open for reading."""

    def rename(self, old: str, new: str) -> None:
        """Replace ``new`` by ``old``."""

    def unlink(self, name: str) -> None:
        """Remove a file."""

    def sync_directory(self) -> None:
        """Make creations, renames and removals durable."""


class RealFile:
    """A file of the operating system."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view = view[written:]
            offset += written

    def read_at(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0 and (part := os.pread(self._fd, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def sync(self) -> None:
        os.fdatasync(self._fd)  # includes the length, as reading needs it (fdatasync(2))

    def allocate(self, size: int) -> None:
        os.posix_fallocate(self._fd, 0, size)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)


class RealDisk:
    """A directory of the operating system. ``read_only`` is for inspection: it locks nothing and makes nothing."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.name = str(path)
        self._path = path
        self._read_only = read_only
        self._lock_fd = -1

    def lock(self) -> None:
        assert not self._read_only, "an inspection owns nothing"
        if not self._path.is_dir():
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(self._path.parent)
        fd = os.open(self._path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        self._lock_fd = fd

    def close(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def names(self) -> list[str]:
        return sorted(path.name for path in self._path.iterdir())

    def create(self, name: str) -> RealFile:
        assert not self._read_only
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return RealFile(os.open(self._path / name, flags, 0o600))

    def open(self, name: str) -> RealFile:
        return RealFile(os.open(self._path / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))

    def rename(self, old: str, new: str) -> None:
        (self._path / old).replace(self._path / new)

    def unlink(self, name: str) -> None:
        (self._path / name).unlink()

    def sync_directory(self) -> None:
        sync_directory(self._path)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: creations, renames and removals. OSError when the disk refuses."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
