"""What is read for the engine's slots, and how a block of registers becomes samples.

The plan (:mod:`plan`) knows bindings by their extent only; what stands inside is the business of this module and of
:mod:`edgetwin.kernels.registers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.schema import Register
from edgetwin.kernels.registers import KINDS, ORDERS, PLAN, WORDS

BIT_TABLES = ("coil", "discrete")


def is_bit_table(table: str) -> bool:
    """Whether an address of the table is one bit instead of a 16-bit register."""
    return table in BIT_TABLES


@dataclass(frozen=True, slots=True)
class Binding:
    """A signal slot of the engine and the register that brings its samples."""

    slot: int
    register: Register

    @property
    def table(self) -> str:
        """Where it stands."""
        return self.register.table

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

    def __str__(self) -> str:
        """``holding 500`` or ``input 20..23``."""
        last = "" if self.end == self.start + 1 else f"..{self.end - 1}"
        return f"{self.table} {self.start}{last}"


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One request: ``count`` registers (or bits) of ``table`` from ``address``, for ``bindings``.

    ``slots`` int32[m] and ``plan`` PLAN[m] say which values come out of it
    (:func:`edgetwin.kernels.registers.decode`).
    """

    table: str
    address: int
    count: int
    bindings: tuple[Binding, ...]
    slots: NDArray[np.int32]
    plan: NDArray[np.void]

    @property
    def start(self) -> int:
        """First address that is wanted; alignment may let the request start before."""
        return self.bindings[0].start

    @property
    def end(self) -> int:
        """Address after the last that is wanted."""
        return max(b.end for b in self.bindings)

    def __len__(self) -> int:
        return len(self.slots)


def make_block(table: str, address: int, count: int, bindings: Sequence[Binding]) -> Block:
    """The request that reads ``bindings``, which are ordered by their first address."""
    return Block(
        table=table,
        address=address,
        count=count,
        bindings=tuple(bindings),
        slots=np.array([b.slot for b in bindings], np.int32),
        plan=np.array([_row(b, address) for b in bindings], PLAN),
    )


def _row(binding: Binding, address: int) -> tuple[float, ...]:
    r = binding.register
    code = KINDS[binding.kind]
    in_word = not is_bit_table(r.table)
    order = ORDERS[r.order] if in_word else (0, 0)
    bit = (r.bit or 0) if in_word else 0
    return (r.scale, r.offset, binding.start - address, WORDS[code], code, *order, bit)
