"""The polls of one source: which blocks are asked when, as refusals and new twins change them. Without I/O.

A group is what one unit is asked at one rate. Each of its blocks has a schedule of its own, so that the requests of a
group are spread over its interval instead of coming in a burst that others would have to wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetwin.config.registers import is_bit_table
from edgetwin.sources.modbus.bindings import Binding, Block, make_block
from edgetwin.sources.modbus.plan import Limits, plan_blocks
from edgetwin.sources.modbus.refusals import BadRegister, BlockSize, Refusals
from edgetwin.sources.modbus.schedule import Schedule, phase, spread

_ONCE_NS = 3600 * 1_000_000_000


@dataclass(slots=True, eq=False)
class Poll:
    """A block and when it is asked.

    ``live`` until the plan has others in its place; ``retry``: of a bad register; ``given``: the device gave it.
    """

    group: Group
    block: Block
    schedule: Schedule
    retry: bool = False
    live: bool = True
    given: bool = False

    @property
    def key(self) -> tuple[int, int, bytes]:
        """Two polls of a group that read the same for the same signals have the same key."""
        return self.block.address, self.block.count, self.block.slots.tobytes()


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What a group has in common."""

    unit: int
    table: str
    period_ns: int


class Group:
    """The polls of one unit, table and rate. ``size`` is shared by the groups of a unit and kind of table."""

    def __init__(self, source: str, key: GroupKey, limits: Limits, size: BlockSize) -> None:
        self.key = key
        self.unit = key.unit
        self.polls: list[Poll] = []
        self._bindings: list[Binding] = []
        self._limits = limits
        self._refusals = Refusals(size)
        self._phase = phase(source, key.unit, key.table, key.period_ns)

    @property
    def bad(self) -> Sequence[BadRegister]:
        """Values the device refuses, which are left out."""
        return tuple(self._refusals.bad)

    def add(self, binding: Binding) -> None:
        """Read this too, from the next plan on."""
        self._bindings.append(binding)
        self._refusals.forget_splits()

    def taken(self, poll: Poll) -> bool:
        """The block was given; whether the plan has to be made anew."""
        first, poll.given = not poll.given, True
        return self._refusals.taken(poll.block, first=first)

    def refused(self, poll: Poll, code: int, now_ns: int) -> None:
        """The block was refused; the plan has to be made anew."""
        self._refusals.refused(poll.block, code, now_ns)

    def replan(self, now_ns: int, refused: Poll | None = None) -> list[Poll]:
        """Make the plan anew; returns the polls that are new. The parts of what was ``refused`` are due at once."""
        old, self.polls = self.polls, []
        kept = {poll.key: poll for poll in old if not poll.retry}
        good = [b for b in self._bindings if not self._refusals.is_bad(b)]
        blocks = plan_blocks(good, self._limits, self._refusals.known())
        new: list[Poll] = []
        for i, block in enumerate(blocks):
            poll = Poll(self, block, None)  # type: ignore[arg-type]
            same = kept.get(poll.key)
            if same is not None and same is not refused:
                self.polls.append(same)
                continue
            poll.schedule = self._schedule(block, old, (i + self._phase) / len(blocks), now_ns, refused)
            new.append(poll)
        new += self._retries(bool(blocks))
        staying = set(map(id, self.polls))
        for poll in old:
            poll.live = id(poll) in staying
        self.polls += new
        return new

    def _schedule(self, block: Block, old: list[Poll], part: float, now_ns: int, refused: Poll | None) -> Schedule:
        parents = [p for p in old if p.block.start < block.end and block.start < p.block.end and not p.retry]
        if not parents:
            return spread(now_ns, self.key.period_ns, part if not old else self._phase)
        schedule = min(parents, key=lambda p: p.schedule.due_ns).schedule.copy()
        if refused in parents:
            schedule.skip(now_ns, now_ns)
        return schedule

    def _retries(self, others: bool) -> list[Poll]:
        """A poll of each bad value by itself, or of one when there is nothing else."""
        bad = sorted(self._refusals.bad, key=lambda b: b.retry_ns)
        return [self._retry(b) for b in (bad if others else bad[:1])]

    def _retry(self, bad: BadRegister) -> Poll:
        start, end = bad.span
        bindings = [b for b in self._bindings if (b.start, b.end) == bad.span]
        align = self._limits.align
        address = start // align * align
        count = min(-(-end // align) * align, 65536) - address
        block = make_block(self.key.table, address, count, bindings)
        return Poll(self, block, Schedule(bad.retry_ns, _ONCE_NS), retry=True)


def size_key(unit: int, table: str) -> tuple[int, bool]:
    """Requests of the same unit and kind of table have the same largest length."""
    return unit, is_bit_table(table)
