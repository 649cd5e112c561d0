"""The chain of state records: a base and what changed since, with the positions of the sources that belong to it.

Two generations are kept, so that damage to the newest base leaves the one before with all that followed. Each record
says which generation it belongs to and how many went before it there, so a missing one cannot go unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgetwin.journal.layout import Header, Kind

LAST_OF_BASE = 1 << 31
"""Flag in ``values`` of the last record of a base; the other bits are the record's index in its generation."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a record is: its segment, and its number in the segment's epoch."""

    segment: int
    number: int
    size: int


@dataclass(slots=True)
class Generation:
    """``refs``: the base's records, ``base_records`` of them once it is whole, then the changes. ``id``: the number of
    its first record, with its epoch."""

    id: int
    refs: list[Ref] = field(default_factory=list)
    base_records: int = 0
    base_bytes: int = 0
    bytes: int = 0
    positions: Ref | None = None


class StateChain:
    """Takes records in the order of the log. ``ignored`` counts those that continue something that is lost."""

    def __init__(self) -> None:
        self.previous: Generation | None = None
        self.current: Generation | None = None
        self.frozen = False
        self.ignored = 0
        self._coming: Generation | None = None
        self._loose_positions: Ref | None = None

    @property
    def positions(self) -> Ref | None:
        """The record of the sources' positions that goes with the state."""
        return self._loose_positions if self.current is None else self.current.positions

    def offer(self, header: Header, segment: int) -> None:
        """A confirmed record of the state or of positions; other kinds are passed over."""
        ref = Ref(segment, header.number, header.size)
        index = header.values & ~LAST_OF_BASE
        if header.kind == Kind.STATE_BASE:
            self._offer_base(header, index, ref)
        elif header.kind == Kind.STATE_DELTA:
            self._offer_delta(header, index, ref)
        elif header.kind == Kind.POSITIONS:
            self._offer_positions(header, index, ref)

    def _offer_base(self, header: Header, index: int, ref: Ref) -> None:
        if index == 0:
            self._coming = Generation(header.sequence)
        coming = self._coming
        if coming is None or coming.id != header.sequence or index != len(coming.refs):
            self._coming = None
            self._refuse()
            return
        coming.refs.append(ref)
        coming.bytes += ref.size
        if header.values & LAST_OF_BASE:
            coming.base_records, coming.base_bytes = len(coming.refs), coming.bytes
            self.previous, self.current = self.current or self.previous, coming
            self._coming, self.frozen = None, False

    def _offer_delta(self, header: Header, index: int, ref: Ref) -> None:
        current = self.current
        if self.frozen or current is None or current.id != header.sequence or index != len(current.refs):
            self._refuse()
            return
        current.refs.append(ref)
        current.bytes += ref.size

    def _offer_positions(self, header: Header, index: int, ref: Ref) -> None:
        current = self.current
        if current is None and header.sequence == 0 and not self.frozen:
            self._loose_positions = ref
        elif self.frozen or current is None or current.id != header.sequence or index != len(current.refs):
            self._refuse()
        else:
            current.positions = ref

    def _refuse(self) -> None:
        self.ignored += 1
        self.frozen = True

    @property
    def base_due(self) -> bool:
        """Whether a new base is worth its bytes: there is none, or the changes since have grown larger than it."""
        current = self.current
        return self.frozen or current is None or current.bytes - current.base_bytes > current.base_bytes

    def live(self) -> dict[int, dict[int, int]]:
        """Per segment, the numbers of records that must stay, with their sizes."""
        live: dict[int, dict[int, int]] = {}
        generations = [g for g in (self.previous, self.current, self._coming) if g is not None]
        refs = [ref for g in generations for ref in (*g.refs, g.positions) if ref is not None]
        for ref in (*refs, self._loose_positions if self.current is None else None):
            if ref is not None:
                live.setdefault(ref.segment, {})[ref.number] = ref.size
        return live
