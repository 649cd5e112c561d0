"""Which requests read which registers.

Values of one table that lie close together are read by one request: holes of up to ``gap_max`` registers are
read over, no request asks for more than ``words_max`` registers, and no value is split between two requests
(a device may change it in between). Bits are counted 16 to a register, up to the protocol's 2000 a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.schema import Register
from edgetwin.errors import ConfigError
from edgetwin.kernels.registers import KINDS, ORDERS, PLAN, WORDS

BITS_MAX = 2000
ADDRESSES = 65536
FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}


@dataclass(frozen=True, slots=True)
class Binding:
    """A signal slot of the engine and the register that brings its samples."""

    slot: int
    register: Register

    @property
    def kind(self) -> str:
        """The type read: a coil, a discrete input or a register with a ``bit`` is a bit."""
        r = self.register
        return "bit" if is_bit_table(r.table) or r.bit is not None else r.type

    @property
    def start(self) -> int:
        """First address."""
        return self.register.address

    @property
    def end(self) -> int:
        """Address after the last."""
        return self.start + WORDS[KINDS[self.kind]]


@dataclass(frozen=True, slots=True)
class Block:
    """One request: ``count`` registers (or bits) of ``table`` from ``address``.

    ``slots`` int32[m] and ``plan`` PLAN[m] say which values come out of it
    (:func:`edgetwin.kernels.registers.decode`).
    """

    table: str
    address: int
    count: int
    slots: NDArray[np.int32]
    plan: NDArray[np.void]

    @property
    def function(self) -> int:
        """The Modbus function code that reads it."""
        return FUNCTIONS[self.table]

    def __len__(self) -> int:
        return len(self.slots)


def is_bit_table(table: str) -> bool:
    """Whether an address of the table is one bit instead of a 16-bit register."""
    return table in ("coil", "discrete")


def plan_blocks(bindings: Sequence[Binding], words_max: int, gap_max: int) -> tuple[Block, ...]:
    """The fewest requests that read every binding, ordered by table and address.

    ConfigError when a value reaches beyond address 65535 or is longer than ``words_max``.
    """
    blocks: list[Block] = []
    for table in FUNCTIONS:
        wanted = sorted((b for b in bindings if b.register.table == table), key=lambda b: (b.start, b.end))
        for binding in wanted:
            check_fits(binding, words_max)
        bits = is_bit_table(table)
        count_max = min(16 * words_max, BITS_MAX) if bits else words_max
        groups = _groups(wanted, count_max, 16 * gap_max if bits else gap_max)
        blocks += [_block(table, group) for group in groups]
    return tuple(blocks)


def check_fits(binding: Binding, words_max: int) -> None:
    """ConfigError when no request of ``words_max`` registers can read the value."""
    where = f"{binding.register.table} register {binding.start} ({binding.kind})"
    if binding.end > ADDRESSES:
        raise ConfigError(f"{where} reaches beyond address 65535", hint="lower the address")
    if binding.end - binding.start > words_max:
        raise ConfigError(
            f"{where} takes {binding.end - binding.start} registers, more than words_max: {words_max}",
            hint="raise words_max of the source",
        )


def _groups(wanted: list[Binding], count_max: int, gap_max: int) -> list[list[Binding]]:
    """Greedy from the lowest address, which is optimal: the first unread value must start some request."""
    groups: list[list[Binding]] = []
    start = end = 0
    for binding in wanted:
        near = binding.start - end <= gap_max
        fits = max(end, binding.end) - start <= count_max
        if groups and near and fits:
            groups[-1].append(binding)
            end = max(end, binding.end)
        else:
            groups.append([binding])
            start, end = binding.start, binding.end
    return groups


def _block(table: str, group: list[Binding]) -> Block:
    address = group[0].start
    return Block(
        table=table,
        address=address,
        count=max(b.end for b in group) - address,
        slots=np.array([b.slot for b in group], np.int32),
        plan=np.array([_row(b, address) for b in group], PLAN),
    )


def _row(binding: Binding, address: int) -> tuple[float, ...]:
    r = binding.register
    code = KINDS[binding.kind]
    in_word = not is_bit_table(r.table)
    order = ORDERS[r.order] if in_word else (0, 0)
    bit = (r.bit or 0) if in_word else 0
    return (r.scale, r.offset, binding.start - address, WORDS[code], code, *order, bit)
