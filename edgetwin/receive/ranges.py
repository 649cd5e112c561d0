"""Sets of sequence numbers as disjoint, ascending, inclusive ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Range = tuple[int, int]

_BEYOND = 2**64
"""Greater than every sequence number."""


class Ranges:
    """A set of integers 0 … 2⁶⁴−1, held as ranges with a hole between any two."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._ranges = sorted((int(first), int(last)) for first, last in ranges)

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._ranges)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._ranges, (number, _BEYOND))
        return at > 0 and self._ranges[at - 1][1] >= number

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The ranges, lowest first."""
        return tuple(self._ranges)

    @property
    def top(self) -> int:
        """The greatest member; -1 when there is none."""
        return self._ranges[-1][1] if self._ranges else -1

    def count(self) -> int:
        """How many members there are."""
        return sum(last - first + 1 for first, last in self._ranges)

    def add(self, first: int, last: int) -> None:
        """Add ``first..last``."""
        low = bisect_right(self._ranges, (first, -1))
        if low and self._ranges[low - 1][1] >= first - 1:
            low -= 1
        high = low
        while high < len(self._ranges) and self._ranges[high][0] <= last + 1:
            first, last = min(first, self._ranges[high][0]), max(last, self._ranges[high][1])
            high += 1
        self._ranges[low:high] = [(first, last)]

    def remove(self, first: int, last: int) -> None:
        """Take ``first..last`` out."""
        low = bisect_right(self._ranges, (first, -1))
        if low and self._ranges[low - 1][1] >= first:
            low -= 1
        high, kept = low, []
        while high < len(self._ranges) and self._ranges[high][0] <= last:
            a, b = self._ranges[high]
            kept += [(a, first - 1)] if a < first else []
            kept += [(last + 1, b)] if b > last else []
            high += 1
        self._ranges[low:high] = kept

    def missing(self, first: int, last: int) -> list[Range]:
        """The parts of ``first..last`` that are not members."""
        holes: list[Range] = []
        at = max(bisect_right(self._ranges, (first, -1)) - 1, 0)
        for low, high in self._ranges[at:]:
            if high < first:
                continue
            if low > last:
                break
            if low > first:
                holes.append((first, low - 1))
            first = high + 1
        if first <= last:
            holes.append((first, last))
        return holes

    def lowest_hole(self) -> Range:
        """The hole between the two lowest ranges; there must be two."""
        return self._ranges[0][1] + 1, self._ranges[1][0] - 1
