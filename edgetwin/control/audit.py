"""The audit: what was decided and done, each entry in the journal and on the disk before what it tells of happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from edgetwin.errors import JournalError
from edgetwin.journal.group import Group
from edgetwin.journal.journal import Journal
from edgetwin.journal.layout import Kind
from edgetwin.journal.reading import StoredRecord
from edgetwin.records import Scalar

RECENT_MAX = 1_000

_KINDS = {"intent": Kind.INTENT, "result": Kind.RESULT}
"""Kinds of entries that have one of their own in the journal."""

KINDS = (Kind.AUDIT, *_KINDS.values())


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its number, time in ns, kind and data."""

    n: int
    t_ns: int
    kind: str
    data: dict[str, Scalar]


class Durable(Protocol):
    """What makes entries durable: a :class:`edgetwin.journal.writer.JournalWriter`."""

    journal: Journal

    async def commit(self, group: Group) -> None:
        """Return when ``group`` is durable. JournalError when it is not."""


class Audit:
    """Entries in memory: the last RECENT_MAX. Without a journal nothing is durable, and ``durable`` says so; where
    there should be one, ``missing`` says why there is none, and nothing can be audited."""

    def __init__(self, writer: Durable | None, missing: str = "") -> None:
        self.recent: deque[Entry] = deque(maxlen=RECENT_MAX)
        self._writer = writer
        self._missing = missing
        self._next = 0

    @property
    def durable(self) -> bool:
        """Whether entries survive a crash."""
        return self._writer is not None

    def load(self) -> Iterator[Entry]:
        """What earlier runs wrote, oldest first; to be exhausted before the first :meth:`append`."""
        if self._writer is None:
            return
        for entry in map(entry_of, self._writer.journal.history(*KINDS)):
            self._next = max(self._next, entry.n + 1)
            self.recent.append(entry)
            yield entry

    async def append(self, kind: str, t_ns: int, data: Mapping[str, Scalar]) -> None:
        """Write, sync, and only then return. Raises JournalError when that is not possible."""
        if self._missing:
            raise JournalError(self._missing, hint="mend the state_dir and restart")
        entry = Entry(self._next, t_ns, kind, dict(data))
        self._next += 1
        if self._writer is not None:
            group = Group()
            group.history(_KINDS.get(kind, Kind.AUDIT), msgspec.json.encode(entry))
            await self._writer.commit(group)
        self.recent.append(entry)


def entry_of(record: StoredRecord) -> Entry:
    """The entry in a record of the journal, of one of KINDS."""
    return msgspec.json.decode(record.payload, type=Entry)
