"""What encoder and decoder both know in a run of frames: columns, laws, models, probabilities.

A run begins with a key frame. Both sides make the same calls in the same order, so they stay the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.codec.columns import Column
from edgetwin.codec.limits import COLUMNS_MAX, I64_MIN
from edgetwin.errors import FrameError
from edgetwin.kernels.entropy import new_coder
from edgetwin.kernels.predictor import CANDIDATES, Q1, REAL, WHOLE
from edgetwin.kernels.reports import (
    LAW_REAL,
    LAW_WHOLE,
    LINK,
    Coders,
    Columns,
    Rows,
    close_stream,
    code_report,
    open_stream,
)
from edgetwin.kernels.residuals import LATTICE, WHOLE_NUMBER, Law

LAYOUTS_MAX = 16
COEFFICIENTS_MAX = 1 << 22
BITS_LEAST, BITS_MOST = 8, 18
_QUALITY_BITS = 8
_TAIL = 4
_SHRINK = 1.0 - 2.0**-20
_VALUE_BYTES, _SLACK = 64, 256


@dataclass(frozen=True, slots=True)
class Coded:
    """The values of one report as coded: ``column`` int32[n], ``mean`` float64[n] as decoded, ``spread`` int64[n] (see
    :mod:`edgetwin.codec.spreads`), ``quality`` uint8[n]."""

    t_ns: int
    column: NDArray[np.int32]
    mean: NDArray[np.float64]
    spread: NDArray[np.int64]
    quality: NDArray[np.uint8]


class Stream:
    """One side of a run. After an error it is of no use any more."""

    def __init__(self, bits: int) -> None:
        """``bits``: adaptive tables of means have 2**bits entries, those of deviations a quarter of that."""
        self.bits = bits
        self.names: list[Column] = []
        self.layouts: deque[NDArray[np.int32]] = deque(maxlen=LAYOUTS_MAX)
        self._columns = _blank(0)
        self._coefficients = np.zeros(0)
        self._coders = Coders(new_coder(bits), new_coder(bits - 2), new_coder(_QUALITY_BITS))
        self._spread_law = Law(np.array([WHOLE_NUMBER, 0, 0, 0, 0, 1, 0], np.int64), np.array([0.0, 1.0, 1.0, 0.0]))
        self._candidate = np.zeros(CANDIDATES, np.int64)

    # ---- declarations

    def add(self, names: Sequence[Column]) -> None:
        """Columns from number ``len(self.names)`` on. FrameError when there are more than COLUMNS_MAX."""
        start, end = len(self.names), len(self.names) + len(names)
        if end > COLUMNS_MAX:
            raise FrameError(f"a run of frames with more than {COLUMNS_MAX} columns")
        self.names.extend(names)
        room = len(self._columns.quality)
        if end > room:
            more = _blank(max(end - room, room))
            self._columns = Columns(*(np.concatenate(pair) for pair in zip(self._columns, more, strict=True)))
        self._columns.law[start:end, LAW_WHOLE - 1] = np.arange(start, end)

    def set_laws(self, first: int, steps: NDArray[np.float32], tolerance: NDArray[np.float64] | None = None) -> None:
        """The lattices of columns from number ``first`` on: steps (0: exact); the encoder's has their ``tolerance``.

        FrameError when a step is none.
        """
        if not (np.isfinite(steps) & (steps >= 0)).all():
            raise FrameError("the step of a column is none")
        columns = slice(first, first + len(steps))
        lattice = steps > 0
        self._columns.law[columns, 0] = np.where(lattice, LATTICE, WHOLE_NUMBER)
        self._columns.law[columns, 3] = np.where(lattice, 0, _TAIL)
        self._columns.real[columns, 1] = np.where(lattice, steps, 1.0)
        if tolerance is not None:
            self._columns.real[columns, 3] = tolerance

    def set_model(
        self, interval_ns: int, first: NDArray[np.int64], which: NDArray[np.int64], matrices: NDArray[np.float32]
    ) -> None:
        """Groups of columns from numbers ``first`` on follow matrix ``which`` of ``matrices`` float32[m, n, n + 1]."""
        size = matrices.shape[1]
        base = len(self._coefficients)
        if base + matrices.size > COEFFICIENTS_MAX:
            raise FrameError(f"a run of frames with more than {COEFFICIENTS_MAX} coefficients")
        self._coefficients = np.concatenate([self._coefficients, matrices.ravel().astype(np.float64)])
        for i in range(size):
            link = self._columns.link[first + i]
            link[:, 0], link[:, 1], link[:, 3] = first, size, interval_ns
            link[:, 2] = base + (which * size + i) * (size + 1)
            self._columns.link[first + i] = link

    # ---- values

    def encode(self, reports: Sequence[Coded]) -> bytes:
        """The reports as bits; their means become what a decoder finds. FrameError when they do not fit."""
        data = np.empty(_SLACK + _VALUE_BYTES * sum(len(r.mean) for r in reports), np.uint8)
        coder = self._coders.mean
        open_stream(coder, data, False)
        for report in reports:
            if not self._code(report, data, decoding=False):
                break
        size = close_stream(coder, data)
        if size < 0:
            raise FrameError("the reports take more bytes than any should")
        return data[:size].tobytes()

    def decode(self, reports: Sequence[Coded], data: bytes) -> None:
        """Fill in the values of ``reports`` from their bits. FrameError when they are damaged."""
        buffer = np.frombuffer(data, np.uint8).copy()  # of the encoder's type: one compilation for both
        open_stream(self._coders.mean, buffer, True)
        for report in reports:
            if not self._code(report, buffer, decoding=True):
                raise FrameError("the payload of the frame is damaged")

    def told_spreads(self, column: NDArray[np.int32]) -> NDArray[np.int64]:
        """The deviations told last of these columns."""
        told: NDArray[np.int64] = self._columns.spread[column, Q1]
        return told

    def _code(self, report: Coded, data: NDArray[np.uint8], *, decoding: bool) -> bool:
        mean = report.mean
        rows = Rows(report.column, mean, mean.view(np.int64), report.spread, report.quality, np.empty_like(mean))
        shared = self._columns, self._coefficients, self._spread_law, self._coders
        return bool(code_report(report.t_ns, rows, *shared, data, self._candidate, decoding))


def steps_of(tolerance: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32[n]: the widest lattice that keeps a tolerance float64[n] on both sides of a point; 0 for exact."""
    wide = np.where(tolerance > 0, tolerance, 0.0) * (2 * _SHRINK)
    largest = float(np.finfo(np.float32).max)
    steps = np.minimum(wide, largest).astype(np.float32)
    above = steps > wide
    steps[above] = np.nextafter(steps[above], np.float32(0))
    return steps


def bits_for(columns: int) -> int:
    """Size of the tables that suits a number of columns: 64 entries for each, within 2**10 and 2**16."""
    return min(max(columns.bit_length() + 6, 10), 16)


def _blank(n: int) -> Columns:
    law = np.zeros((n, LAW_WHOLE), np.int64)
    law[:, 5] = 1
    real = np.zeros((n, LAW_REAL))
    real[:, 1:3] = 1.0
    return Columns(
        law=law,
        real=real,
        whole=np.zeros((n, WHOLE), np.int64),
        steps=np.zeros((n, REAL)),
        spread=np.zeros((n, WHOLE), np.int64),
        spreads=np.zeros((n, REAL)),
        quality=np.zeros(n, np.int64),
        mean=np.zeros(n),
        t_ns=np.full(n, I64_MIN, np.int64),
        link=np.zeros((n, LINK), np.int64),
    )
