"""Groups as the bytes that go to the disk in one write."""

from __future__ import annotations

from collections.abc import Iterable

from google_crc32c import value as crc32c

from edgetwin.errors import JournalError
from edgetwin.journal.group import Item
from edgetwin.journal.layout import ALIGN, Class, Header, Kind, encode_header
from edgetwin.journal.state import LAST_OF_BASE, StateChain


class Encoder:
    """Numbers records from ``number`` on and joins them. ``times``: wall clock and running time of the journal, ns."""

    def __init__(self, epoch: int, number: int, times: tuple[int, int], chain: StateChain) -> None:
        self.number = number
        self.headers: list[Header] = []
        self.size = 0
        self._first = number
        self._base_begun = False
        self._epoch = epoch
        self._times = times
        self._parts: list[bytes] = []
        current = chain.current
        self._frozen = chain.frozen
        self._generation = current.id if current is not None else 0
        self._index = len(current.refs) if current is not None else 0

    def joined(self) -> bytes:
        """Everything so far."""
        return b"".join(self._parts)

    def group(self, items: Iterable[Item]) -> None:
        """Records of one group. JournalError when state follows on none."""
        items = list(items)
        self._base_begun = False
        last_base = max((at for at, item in enumerate(items) if item.kind == Kind.STATE_BASE), default=-1)
        for at, item in enumerate(items):
            self._item(item, last_of_base=at == last_base)

    def commit(self) -> None:
        """Everything so far counts all or none: the COMMIT that says so."""
        self._put(Kind.COMMIT, Class.STATE, self._first, 0, b"")

    def _item(self, item: Item, *, last_of_base: bool) -> None:
        sequence, values = item.sequence, item.values
        if item.kind == Kind.STATE_BASE:
            if not self._base_begun:
                self._generation, self._index, self._base_begun = self.number, 0, True
            sequence, values = self._generation, self._index | (LAST_OF_BASE if last_of_base else 0)
            self._index += 1
            self._frozen = False
        elif item.kind in (Kind.STATE_DELTA, Kind.POSITIONS):
            if self._frozen or (item.kind == Kind.STATE_DELTA and self._generation == 0):
                raise JournalError("a change of the state follows on no whole state", hint="write a base first")
            sequence, values = self._generation, self._index
            self._index += item.kind == Kind.STATE_DELTA
        self._put(item.kind, item.cls, sequence, values, item.payload)

    def _put(self, kind: Kind, cls: Class, sequence: int, values: int, payload: bytes) -> None:
        wall_ns, run_ns = self._times
        header = Header(
            len(payload), crc32c(payload), self._epoch, self.number, sequence, wall_ns, run_ns, kind, cls, values
        )
        self._parts += (encode_header(header), payload, bytes(-len(payload) % ALIGN))
        self.headers.append(header)
        self.size += header.size
        self.number += 1


def own(kind: Kind, payload: bytes, sequence: int = 0) -> Item:
    """A record of the journal itself."""
    return Item(kind, Class.STATE, sequence, 0, payload)
