"""Groups from tasks to the disk: in order, together, each told of its outcome."""

from __future__ import annotations

import asyncio
import errno
import random
import threading

import pytest

from edgetwin.errors import JournalWriteError
from edgetwin.journal import Group, Journal, JournalWriter
from tests.journal.build import opened, payload_of, read
from tests.journal.simdisk import SimDisk


def group_of(journal: Journal) -> Group:
    group = Group()
    number = journal.take_frame_number()
    group.frame(number, payload_of(number))
    return group


async def test_what_gathers_during_a_sync_goes_in_the_next_one_together() -> None:
    disk = SimDisk(random.Random(0))
    journal, _ = opened(disk)
    entered, release = threading.Event(), threading.Event()

    def hold(operation: str) -> None:
        if operation == "sync" and not entered.is_set():
            entered.set()
            release.wait(10)

    disk.before = hold
    writer = JournalWriter(journal)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(writer.run())
        first = tasks.create_task(writer.commit(group_of(journal)))
        await asyncio.to_thread(entered.wait, 10)
        rest = [tasks.create_task(writer.commit(group_of(journal))) for _ in range(20)]
        await asyncio.sleep(0)
        assert not first.done() and read(journal) == []
        release.set()
        await asyncio.gather(first, *rest)
        assert [sequence for _, sequence in read(journal)] == list(range(21))
        assert journal.stats().commits == 2
        running.cancel()


async def test_a_failure_is_told_to_the_groups_it_concerns_and_the_writer_goes_on() -> None:
    disk = SimDisk(random.Random(0))
    journal, _ = opened(disk)
    failing = True

    def refuse(operation: str) -> None:
        if failing and operation == "sync":
            raise OSError(errno.EIO, "Input/output error")

    disk.before = refuse
    writer = JournalWriter(journal)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(writer.run())
        group = group_of(journal)
        with pytest.raises(JournalWriteError):
            await writer.commit(group)
        failing = False
        await writer.commit(group)
        assert len(read(journal)) == 1
        running.cancel()


async def test_a_stop_writes_what_was_submitted() -> None:
    journal, _ = opened(SimDisk(random.Random(0)))
    writer = JournalWriter(journal)
    running = asyncio.ensure_future(writer.run())
    await asyncio.sleep(0)
    commits = [asyncio.ensure_future(writer.commit(group_of(journal))) for _ in range(3)]
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.gather(*commits)
    assert len(read(journal)) == 3


async def test_callers_wait_while_too_many_bytes_do() -> None:
    journal, _ = opened(SimDisk(random.Random(0)))
    writer = JournalWriter(journal, bytes_max=400)
    commits = [asyncio.ensure_future(writer.commit(group_of(journal))) for _ in range(5)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert writer._bytes <= 400 and len(writer._submitted) == 2
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(writer.run())
        await asyncio.gather(*commits)
        running.cancel()
    assert [sequence for _, sequence in read(journal)] == list(range(5))


async def test_a_cancelled_caller_does_not_disturb_the_others() -> None:
    journal, _ = opened(SimDisk(random.Random(0)))
    writer = JournalWriter(journal)
    commits = [asyncio.ensure_future(writer.commit(group_of(journal))) for _ in range(3)]
    await asyncio.sleep(0)
    commits[1].cancel()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(writer.run())
        await asyncio.gather(commits[0], commits[2])
        running.cancel()
    assert len(read(journal)) == 3
