"""What becomes durable together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgetwin.journal.gaps import Gap
from edgetwin.journal.layout import (
    CLASS_OF,
    GROUP_RECORDS_MAX,
    HEADER_BYTES,
    OWN,
    PAYLOAD_BYTES_MAX,
    Class,
    Kind,
    padded,
)


class Item(NamedTuple):
    """A record to be: ``sequence`` and ``values`` are those of a frame, 0 otherwise."""

    kind: Kind
    cls: Class
    sequence: int
    values: int
    payload: bytes


class Group:
    """Records that count all or none. Made anew for each commit, or committed again when that failed."""

    __slots__ = ("bytes", "carried", "gaps", "items")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.gaps: list[Gap] = []
        self.carried: dict[int, tuple[Gap, ...]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.items)

    def frame(
        self, sequence: int, payload: bytes, *, cls: Class = Class.DATA, values: int = 0, gaps: Sequence[Gap] = ()
    ) -> None:
        """A frame for the cloud. ``sequence``: from :meth:`Journal.take_frame_number`, rising. ``values``: how many
        are in it, for the account of what is evicted. ``gaps``: pending ones that it tells the cloud of."""
        assert cls < Class.STATE, "a frame can be evicted"
        self._append(Item(Kind.FRAME, cls, sequence, values, payload))
        if gaps:
            self.carried[sequence] = tuple(gaps)

    def base(self, chunks: Sequence[bytes], positions: bytes) -> None:
        """The whole state, in place of all before it, and how far the sources had come for it."""
        assert chunks and not any(i.kind in (Kind.STATE_BASE, Kind.STATE_DELTA, Kind.POSITIONS) for i in self.items)
        for chunk in chunks:
            self._append(Item(Kind.STATE_BASE, Class.STATE, 0, 0, chunk))
        self.positions(positions)

    def delta(self, payload: bytes) -> None:
        """What changed in the state since the record before."""
        self._append(Item(Kind.STATE_DELTA, Class.STATE, 0, 0, payload))

    def positions(self, payload: bytes) -> None:
        """How far the sources had come, all of them, for the state as of here: after the deltas of the group."""
        self._append(Item(Kind.POSITIONS, Class.STATE, 0, 0, payload))

    def history(self, kind: Kind, payload: bytes, *, cls: Class | None = None) -> None:
        """An EVENT, AUDIT, INTENT or RESULT, kept for its age."""
        assert kind in CLASS_OF and kind != Kind.FRAME, f"{kind.name} is no history"
        self._append(Item(kind, CLASS_OF[kind] if cls is None else cls, 0, 0, payload))

    def gap(self, gap: Gap) -> None:
        """Something that will never reach the cloud, such as frames that could not be kept."""
        self.gaps.append(gap)

    def _append(self, item: Item) -> None:
        assert item.kind not in OWN
        if len(item.payload) > PAYLOAD_BYTES_MAX or len(self.items) >= GROUP_RECORDS_MAX:
            raise ValueError(f"a record has at most {PAYLOAD_BYTES_MAX} bytes, a group {GROUP_RECORDS_MAX} records")
        self.items.append(item)
        self.bytes += padded(HEADER_BYTES + len(item.payload))
