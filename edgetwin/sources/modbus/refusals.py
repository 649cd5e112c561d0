"""What a device's refusals teach about its registers, so that a bad one costs nobody else.

A request that is refused (illegal address, illegal value, device failure) is split in two, at a hole near its middle
where it has one, and both halves are asked at once; so on until the register at fault is alone. It is then left out and
asked alone after a pause that doubles from ten seconds to an hour; to a minute if the device ever gave it, for some
refuse everything while they start. When everything is bad, one stands for all.

When both halves are taken, no register was at fault: the request was too long, or went over something that must not be
read along. A hole at the seam is then never read over again; without a hole, the length is the cause unless one as long
was taken before, and the largest length taken is searched between the longest taken and the shortest refused. What
could have been a passing fault (exceptions 3 and 4) is believed the second time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from edgetwin.clock import NS
from edgetwin.sources.modbus.bindings import Binding, Block
from edgetwin.sources.modbus.plan import BITS_MAX, Known

SPLITTING = (1, 2, 3, 4)
"""Exceptions that are the request's own fault; others (busy, gateway) pass."""

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS = 1, 2
RETRY_FIRST_S, RETRY_MAX_S, RETRY_GIVEN_MAX_S = 10.0, 3600.0, 60.0
_DOUBLINGS_MAX = 10

Span = tuple[int, int]


