"""Which requests read which registers.

Values of one table that lie close together are read by one request: holes of up to ``gap_max`` registers are read over,
no request asks for more than ``words_max`` registers, and no value is split between two requests (a device may change
it in between). Bits are counted 16 to a register, up to the protocol's 2000 a request. Under these rules the plan has
the least cost, a request costing as much as reading ``request_words`` registers: on a socket, where a request is a
round trip, the fewest requests and among those the fewest registers; on a slow line a hole may cost more than a
request.

The minimum is found in one pass, f(j) = request + end(j) + min over i of f(i-1) - start(i), the candidates i being a
sliding window whose minimum a monotonic queue keeps (a shortest path in an interval graph; O(n) after sorting).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgetwin.config.modbus_urls import ModbusPlace
from edgetwin.config.registers import is_bit_table
from edgetwin.errors import ConfigError
from edgetwin.sources.modbus.bindings import Binding, Block, make_block
from edgetwin.sources.modbus.frames import READ

BITS_MAX = 2000
ADDRESSES = 65536
REQUEST_WORDS_SOCKET = 1_000_000
"""On a socket no hole is worth a request of its own."""

TURNAROUND_S = 0.005
"""What a device on a serial line commonly takes to answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may be like. ``align``: they start and end at multiples of it, in registers (or bits)."""

    words_max: int = 125
    gap_max: int = 8
    align: int = 1
    request_words: int = REQUEST_WORDS_SOCKET


@dataclass(frozen=True, slots=True)
class Known:
    """What refusals have taught about a table.

    ``count_max`` registers (or bits) at most in a request; no request may contain one of ``bad`` (first address and
    address after the last), nor reach over one of ``cuts``.
    """

    count_max: int = BITS_MAX
    bad: tuple[tuple[int, int], ...] = ()
    cuts: tuple[int, ...] = ()


NOTHING = Known()


def request_words(place: ModbusPlace) -> int:
    """How many registers take as long to read as a request takes beside its data.

    On a line: 8 characters of request, 5 of answer, two silences of 3.5, and the device's own time.
    """
    if place.transport != "rtu":
        return REQUEST_WORDS_SOCKET
    return max(1, round((8 + 5 + 2 * 3.5 + TURNAROUND_S / place.char_s) / 2))


def plan_blocks(bindings: Sequence[Binding], limits: Limits, known: Known = NOTHING) -> tuple[Block, ...]:
    """The requests of least cost that read every binding, ordered by table and address.

    ConfigError when a value reaches beyond address 65535 or is longer than ``words_max``.
    """
    blocks: list[Block] = []
    for table in READ:
        wanted = [b for b in bindings if b.table == table]
        for binding in wanted:
            check_fits(binding, limits)
        if wanted:
            blocks += _Table(table, wanted, limits, known).blocks()
    return tuple(blocks)


def check_fits(binding: Binding, limits: Limits) -> None:
    """ConfigError when no request within ``limits`` can read the value."""
    if binding.end > ADDRESSES:
        raise ConfigError(f"{binding} ({binding.kind}) reaches beyond address 65535", hint="lower the address")
    words = _up(binding.end, limits.align) - _down(binding.start, limits.align)
    if words > (BITS_MAX if is_bit_table(binding.table) else limits.words_max):
        raise ConfigError(
            f"{binding} ({binding.kind}) takes {words} registers, more than words_max: {limits.words_max}",
            hint="raise words_max of the source, or lower align",
        )


class _Table:
    """The plan of one table."""

    def __init__(self, table: str, wanted: list[Binding], limits: Limits, known: Known) -> None:
        self.table = table
        self.align = limits.align
        bits = is_bit_table(table)
        self.gap_max = 16 * limits.gap_max if bits else limits.gap_max
        self.cost = 16 * limits.request_words if bits else limits.request_words
        outer, self.inner = _nest(wanted)
        count_max = min(16 * limits.words_max, BITS_MAX) if bits else limits.words_max
        self.outer = outer
        self.starts = [_down(b.start, self.align) for b in outer]
        self.ends = [_up(b.end, self.align) for b in outer]
        widest = max(e - s for s, e in zip(self.starts, self.ends, strict=True))
        self.count_max = max(min(count_max, known.count_max), widest)
        self.known = known

    def blocks(self) -> Iterator[Block]:
        for first, last in self._cheapest():
            bindings = [b for outer in self.outer[first : last + 1] for b in (outer, *self.inner.get(outer.slot, ()))]
            address = self.starts[first]
            count = min(self.ends[last], ADDRESSES) - address
            yield make_block(self.table, address, count, sorted(bindings, key=lambda b: b.start))

    def _cheapest(self) -> list[tuple[int, int]]:
        """First and last binding of each request."""
        best: list[int] = [0]  # best[j]: least cost of all before binding j
        came: list[int] = []
        window: deque[int] = deque()
        lowest = self._lowest()
        for j, end in enumerate(self.ends):
            offer = best[j] - self.starts[j]
            while window and best[window[-1]] - self.starts[window[-1]] > offer:
                window.pop()
            window.append(j)
            while window[0] < lowest[j]:
                window.popleft()
            i = window[0]
            came.append(i)
            best.append(best[i] - self.starts[i] + end + self.cost)
        return _trace(came)

    def _lowest(self) -> list[int]:
        """The first binding with which a request may start that ends with each one."""
        bad = sorted(self.known.bad, key=lambda span: span[1])
        cuts = deque(sorted(self.known.cuts))
        lowest: list[int] = []
        low = passed = 0
        beyond = -1
        for j, binding in enumerate(self.outer):
            if j and binding.start - self.outer[j - 1].end > self.gap_max:
                low = j
            while cuts and cuts[0] <= binding.start:
                cuts.popleft()
                low = max(low, j)
            while passed < len(bad) and bad[passed][1] <= self.ends[j]:
                beyond = max(beyond, bad[passed][0])
                passed += 1
            while low < j and (self.starts[low] <= beyond or self.ends[j] - self.starts[low] > self.count_max):
                low += 1
            lowest.append(low)
        return lowest


def _nest(wanted: list[Binding]) -> tuple[list[Binding], dict[int, list[Binding]]]:
    """Bindings in no other's extent, by address, and those within each (by its slot), which are read along."""
    outer: list[Binding] = []
    inner: dict[int, list[Binding]] = {}
    for binding in sorted(wanted, key=lambda b: (b.start, -b.end)):
        if outer and binding.end <= outer[-1].end:
            inner.setdefault(outer[-1].slot, []).append(binding)
        else:
            outer.append(binding)
    return outer, inner


def _trace(came: list[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    last = len(came) - 1
    while last >= 0:
        spans.append((came[last], last))
        last = came[last] - 1
    return spans[::-1]


def _down(address: int, align: int) -> int:
    return address // align * align


def _up(address: int, align: int) -> int:
    return -(-address // align) * align
