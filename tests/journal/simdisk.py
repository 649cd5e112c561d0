"""A disk in memory that loses, tears and reorders what was not synced.

Between syncs every 512-byte sector of a file keeps its old content or takes the new, each by a throw of the dice, the
length likewise, and every name of the directory is the old or the new one. A sync that fails persists some sectors
and marks the others clean: they can still be read, and a later sync that succeeds does not write them (what Linux did
and may do; PostgreSQL's "fsyncgate", 2018). Each operation that matters is counted, so that a power cut or a fault
can be put at any.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

SECTOR = 512


class PowerCut(BaseException):
    """The machine is off; no handler of errors runs."""


class Inode:
    """``seen`` is what a running system reads, ``kept`` what is on the medium; ``dirty`` sectors may differ."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.kept = bytearray()
        self.dirty: set[int] = set()

    def persist(self, sector: int) -> None:
        start = sector * SECTOR
        part = self.seen[start : start + SECTOR]
        if len(self.kept) < start + len(part):
            self.kept.extend(bytes(start + len(part) - len(self.kept)))
        self.kept[start : start + len(part)] = part

    def cut(self, rng: random.Random) -> None:
        """What is left of it after the power was cut."""
        for sector in self.dirty:
            if rng.random() < 0.5:
                self.persist(sector)
        if len(self.kept) != len(self.seen) and rng.random() < 0.5:
            size = rng.choice([len(self.seen), rng.randint(*sorted((len(self.seen), len(self.kept))))])
            del self.kept[size:]
            self.kept.extend(bytes(size - len(self.kept)))
        self.seen, self.dirty = bytearray(self.kept), set()


class SimDisk:
    """``before`` is called ahead of each operation with its name; it may raise PowerCut or OSError."""

    def __init__(self, rng: random.Random, capacity: int | None = None) -> None:
        self.name = "simulated"
        self.capacity = capacity
        self.locked = False
        self.before: Callable[[str], None] = lambda operation: None
        self.operations = 0
        self._rng = rng
        self._seen: dict[str, Inode] = {}
        self._kept: dict[str, Inode] = {}

    def lock(self) -> None:
        if self.locked:
            raise BlockingIOError(errno.EAGAIN, "locked")
        self.locked = True

    def close(self) -> None:
        self.locked = False

    def names(self) -> list[str]:
        return sorted(self._seen)

    def create(self, name: str) -> SimFile:
        self.operation("create")
        if name in self._seen:
            raise FileExistsError(errno.EEXIST, "exists", name)
        self._seen[name] = Inode()
        return SimFile(self, self._seen[name])

    def open(self, name: str) -> SimFile:
        if name not in self._seen:
            raise FileNotFoundError(errno.ENOENT, "missing", name)
        return SimFile(self, self._seen[name])

    def rename(self, old: str, new: str) -> None:
        self.operation("rename")
        self._seen[new] = self._seen.pop(old)

    def unlink(self, name: str) -> None:
        if name not in self._seen:
            raise FileNotFoundError(errno.ENOENT, "missing", name)
        self.operation("unlink")
        del self._seen[name]

    def sync_directory(self) -> None:
        self.operation("sync_directory")
        self._kept = dict(self._seen)

    # ---- for tests

    def operation(self, name: str) -> None:
        self.operations += 1
        self.before(name)

    @property
    def used(self) -> int:
        return sum(len(inode.seen) for inode in self._seen.values())

    def grow(self, by: int) -> None:
        if self.capacity is not None and self.used + by > self.capacity:
            raise OSError(errno.ENOSPC, "No space left on device")

    def content(self, name: str) -> bytearray:
        """The bytes of a file, to be damaged in place (both seen and kept)."""
        inode = self._seen[name]
        inode.kept = inode.seen
        return inode.seen

    def add(self, name: str, data: bytes) -> None:
        inode = self._seen[name] = self._kept[name] = Inode()
        inode.seen = inode.kept = bytearray(data)

    def cut(self) -> None:
        """Cut the power and switch it on again: only what the medium has is there."""
        left: dict[str, Inode] = {}
        for name in sorted(self._seen.keys() | self._kept.keys()):
            seen, kept = self._seen.get(name), self._kept.get(name)
            inode = self._rng.choice([seen, kept])
            if inode is not None:
                left[name] = inode
        for inode in {id(i): i for i in left.values()}.values():
            inode.cut(self._rng)
        self._seen, self._kept = left, dict(left)
        self.locked = False


class SimFile:
    """An open file of a :class:`SimDisk`."""

    def __init__(self, disk: SimDisk, inode: Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._poisoned = False

    def write_at(self, offset: int, data: bytes) -> None:
        assert not self._poisoned, "written again after a failed sync"
        inode = self._inode
        end = offset + len(data)
        self._disk.grow(max(0, end - len(inode.seen)))
        self._change(offset, data)
        self._disk.operation("write")

    def _change(self, offset: int, data: bytes) -> None:
        inode = self._inode
        if offset + len(data) > len(inode.seen):
            inode.seen.extend(bytes(offset + len(data) - len(inode.seen)))
        inode.seen[offset : offset + len(data)] = data
        inode.dirty.update(range(offset // SECTOR, (offset + len(data) + SECTOR - 1) // SECTOR))

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self._inode.seen[offset : offset + length])

    def sync(self) -> None:
        assert not self._poisoned, "synced again after a failed sync"
        inode = self._inode
        try:
            self._disk.operation("sync")
        except OSError:
            self._poisoned = True
            for sector in inode.dirty:
                if self._disk._rng.random() < 0.5:
                    inode.persist(sector)
            inode.dirty = set()
            raise
        for sector in inode.dirty:
            inode.persist(sector)
        if len(inode.kept) != len(inode.seen):
            del inode.kept[len(inode.seen) :]
            inode.kept.extend(bytes(len(inode.seen) - len(inode.kept)))
        inode.dirty = set()

    def allocate(self, size: int) -> None:
        self._disk.operation("allocate")
        self._disk.grow(max(0, size - len(self._inode.seen)))
        self._inode.seen.extend(bytes(max(0, size - len(self._inode.seen))))

    def truncate(self, size: int) -> None:
        self._disk.operation("truncate")
        del self._inode.seen[size:]

    def size(self) -> int:
        return len(self._inode.seen)

    def close(self) -> None:
        pass
