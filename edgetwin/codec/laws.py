"""How a column of numbers stands on a lattice of integers, and which way is the cheapest.

LATTICE        origin + q step, with step = tolerance (1 - 2**-20): half a quantisation step, or a whole one
DECIMAL        (origin + q step) / divisor on integers: values with few decimals, whose own resolution widens the step
WHOLE_NUMBER   origin + q step on 64-bit integers: times, and the bits of doubles in their order (exact)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.codec.contents import array, integer
from edgetwin.codec.limits import I64_MAX, I64_MIN
from edgetwin.errors import FrameError
from edgetwin.kernels.residuals import DECIMAL, LATTICE, MISSING, WHOLE_NUMBER
from edgetwin.kernels.residuals import Law as KernelLaw

INTEGER_MAX = 2**53
TAIL = 4
_SHRINK = 1.0 - 2.0**-20
_DECIMALS_MAX = 9
_FAR = 2**61
_STEPS_MAX = 1e12
_COVERED_MAX = 64


@dataclass(frozen=True, slots=True)
class Law:
    """``form`` as in :mod:`edgetwin.kernels.residuals`; ``half``: q counts half quantisation steps; ``absent``: values
    may be missing (NaN); ``tail``: low bits of q that are not predicted; ``doubles``: a WHOLE_NUMBER is the ordered
    bits of a double. ``origin`` and ``step`` are floats for LATTICE and integers otherwise. ``tolerance`` concerns the
    encoder alone."""

    form: int
    half: bool
    absent: bool
    tail: int = 0
    doubles: bool = False
    origin: float | int = 0
    step: float | int = 1
    divisor: float = 1.0
    tolerance: float = 0.0

    def to_wire(self) -> list[Any]:
        """``[form, flags, tail, origin, step, divisor]``."""
        flags = self.half | self.absent << 1 | self.doubles << 2
        return [self.form, int(flags), self.tail, self.origin, self.step, self.divisor]

    @staticmethod
    def from_wire(wire: object) -> Law:
        """The reverse of :meth:`to_wire`. FrameError when ``wire`` is anything else."""
        form, flags, tail, origin, step, divisor = array("the law of a column", wire, 6)
        integer("the form of a column", form, LATTICE, WHOLE_NUMBER)
        integer("the flags of a column", flags, 0, 7)
        integer("the tail of a column", tail, 0, TAIL if form == WHOLE_NUMBER else 0)
        if type(divisor) is not float or not 0 < divisor < math.inf:
            raise FrameError("the divisor of a column is not a positive number")
        if form == LATTICE:
            if (
                type(origin) is not float
                or type(step) is not float
                or not (0 < step < math.inf and abs(origin) < math.inf)
            ):
                raise FrameError("the lattice of a column is none")
        else:
            low, high = (I64_MIN, I64_MAX) if form == WHOLE_NUMBER else (-INTEGER_MAX, INTEGER_MAX)
            integer("the origin of a column", origin, low, high)
            integer("the step of a column", step, 1, high)
        return Law(form, bool(flags & 1), bool(flags & 2), tail, bool(flags & 4), origin, step, divisor)

    def kernel(self, identity: int = 0) -> KernelLaw:
        """The same for the kernels; columns that share a coder differ in ``identity``."""
        whole = [self.form, int(self.half), int(self.absent), self.tail, 0, 1, identity]
        real = [0.0, 1.0, self.divisor, self.tolerance]
        if self.form == LATTICE:
            real[:2] = float(self.origin), float(self.step)
        elif self.form == DECIMAL:
            whole[4:6] = int(self.origin), int(self.step)
        return KernelLaw(np.array(whole, np.int64), np.array(real))


def laws_for(values: NDArray[np.float64], tolerance: float) -> Iterator[Law]:
    """The ways to stand for ``values`` float64[n] within ``tolerance`` (0: exactly), worth a trial."""
    absent = bool(np.any(values.view(np.int64) == MISSING))
    finite = values[np.isfinite(values)]
    decimals = _decimals(finite)
    if decimals is not None:
        yield from _decimal_laws(finite, decimals, tolerance, absent)
    steps = float(np.abs(finite).max()) / tolerance if len(finite) and tolerance > 0 else math.inf
    if tolerance > 0 and (steps < _STEPS_MAX or not len(finite)):
        origin = float(finite[0]) if len(finite) else 0.0
        for half in (True, False):
            step = tolerance * _SHRINK * (1 if half else 2)
            if 0 < step < math.inf:
                yield Law(LATTICE, half, absent, origin=origin, step=step, tolerance=tolerance)
    elif decimals is None:
        yield whole_law(ordered(values), absent, doubles=True)


def whole_law(numbers: NDArray[np.int64], absent: bool, *, doubles: bool = False) -> Law:
    """Integers int64[n] exactly, in their greatest common step; MISSING among them only if ``absent``."""
    present = numbers[numbers != MISSING] if absent else numbers
    if not len(present):
        return Law(WHOLE_NUMBER, False, absent, doubles=doubles)
    low, high, first = int(present.min()), int(present.max()), int(present[0])
    if high - low >= _FAR:
        return Law(WHOLE_NUMBER, False, absent, TAIL, doubles)
    step = int(np.gcd.reduce(present - first)) or 1
    return Law(WHOLE_NUMBER, False, absent, 0, doubles, first, step)


def ordered(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bits of doubles as integers in the order of the doubles; its own reverse on int64."""
    bits = values.view(np.int64)
    result: NDArray[np.int64] = np.where(bits == MISSING, bits, bits ^ ((bits >> 63) & I64_MAX))
    return result


def _decimals(finite: NDArray[np.float64]) -> int | None:
    """The fewest decimals (at most 9) with which every value can be written exactly; None when it takes more."""
    if not len(finite) or np.any((finite == 0) & np.signbit(finite)):
        return None
    for d in range(_DECIMALS_MAX + 1):
        scaled = np.rint(finite * 10.0**d)
        if not np.abs(scaled).max() < 2**50:
            return None
        if np.array_equal(scaled / 10.0**d, finite):
            return d
    return None


def _decimal_laws(finite: NDArray[np.float64], decimals: int, tolerance: float, absent: bool) -> Iterator[Law]:
    """Steps of as many of the values' own steps as lie within the tolerance on both sides of a point."""
    divisor = 10.0**decimals
    numbers = np.rint(finite * divisor).astype(np.int64)
    first = int(numbers[0])
    own = int(np.gcd.reduce(numbers - first)) or 1
    covered = 2 * tolerance * divisor / own + 1
    if not covered < _COVERED_MAX:  # the gain is gone
        return
    for n in sorted({int(covered * (1 - 1e-9)), int(covered * (1 + 1e-9))}):  # the larger one may just not fit
        origin, step = 2 * first + (n + 1) % 2 * own, 2 * n * own
        if n and abs(origin) < INTEGER_MAX and step < INTEGER_MAX:
            yield Law(DECIMAL, False, absent, 0, False, origin, step, 2 * divisor, tolerance)
