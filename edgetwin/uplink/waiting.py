"""Which frames wait."""

from __future__ import annotations

from edgetwin.ranges import Ranges


class Waiting:
    """Positions as ranges, so that memory does not grow with their number. ``bytes`` is exact until frames leave: each
    then counts as much as the average."""

    def __init__(self) -> None:
        self.bytes = 0.0
        self._count = 0
        self._ranges = Ranges()

    def __len__(self) -> int:
        return self._count

    def __contains__(self, position: int) -> bool:
        return position in self._ranges

    def add(self, first: int, stop: int) -> None:
        """Positions ``first`` to ``stop - 1``, all new."""
        self._ranges.add(first, stop)
        self._count += stop - first

    def remove(self, first: int, stop: int) -> int:
        """Take those out; returns how many there were."""
        removed = sum(high - low for low, high in self._ranges.common(first, stop))
        if removed:
            self._ranges.discard(first, stop)
            self.bytes -= self.bytes * removed / self._count
            self._count -= removed
        return removed

    def first(self, first: int, stop: int | None = None) -> int | None:
        """The first one of ``first`` to ``stop - 1``, or of all from ``first`` on."""
        found = self._ranges.first(first)
        return None if found is None or (stop is not None and found >= stop) else found
