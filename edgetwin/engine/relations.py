"""How the signals of one twin are related: the correlation of their innovations.

What two filters fail to foresee at the same moment is what drives both signals. Each time reports are made, the last
normalised innovations of signals that were measured within half a sampling interval of each other enter an
exponentially weighted mean of their products (weight 1 in WINDOW once that many are in).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.engine.bank import SignalBank

WINDOW = 200
SIGNALS_MAX = 16
CLIP = 4.0


@dataclass(frozen=True, slots=True)
class Relation:
    """``correlation`` in [-1, 1] of the innovations of ``first`` and ``second`` over ``samples`` pairs."""

    first: str
    second: str
    correlation: float
    samples: int


class Relations:
    """The pairs of one bank; kept for the first SIGNALS_MAX signals of each twin."""

    def __init__(self, bank: SignalBank) -> None:
        self._bank = bank
        self._known = 0
        self._first: NDArray[np.int64] = np.zeros(0, np.int64)
        self._second: NDArray[np.int64] = np.zeros(0, np.int64)
        self._sums: NDArray[np.float64] = np.zeros((0, 3))  # products, squares of the first, squares of the second
        self._count: NDArray[np.int64] = np.zeros(0, np.int64)
        self._last: NDArray[np.int64] = np.zeros((0, 2), np.int64)

    def look(self) -> None:
        """Take the innovations that both signals of a pair have had since the last call."""
        self._extend(len(self._bank))
        rows = self._bank.rows
        if not len(self._first):
            return
        times = np.stack([rows["t"][self._first], rows["t"][self._second]], axis=1)
        interval = NS * np.minimum(rows["dt_mean"][self._first], 1e9)
        together = np.abs(times[:, 0] - times[:, 1]) <= 0.5 * interval
        usable = together & (times > self._last).all(axis=1)
        usable &= (rows["updates"][self._first] > 1) & (rows["updates"][self._second] > 1)
        pairs = np.flatnonzero(usable)
        if not len(pairs):
            return
        a, b = self._normalised(self._first[pairs]), self._normalised(self._second[pairs])
        self._count[pairs] += 1
        gain = np.maximum(1.0 / self._count[pairs], 1.0 / WINDOW)[:, None]
        self._sums[pairs] += gain * (np.stack([a * b, a * a, b * b], axis=1) - self._sums[pairs])
        self._last[pairs] = times[pairs]

    def of(self, rows: Sequence[int], names: Sequence[str]) -> list[Relation]:
        """The relations among ``rows`` of one twin, called ``names``; strongest first, none before two pairs."""
        name = dict(zip(rows, names, strict=True))
        mine = np.flatnonzero(np.isin(self._first, list(rows)) & (self._count > 1))
        found = []
        for k in mine.tolist():
            product, square_a, square_b = self._sums[k]
            size = float(np.sqrt(square_a * square_b))
            value = float(product) / size if size > 0.0 else 0.0
            found.append(Relation(name[int(self._first[k])], name[int(self._second[k])], value, int(self._count[k])))
        return sorted(found, key=lambda r: -abs(r.correlation))

    def _normalised(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        rows = self._bank.rows
        y, s = rows["y"][index], rows["s"][index]
        size = np.sqrt(np.where(s > 0.0, s, 1.0))
        return np.asarray(np.clip(y / size, -CLIP, CLIP), np.float64)

    def dump(self) -> list[Any]:
        """For a snapshot."""
        return [self._known, self._sums, self._count, self._last]

    def resume(self, saved: list[Any]) -> None:
        """Go on from what :meth:`dump` gave for the same rows."""
        self._extend(saved[0])
        _, self._sums, self._count, self._last = saved

    def _extend(self, known: int) -> None:
        """Pairs of those of the first ``known`` rows that are new; a twin's stand together and none is added later."""
        rows = self._bank.rows[:known]
        if len(rows) == self._known:
            return
        twins = rows["twin"][self._known :]
        starts = np.flatnonzero(np.r_[True, np.diff(twins) != 0])
        first, second = [], []
        for start, stop in zip(starts, np.r_[starts[1:], len(twins)], strict=True):
            i, j = np.triu_indices(min(stop - start, SIGNALS_MAX), 1)
            first.append(self._known + start + i)
            second.append(self._known + start + j)
        more = sum(len(f) for f in first)
        self._first = np.concatenate([self._first, *first]).astype(np.int64)
        self._second = np.concatenate([self._second, *second]).astype(np.int64)
        self._sums = np.concatenate([self._sums, np.zeros((more, 3))])
        self._count = np.concatenate([self._count, np.zeros(more, np.int64)])
        self._last = np.concatenate([self._last, np.zeros((more, 2), np.int64)])
        self._known = len(rows)
