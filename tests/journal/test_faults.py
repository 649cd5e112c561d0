"""A disk that fails or is full: what was confirmed stays, what was not is never claimed, and it recovers."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edgetwin.clock import SystemClock
from edgetwin.errors import JournalFullError, JournalWriteError
from edgetwin.journal import Group, Journal, Limits, RealDisk
from tests.journal.build import fill, opened, payload_of, read, told
from tests.journal.simdisk import SimDisk


def failing(operation: str, times: int = 1, code: int = errno.EIO) -> Callable[[str], None]:
    left = [times]

    def before(name: str) -> None:
        if name == operation and left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))

    return before


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_a_failed_write_goes_into_a_new_segment_and_never_to_the_old_one(operation: str) -> None:
    disk = SimDisk(random.Random(0))  # which asserts that a file is not touched after its sync failed
    journal, _ = opened(disk)
    keys = fill(journal, 5)
    disk.before = failing(operation)
    keys += fill(journal, 1)
    assert journal.stats().write_failures == 1 and journal.stats().segments == 2
    keys += fill(journal, 30)
    assert read(journal) == keys
    disk.cut()
    journal, found = opened(disk)
    assert read(journal) == keys and found.counts.lost == 0 and not told(journal)


def test_a_disk_that_keeps_failing_confirms_nothing_and_the_group_may_come_again() -> None:
    disk = SimDisk(random.Random(0))
    journal, _ = opened(disk)
    keys = fill(journal, 5)
    group = Group()
    group.frame(journal.take_frame_number(), payload_of(10))
    disk.before = failing("sync", times=100)
    for _ in range(3):
        with pytest.raises(JournalWriteError, match="Input/output"):
            journal.commit(group)
        assert read(journal) == keys
    disk.before = lambda operation: None
    journal.commit(group)
    keys.append((journal.epoch, 10))
    keys += fill(journal, 20)
    assert read(journal) == keys
    journal.close()
    journal, found = opened(disk)
    assert read(journal) == keys and found.counts.lost == 0


def test_a_failed_group_that_is_given_up_does_not_come_back() -> None:
    """The sectors of a failed write may be on the disk in part or whole: they do not count."""
    for seed in range(40):
        disk = SimDisk(random.Random(seed))
        journal, _ = opened(disk)
        keys = fill(journal, 3)
        group = Group()
        number = journal.take_frame_number()
        group.frame(number, payload_of(number))
        disk.before = failing("sync", times=2)
        with pytest.raises(JournalWriteError):
            journal.commit(group)
        journal.drop(journal.epoch, number, number, "disk_failed", 3)
        keys += fill(journal, 3)
        disk.cut()
        journal, found = opened(disk)
        assert read(journal) == keys and found.counts.lost == 0
        assert told(journal) == {(keys[0][0], number)}


def test_a_full_disk_refuses_data_takes_marks_and_recovers() -> None:
    disk = SimDisk(random.Random(0))
    limits = Limits(bytes_max=2**20, segment_bytes=4096, reserve_bytes=128 * 1024)
    journal, _ = opened(disk, limits)
    keys = fill(journal, 30, audits=False)
    disk.capacity = disk.used  # others have taken the rest
    with pytest.raises(JournalFullError, match="full"):
        for _ in range(20):
            group = Group()
            group.frame(journal.take_frame_number(), payload_of(journal._next_frame - 1))
            journal.commit(group)
            keys.append((journal.epoch, journal._next_frame - 1))
    lost = journal._next_frame - 1
    assert journal.stats().full and read(journal) == keys
    segments = journal.stats().segments
    journal.drop(journal.epoch, lost, lost, "disk_full")
    journal.acknowledge(journal.epoch, 40)
    journal.maintain()  # out of the reserve
    assert journal.stats().segments < segments and journal.stats().full
    keys = keys[41:]
    keys += fill(journal, 1)  # into the room that this gave
    disk.capacity = None
    keys += fill(journal, 40)
    journal.maintain()
    assert not journal.stats().full and "reserve" in disk.names()
    disk.cut()
    journal, found = opened(disk, limits)
    assert read(journal) == keys and found.counts.lost == 0 and told(journal) == {(keys[0][0], lost)}


def test_an_acknowledgement_makes_room_for_the_group_that_follows_on_a_full_disk() -> None:
    disk = SimDisk(random.Random(0))
    limits = Limits(bytes_max=2**20, segment_bytes=4096, reserve_bytes=128 * 1024)
    journal, _ = opened(disk, limits)
    keys = fill(journal, 40, audits=False)
    journal.acknowledge(journal.epoch, 70)
    disk.capacity = disk.used
    keys += fill(journal, 20, audits=False)
    assert read(journal) == keys[71:]


def test_a_disk_that_is_full_at_the_start(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(0), capacity=0)
    journal, _ = opened(disk)
    assert journal.stats().full
    with pytest.raises(JournalFullError, match="free space"):
        fill(journal, 1)
    disk.capacity = None
    group = Group()
    group.base([b"x"], b"y")
    journal.commit(group)
    assert not journal.stats().full and [p for _, p in journal.state()] == [b"x"]


def test_a_state_larger_than_the_bound_is_refused_and_the_frames_stay() -> None:
    limits = Limits(bytes_max=64 * 1024, segment_bytes=4096, reserve_bytes=0)
    journal, _ = opened(SimDisk(random.Random(0)), limits)
    fill(journal, 3)
    before = read(journal)
    group = Group()
    group.base([bytes(100_000)], b"")
    with pytest.raises(JournalFullError, match="may not be evicted"):
        journal.commit(group)
    assert read(journal) == before and not told(journal)
    fill(journal, 1)


def test_a_real_full_disk(small_disk: Path) -> None:
    limits = Limits(bytes_max=2**26, segment_bytes=2**16, reserve_bytes=2**18)
    journal, _ = Journal.open(RealDisk(small_disk / "journal"), limits, SystemClock())
    keys = fill(journal, 20, size=1000)
    junk = small_disk / "junk"
    with junk.open("wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(bytes(4096))
    junk_size = junk.stat().st_size
    with pytest.raises(JournalFullError):
        while True:
            group = Group()
            number = journal.take_frame_number()
            group.frame(number, payload_of(number, 1000))
            journal.commit(group)
            keys.append((journal.epoch, number))
    journal.drop(journal.epoch, number, number, "disk_full")
    assert read(journal) == keys
    journal.acknowledge(journal.epoch, keys[-3][1])
    journal.maintain()
    assert read(journal) == keys[-2:] and junk_size
    junk.unlink()
    keys = keys[-2:] + fill(journal, 20, size=1000)
    journal.maintain()
    assert not journal.stats().full
    journal.close()
    journal, found = Journal.open(RealDisk(small_disk / "journal"), limits, SystemClock())
    assert read(journal) == keys and found.counts.lost == 0
    journal.close()
