"""Both stores of frames, for tests that run on either."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Protocol

import pytest

from edgetwin.clock import Clock, ManualClock
from edgetwin.codec.encoder import Encoder
from edgetwin.codec.frames import PlainEncoder
from edgetwin.errors import JournalError
from edgetwin.journal import Group, Journal, Limits
from edgetwin.journal.disk import Disk
from edgetwin.records import Event, Report, SignalSummary
from edgetwin.uplink.journaled import JournalOutbox
from edgetwin.uplink.outbox import Outbox
from edgetwin.uplink.queued import Queued
from tests.codec.build import T0
from tests.journal.simdisk import SimDisk

PLENTY = 1 << 26
ROOMY = Limits(bytes_max=1 << 28, segment_bytes=1 << 20, reserve_bytes=0)


class Committed(JournalOutbox):
    """What is put is durable when :meth:`put` returns, unless the disk refuses: then with the next frames."""

    def put(
        self, reports: Sequence[Report], events: Sequence[Event] = (), signals: Sequence[SignalSummary] = ()
    ) -> int:
        made = super().put(reports, events, signals)
        self.commit()
        return made

    def commit(self) -> bool:
        """Whether the disk has taken it."""
        group = Group()
        staged = self.stage(group)
        try:
            self._journal.commit(group)
        except JournalError:
            self.undurable(staged)
            return False
        self.durable(staged)
        return True


class Make(Protocol):
    """Makes an empty store of epoch 7 that holds whatever is put."""

    def __call__(self, *, epoch: int = 7, encoder: Encoder | None = None) -> Outbox | Committed: ...


def in_memory(*, epoch: int = 7, encoder: Encoder | None = None) -> Outbox:
    return Outbox("g", PLENTY, epoch=epoch, encoder=encoder)


def in_journal(*, epoch: int = 7, encoder: Encoder | None = None) -> Committed:
    return opened(SimDisk(random.Random(0)), epoch=epoch, encoder=encoder)


def opened(
    disk: Disk,
    limits: Limits = ROOMY,
    clock: Clock | None = None,
    *,
    epoch: int | None = None,
    encoder: Encoder | None = None,
    staged_bytes_max: int = PLENTY,
) -> Committed:
    """A store over the journal of a disk."""
    clock = clock or ManualClock(T0)
    journal, _ = Journal.open(disk, limits, clock, epoch=epoch)
    return Committed("g", journal, encoder or PlainEncoder("g"), clock, staged_bytes_max=staged_bytes_max)


def after_a_crash(outbox: Committed) -> Committed:
    """A new store, of another epoch, that has what outlives the end of the process after the last checkpoint."""
    outbox.commit()
    outbox._journal.close()
    return opened(outbox._journal._disk)


EITHER = pytest.mark.parametrize("make", [in_memory, in_journal])


def waiting(outbox: Outbox | JournalOutbox) -> Iterator[Queued]:
    """Every frame that waits, in order."""
    position = outbox.front
    while (queued := outbox.read(position)) is not None:
        yield queued
        position = queued.position + 1
