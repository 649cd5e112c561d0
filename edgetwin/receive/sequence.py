"""Which frames have come: of each (gateway, epoch) the received sequence numbers, as ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

RANGES_MAX = 256
EPOCHS_MAX = 65_536

Range = tuple[int, int]
EpochRanges = tuple[str, int, list[Range]]
"""(gateway, epoch, ranges received)"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the arrival of a number tells.

    ``new`` is False for a duplicate. ``missing`` are numbers skipped for the first time (inclusive), None if none;
    ``filled`` says that the number had been missing.
    """

    new: bool
    missing: Range | None = None
    filled: bool = False


_DUPLICATE = Arrival(False)


class Received:
    """Received numbers as disjoint, ascending, inclusive ranges, with a hole between any two.

    At most ``ranges_max``: past that the lowest hole is given up, and a number that comes to it later counts as a
    duplicate.
    """

    def __init__(self, ranges: Iterable[Range] = (), ranges_max: int = RANGES_MAX) -> None:
        self._ranges = sorted(ranges)
        self._ranges_max = ranges_max

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The ranges."""
        return tuple(self._ranges)

    def has(self, seq: int) -> bool:
        """Whether ``seq`` has come."""
        at = bisect_right(self._ranges, (seq, 2**64))
        return at > 0 and self._ranges[at - 1][1] >= seq

    def add(self, seq: int) -> Arrival:
        """Note that ``seq`` has come."""
        at = bisect_right(self._ranges, (seq, 2**64))
        if at and self._ranges[at - 1][1] >= seq:
            return _DUPLICATE
        top = self._ranges[-1][1] if self._ranges else -1
        missing = (top + 1, seq - 1) if seq > top + 1 else None
        self._insert(at, seq)
        return Arrival(True, missing, filled=seq < top)

    def _insert(self, at: int, seq: int) -> None:
        first, last = seq, seq
        if at < len(self._ranges) and self._ranges[at][0] == seq + 1:
            last = self._ranges.pop(at)[1]
        if at and self._ranges[at - 1][1] == seq - 1:
            at -= 1
            first = self._ranges.pop(at)[0]
        self._ranges.insert(at, (first, last))
        if len(self._ranges) > self._ranges_max:
            self._ranges[:2] = [(self._ranges[0][0], self._ranges[1][1])]

    def missing(self, first: int, last: int) -> list[Range]:
        """The parts of ``first..last`` that have not come."""
        holes: list[Range] = []
        for low, high in self._ranges:
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


class Tracker:
    """Received numbers of at most ``epochs_max`` (gateway, epoch) pairs; the one heard longest ago goes first."""

    def __init__(self, epochs_max: int = EPOCHS_MAX) -> None:
        self._epochs: OrderedDict[tuple[str, int], Received] = OrderedDict()
        self._epochs_max = epochs_max

    def of(self, gateway: str, epoch: int) -> Received:
        """What has come of an epoch; made when it is new."""
        key = gateway, epoch
        received = self._epochs.setdefault(key, Received())
        self._epochs.move_to_end(key)
        if len(self._epochs) > self._epochs_max:
            self._epochs.popitem(last=False)
        return received

    def peek(self, gateway: str, epoch: int) -> Received:
        """The same without making or refreshing anything."""
        return self._epochs.get((gateway, epoch), Received())

    def snapshot(self) -> list[EpochRanges]:
        """The ranges of each epoch, the one heard longest ago first."""
        return [(gateway, epoch, list(r.ranges)) for (gateway, epoch), r in self._epochs.items()]

    def restore(self, rows: Iterable[EpochRanges]) -> None:
        """The reverse of :meth:`snapshot`."""
        for gateway, epoch, ranges in rows:
            self._epochs[gateway, epoch] = Received(ranges)
