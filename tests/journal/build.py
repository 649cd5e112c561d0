"""Journals to take apart."""

from __future__ import annotations

from edgetwin.clock import ManualClock
from edgetwin.journal import Class, Group, Journal, Kind, Limits, Recovered
from edgetwin.journal.gaps import FrameKey
from tests.journal.simdisk import SimDisk

SMALL = Limits(bytes_max=512 * 1024, segment_bytes=4096, reserve_bytes=8192)


def opened(disk: SimDisk, limits: Limits = SMALL, clock: ManualClock | None = None) -> tuple[Journal, Recovered]:
    return Journal.open(disk, limits, clock or ManualClock(10**18))


def payload_of(sequence: int, size: int = 100) -> bytes:
    return f"frame {sequence} ".encode().ljust(size, b".")


def fill(
    journal: Journal, groups: int, *, frames: int = 2, size: int = 100, cls: Class = Class.DATA, audits: bool = True
) -> list[FrameKey]:
    """Groups of frames with state, positions and history beside them."""
    keys = []
    for k in range(groups):
        group = Group()
        if journal.base_due:
            group.base([b"base" * 20, b"more" * 5], b"positions 0")
        group.delta(b"delta")
        group.positions(b"positions %d" % k)
        for _ in range(frames):
            number = journal.take_frame_number()
            group.frame(number, payload_of(number, size), cls=cls, values=3)
            keys.append((journal.epoch, number))
        if audits and k % 5 == 0:
            group.history(Kind.AUDIT, b"audit %d" % k)
        journal.commit(group)
    return keys


def filled(disk: SimDisk, groups: int, **how: int) -> list[FrameKey]:
    """A journal that was written and closed."""
    journal, _ = opened(disk)
    keys = fill(journal, groups, **how)  # type: ignore[arg-type]
    journal.close()
    return keys


def read(journal: Journal) -> list[FrameKey]:
    """The frames' keys, their payloads checked."""
    keys = []
    for frame in journal.frames():
        assert frame.payload.rstrip(b".") == f"frame {frame.sequence} ".encode()
        keys.append(frame.key)
    return keys


def told(journal: Journal) -> set[FrameKey]:
    """The frames that gaps say are gone, ends of epochs aside."""
    gaps = [g for g in journal._index.gaps if g.kind == Kind.FRAME and g.reason != "epoch_ended"]
    keys = [(gap.epoch, sequence) for gap in gaps for sequence in range(gap.first, gap.last + 1)]
    assert len(keys) == len(set(keys)) == sum(gap.records for gap in gaps)
    return set(keys)


def copy(disk: SimDisk) -> dict[str, bytes]:
    return {name: bytes(disk.content(name)) for name in disk.names() if name.endswith(".seg")}


def restored(files: dict[str, bytes], disk: SimDisk) -> SimDisk:
    for name, data in files.items():
        disk.add(name, data)
    return disk
