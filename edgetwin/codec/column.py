"""One column of numbers as bytes that stand alone: its law and the coded run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.codec.laws import Law, laws_for, ordered, whole_law
from edgetwin.errors import FrameError
from edgetwin.kernels.entropy import Coder, new_coder, reset
from edgetwin.kernels.predictor import CANDIDATES, REAL, WHOLE
from edgetwin.kernels.residuals import MISSING, WHOLE_NUMBER, decode_column, encode_column

TABLE_BITS = 16
VALUES_PER_BYTE = 20_000
"""More than any byte can hold: a decision costs at least 0.00048 bits."""

_TRIAL, _PIECE = 8_192, 2_048
_VALUE_BYTES, _SLACK = 24, 64


@dataclass(frozen=True, slots=True)
class ColumnCode:
    """A coded column of ``length`` values."""

    law: Law
    length: int
    payload: bytes


class ColumnCoder:
    """Codes columns, each from scratch; keeps 2 MiB of tables between them. Not thread-safe."""

    def __init__(self) -> None:
        self._coder: Coder = new_coder(TABLE_BITS)
        self._candidate = np.zeros(CANDIDATES, np.int64)

    def encode(self, values: NDArray[np.float64], tolerance: float) -> ColumnCode:
        """Values float64[n] of any kind; each is kept within ``tolerance`` (0: to the bit). NaN, infinities and what
        cannot be quantised so finely are exact."""
        values = np.ascontiguousarray(values, np.float64)
        laws = list(laws_for(values, tolerance))
        if len(laws) > 1:
            sample = _sample(values)
            laws.sort(key=lambda law: len(self._run(law, sample)))
        return ColumnCode(laws[0], len(values), self._run(laws[0], values))

    def encode_integers(self, numbers: NDArray[np.int64]) -> ColumnCode:
        """Integers int64[n], exactly."""
        law = whole_law(numbers, absent=False)
        return ColumnCode(law, len(numbers), self._encode(law, _to_steps(law, numbers)))

    def decode(self, code: ColumnCode) -> NDArray[np.float64]:
        """The reverse of :meth:`encode`. FrameError when ``code`` is anything else."""
        bits = self._decode(code)
        if code.law.form != WHOLE_NUMBER:
            return bits.view(np.float64)
        if not code.law.doubles:
            raise FrameError("a column of integers stands where numbers should")
        return ordered(_from_steps(code.law, bits).view(np.float64)).view(np.float64)

    def decode_integers(self, code: ColumnCode) -> NDArray[np.int64]:
        """The reverse of :meth:`encode_integers`. FrameError when ``code`` is anything else."""
        if code.law.form != WHOLE_NUMBER or code.law.doubles or code.law.absent:
            raise FrameError("a column of numbers stands where integers should")
        return _from_steps(code.law, self._decode(code))

    def _run(self, law: Law, values: NDArray[np.float64]) -> bytes:
        if law.form == WHOLE_NUMBER:
            return self._encode(law, _to_steps(law, ordered(values)))
        return self._encode(law, values.view(np.int64).copy())

    def _encode(self, law: Law, bits: NDArray[np.int64]) -> bytes:
        room = _VALUE_BYTES * len(bits) + _SLACK
        while True:  # nothing known takes more than the first room
            data = np.empty(room, np.uint8)
            whole, real = self._fresh()
            run = law.kernel(), whole, real, self._coder, data, self._candidate
            size = encode_column(bits.view(np.float64), bits, *run)
            if size >= 0:
                return data[:size].tobytes()
            room *= 4

    def _decode(self, code: ColumnCode) -> NDArray[np.int64]:
        if code.length > VALUES_PER_BYTE * (len(code.payload) + 16):
            raise FrameError("a column claims more values than its bytes can hold")
        bits = np.zeros(code.length, np.int64)
        whole, real = self._fresh()
        data = np.frombuffer(code.payload, np.uint8)
        law = code.law.kernel()
        if not decode_column(bits.view(np.float64), bits, law, whole, real, self._coder, data, self._candidate):
            raise FrameError("the payload of a column is damaged")
        return bits

    def _fresh(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        reset(self._coder)
        self._candidate[:] = 0
        return np.zeros(WHOLE, np.int64), np.zeros(REAL)


def error_bound(sent: NDArray[np.float64], got: NDArray[np.float64]) -> float:
    """The largest difference among finite values; infinite when others are not the same to the bit."""
    finite = np.isfinite(sent)
    if not np.array_equal(sent[~finite].view(np.int64), got[~finite].view(np.int64)):
        return float("inf")
    return float(np.abs(sent[finite] - got[finite]).max()) if finite.any() else 0.0


def _sample(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """All of a short column, three pieces of a long one."""
    n = len(values)
    if n <= _TRIAL:
        return values
    pieces = [values[at : at + _PIECE] for at in (0, (n - _PIECE) // 2, n - _PIECE)]
    return np.concatenate(pieces)


def _to_steps(law: Law, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    steps: NDArray[np.int64] = (numbers - np.int64(law.origin)) // np.int64(law.step)
    return np.where(numbers == MISSING, numbers, steps) if law.absent else steps


def _from_steps(law: Law, steps: NDArray[np.int64]) -> NDArray[np.int64]:
    with np.errstate(over="ignore"):
        numbers = steps * np.int64(law.step) + np.int64(law.origin)
    return np.where(steps == MISSING, steps, numbers) if law.absent else numbers
