"""The reports that the daemon would make, found for a whole block at once.

The rule is that of :mod:`edgetwin.engine.reporting`, whose clock strikes every instant: at each multiple of a twin's
interval, a row is reported when it has fused a sample, or its quality has changed, since it was last. A sample at the
very instant is in. Between two samples that can be at three instants only: the first multiple, and the first ones at
which the row has gone stale and bad. Those are looked at here, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.engine import Engine
from edgetwin.engine.bank import BAD_AFTER, row_status, stale_limit_ns
from edgetwin.records import Report
from edgetwin.replay.window import Window

_UNTOLD = 255


@dataclass(frozen=True, slots=True)
class _Due:
    """Rows of one bank to report: all arrays by row and instant, ``mean`` and ``std`` with an axis of states."""

    t_ns: NDArray[np.int64]
    every_ns: NDArray[np.int64]
    row: NDArray[np.int64]
    quality: NDArray[np.uint8]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


class Reports:
    """Remembers for each row what was reported last."""

    def __init__(self, engine: Engine) -> None:
        intervals = [max(round(twin.spec.report.every * NS), 1) for twin in engine.instances()]
        self._every = [np.array(intervals, np.int64)[bank.rows["twin"]] for bank in engine.banks]
        self._fused = [np.zeros(len(bank), np.int64) for bank in engine.banks]
        self._told = [np.full(len(bank), _UNTOLD, np.uint8) for bank in engine.banks]
        self._columns = [bank.columns for bank in engine.banks]
        self.tick_ns = min(intervals)

    def due(self, windows: Sequence[Window], end_ns: int, *, last: bool = False) -> Iterator[Report]:
        """The reports of the stretch of the windows up to ``end_ns`` (exclusive), in the daemon's order.

        ``last``: no sample comes after it; the clock runs on to the first multiple of each interval, so that
        everything is reported.
        """
        found = []
        for number, window in enumerate(windows):
            every = self._every[number]
            end = -(-(end_ns - 1) // every) * every + 1 if last else np.full(len(every), end_ns, np.int64)
            found.append(self._of_bank(number, window, end))
        yield from self._gathered(found)

    def _of_bank(self, number: int, window: Window, end_ns: NDArray[np.int64]) -> _Due:
        row, t_ns, place = self._candidates(number, window, end_ns)
        version = window.rows[place]
        quality = row_status(version, t_ns).quality
        fused = version["fused"]
        first = np.ones(len(row), np.bool_)
        first[1:] = row[1:] != row[:-1]
        told_fused = np.where(first, self._fused[number][row], np.roll(fused, 1))
        told = np.where(first, self._told[number][row], np.roll(quality, 1))
        due = np.flatnonzero((fused > told_fused) | (quality != told))
        self._fused[number][row] = fused  # the last of a row's candidates stays
        self._told[number][row] = quality
        row, t_ns, place = row[due], t_ns[due], place[due]
        mean, std = window.predict(place, t_ns)
        return _Due(t_ns, self._every[number][row], row, quality[due], mean, std)

    def _candidates(
        self, number: int, window: Window, end_ns: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Row, instant and version of everything that may have to be reported, by row and instant."""
        row, since, place = window.row, window.since_ns, window.order
        until = end_ns[row]
        same = row[1:] == row[:-1]
        until[:-1][same] = np.minimum(until[:-1][same], since[1:][same])
        every = self._every[number][row]
        first = -(-since // every) * every
        versions = window.rows
        limit, measured = stale_limit_ns(versions)[place], versions["t"][place]
        stale = np.maximum((measured + limit) // every * every + every, first)
        bad = np.maximum((measured + BAD_AFTER * limit) // every * every + every, first)
        fused = versions["updates"][place] > 0
        picks = [
            np.flatnonzero(ok & fused & (t >= 0) & (t < until))
            for t, ok in ((first, True), (stale, stale > first), (bad, bad > stale))
        ]
        at = np.concatenate([t[pick] for t, pick in zip((first, stale, bad), picks, strict=True)])
        pick = np.concatenate(picks)
        order = np.lexsort((at, row[pick]))
        return row[pick][order], at[order], place[pick][order]

    def _gathered(self, found: Sequence[_Due]) -> Iterator[Report]:
        """Rows of one instant and interval as one report, those of the first bank first."""
        t = np.concatenate([d.t_ns for d in found])
        every = np.concatenate([d.every_ns for d in found])
        bank = np.repeat(np.arange(len(found)), [len(d.row) for d in found])
        index = np.concatenate([np.arange(len(d.row)) for d in found])
        row = np.concatenate([d.row for d in found])
        order = np.lexsort((row, bank, every, t))
        t, every, bank, index, row = t[order], every[order], bank[order], index[order], row[order]
        edges = np.flatnonzero((np.diff(t) != 0) | (np.diff(every) != 0)) + 1
        bounds = [0, *edges.tolist(), len(t)]
        for start, stop in pairwise(bounds):
            if start < stop:
                yield self._report(found, int(t[start]), bank[start:stop], index[start:stop], row[start:stop])

    def _report(
        self,
        found: Sequence[_Due],
        t_ns: int,
        bank: NDArray[np.int64],
        index: NDArray[np.int64],
        row: NDArray[np.int64],
    ) -> Report:
        pairs = zip(bank.tolist(), row.tolist(), strict=True)
        columns = tuple(chain.from_iterable(self._columns[b][r] for b, r in pairs))
        means, stds, qualities = [], [], []
        for number in [int(bank[0])] if bank[0] == bank[-1] else np.unique(bank).tolist():
            due, of = found[number], index[bank == number]
            means.append(due.mean[of].ravel())
            stds.append(due.std[of].ravel())
            qualities.append(np.repeat(due.quality[of], due.mean.shape[1]))
        return Report(t_ns, columns, np.concatenate(means), np.concatenate(stds), np.concatenate(qualities))
