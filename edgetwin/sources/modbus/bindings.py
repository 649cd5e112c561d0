"""What is read for the engine's slots, and how a block of registers becomes samples.

The plan (:mod:`plan`) knows bindings by their extent only; what stands inside is the business of this module and of
:mod:`edgetwin.kernels.registers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.registers import is_bit_table, read_extent
from edgetwin.config.schema import Register
from edgetwin.sources.modbus.layouts import Layout, make_layout


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
        """First address that is read for it."""
        return read_extent(self.register)[0]

    @property
    def end(self) -> int:
        """Address after the last."""
        return read_extent(self.register)[1]

    def __str__(self) -> str:
        """``holding 500`` or ``input 20..23``."""
        last = "" if self.end == self.start + 1 else f"..{self.end - 1}"
        return f"{self.table} {self.start}{last}"


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One request: ``count`` registers (or bits) of ``table`` from ``address``, for ``bindings``.

    ``slots`` int32[m] says whose values come out of it, ``layout`` how.
    """

    table: str
    address: int
    count: int
    bindings: tuple[Binding, ...]
    slots: NDArray[np.int32]
    layout: Layout

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

    def decode(self, words: NDArray[np.uint16]) -> NDArray[np.float64]:
        """float64[m] values of the bindings from the ``count`` registers as read; NaN where there is none."""
        return self.layout.decode(words)


def make_block(table: str, address: int, count: int, bindings: Sequence[Binding]) -> Block:
    """The request that reads ``bindings``, which are ordered by their first address."""
    return Block(
        table=table,
        address=address,
        count=count,
        bindings=tuple(bindings),
        slots=np.array([b.slot for b in bindings], np.int32),
        layout=make_layout([b.register for b in bindings], address),
    )
