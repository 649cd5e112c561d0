"""Frames of a journal by position: new ones from memory, older ones from the disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from edgetwin.journal import Journal, StoredFrame
from edgetwin.uplink.positions import Positions
from edgetwin.uplink.queued import Queued, chain

RECENT_BYTES = 1_048_576
CURSORS = 2
SKIP_FRAMES = 1_024
"""A cursor passes over so many frames before a new one is worth the reading of a segment."""


class Cursors:
    """Positions are mostly asked for in ascending order, in a lane or two, so a segment is read about once for each
    lane. At most :data:`RECENT_BYTES` of frames and two segments are in memory."""

    def __init__(self, journal: Journal, positions: Positions) -> None:
        self._journal = journal
        self._positions = positions
        self._recent: OrderedDict[int, Queued] = OrderedDict()
        self._recent_bytes = 0
        self._cursors: list[_Cursor] = []  # the one used last is the last

    def keep(self, queued: Queued) -> None:
        """A frame that has just become durable."""
        self._recent[queued.position] = queued
        self._recent_bytes += queued.size
        while self._recent_bytes > RECENT_BYTES:
            self._forget()

    def forget(self, before: int) -> None:
        """Frames before this position are not asked for any more."""
        while self._recent and next(iter(self._recent)) < before:
            self._forget()

    def read(self, position: int) -> Queued | None:
        """The frame there; when it is gone, the next one that the journal has, or None."""
        if (queued := self._recent.get(position)) is not None:
            return queued
        near = [c for c in self._cursors if c.at <= position <= c.at + SKIP_FRAMES]
        if near:
            cursor = max(near, key=lambda c: c.at)
            self._cursors.remove(cursor)
            if (found := cursor.seek(position)) is not None:
                self._cursors.append(cursor)
                return found
        cursor = _Cursor(self._journal, self._positions, position)
        self._cursors = [*self._cursors[1 - CURSORS :], cursor]
        return cursor.seek(position)

    def _forget(self) -> None:
        _, queued = self._recent.popitem(last=False)
        self._recent_bytes -= queued.size


class _Cursor:
    """Reads on from a position. ``at`` is that of the frame read last."""

    def __init__(self, journal: Journal, positions: Positions, position: int) -> None:
        key = positions.key_at(position)
        assert key is not None, "a position that was given out"
        self.at = position - 1
        self._frames: Iterator[StoredFrame] = journal.frames(after=(key[0], key[1] - 1))
        self._positions = positions
        self._current: Queued | None = None

    def seek(self, position: int) -> Queued | None:
        """The first frame at or after ``position``, which is not before the one read last; None at the end."""
        while self.at < position:
            stored = next(self._frames, None)
            if stored is None:
                return None
            at = self._positions.locate(stored.key)
            if at is not None and at >= position:
                self.at, self._current = at, queued_of(stored, at)
        return self._current


def queued_of(stored: StoredFrame, position: int) -> Queued:
    """A frame as it was before it went to the disk, save for its gap records, which the journal keeps account of."""
    continued = chain(stored.payload)
    run = None if continued is None else continued[0]
    return Queued(stored.key, stored.payload, stored.values, run=run, position=position)