class BlockSize:
    """The largest block a device takes: ``taken`` the longest that was, ``refused`` the shortest that was too long."""

    __slots__ = ("refused", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.refused = BITS_MAX + 1

    @property
    def count_max(self) -> int:
        """How long requests are to be: the middle of what is not known yet, until it is."""
        if self.refused > BITS_MAX:
            return BITS_MAX
        return max(1, (self.taken + self.refused) // 2)

    def too_long(self, count: int, taken: int) -> None:
        """``count`` was refused where parts of up to ``taken`` were not."""
        self.refused = min(self.refused, count)
        self.taken = min(max(self.taken, taken), self.refused - 1)


@dataclass(slots=True)
class BadRegister:
    """A value that the device does not give (``given``: it once did). ``retry_ns`` (monotonic): when to ask again."""

    binding: Binding
    code: int
    given: bool
    refusals: int = 1
    retry_ns: int = 0

    @property
    def span(self) -> Span:
        """Its extent."""
        return self.binding.start, self.binding.end

    def refused(self, code: int, now_ns: int) -> None:
        """Once more."""
        longest_s = RETRY_GIVEN_MAX_S if self.given else RETRY_MAX_S
        pause_s = min(RETRY_FIRST_S * 2.0 ** min(self.refusals - 1, _DOUBLINGS_MAX), longest_s)
        self.code, self.refusals, self.retry_ns = code, self.refusals + 1, now_ns + round(pause_s * NS)


@dataclass(slots=True)
class _Split:
    """A refused request, split before address ``at``; what became of its parts (None: not known yet)."""

    start: int
    at: int
    end: int
    count: int
    code: int
    hole: bool
    left: int | None = None  # words taken, 0: refused
    right: int | None = None

    def part(self, block: Block) -> str:
        """Which part of it the block is."""
        if block.start == self.start and block.end <= self.at:
            return "left"
        return "right" if block.start == self.at and block.end == self.end else ""


class Refusals:
    """For the values of one table of one unit that are polled at one rate.

    ``size`` is shared by all that ask the same unit for the same kind of table.
    """

    def __init__(self, size: BlockSize) -> None:
        self._size = size
        self._planned_size = size.count_max
        self._bad: dict[Span, BadRegister] = {}
        self._given: set[Span] = set()
        self._cuts: set[int] = set()
        self._splits: dict[Span, _Split] = {}
        self._strikes: Counter[int] = Counter()

    @property
    def bad(self) -> Iterable[BadRegister]:
        """The values left out."""
        return self._bad.values()

    def is_bad(self, binding: Binding) -> bool:
        """Whether the value is left out."""
        return (binding.start, binding.end) in self._bad

    def known(self) -> Known:
        """For the next plan."""
        if self._planned_size != self._size.count_max:
            self._planned_size = self._size.count_max
            self._splits.clear()  # their parts will not be asked as they are
        cuts = set(self._cuts)
        for split in self._splits.values():
            cuts |= {split.start, split.at, split.end}
        return Known(self._planned_size, tuple(self._bad), tuple(cuts))

    def forget_splits(self) -> None:
        """What is asked has changed: what is being searched no longer stands."""
        self._splits.clear()

    # ---- answers; each returns whether the plan has to be made anew

    def taken(self, block: Block, *, first: bool) -> bool:
        """The device gave it, for the ``first`` time."""
        if first:
            self._given.update((b.start, b.end) for b in block.bindings)
        if block.count > self._size.taken:
            self._size.taken = block.count
            self._size.refused = max(self._size.refused, block.count + 1)
        changed = self._bad.pop((block.start, block.end), None) is not None if self._bad else False
        if self._splits:
            changed |= self._note(block, block.count)
        return changed or self._size.count_max != self._planned_size

    def refused(self, block: Block, code: int, now_ns: int) -> bool:
        """The device refused it with an exception of ``SPLITTING``."""
        outer = _outer(block)
        known_bad = self._bad.get((block.start, block.end))
        if known_bad is not None:
            known_bad.refused(code, now_ns)
            return True
        self._note(block, 0)
        if len(outer) == 1 or code == ILLEGAL_FUNCTION:
            self._leave_out(outer if len(outer) == 1 else list(block.bindings), code, now_ns)
        else:
            at, hole = _seam(outer)
            self._splits[block.start, block.end] = _Split(block.start, at, block.end, block.count, code, hole)
        self._close()
        return True

    def _leave_out(self, bindings: list[Binding], code: int, now_ns: int) -> None:
        for binding in bindings:
            bad = BadRegister(binding, code, (binding.start, binding.end) in self._given)
            bad.refused(code, now_ns)
            self._bad[bad.span] = bad

    def _note(self, block: Block, words: int) -> bool:
        """Enter what became of a part of a split; returns whether that closed any."""
        for split in self._splits.values():
            part = split.part(block)
            if part and getattr(split, part) is None:  # else it is only a part of that part
                setattr(split, part, words)
        return self._close()

    def _close(self) -> bool:
        """Draw the conclusions of splits whose parts are both known."""
        before = len(self._splits)
        for key, split in list(self._splits.items()):
            if split.left and split.right:
                self._splits.pop(key, None)
                self._conclude(split, split.left, split.right)
        if all(split.left is not None and split.right is not None for split in self._splits.values()):
            self._splits.clear()  # every register at fault is alone: what is left may be joined again
        return len(self._splits) != before

    def _conclude(self, split: _Split, left: int, right: int) -> None:
        self._strikes[split.at] += 1
        if split.code != ILLEGAL_ADDRESS and self._strikes[split.at] < 2:
            return
        if split.hole or split.count <= self._size.taken:
            self._cuts.add(split.at)
        else:
            self._size.too_long(split.count, max(left, right))


def _outer(block: Block) -> list[Binding]:
    """The block's values that stand in no other's extent; of several with the same extent one."""
    outer: list[Binding] = []
    for binding in sorted(block.bindings, key=lambda b: (b.start, -b.end)):
        if not outer or binding.end > outer[-1].end:
            outer.append(binding)
    return outer


def _seam(outer: list[Binding]) -> tuple[int, bool]:
    """Where to split: at the hole nearest to the middle, or in the middle; and whether there is a hole."""
    middle = len(outer) / 2
    holes = [i for i in range(1, len(outer)) if outer[i].start > outer[i - 1].end]
    i = min(holes or range(1, len(outer)), key=lambda i: abs(i - middle))
    return outer[i].start, bool(holes)
