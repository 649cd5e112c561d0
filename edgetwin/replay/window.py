"""What the rows of one bank were, at every instant of a stretch of the clock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine.bank import Bank
from edgetwin.engine.trace import BankTrace
from edgetwin.model.tracing import Tracer
from edgetwin.replay.feed import Block


class Window:
    """The bank's rows from ``start_ns`` on, after every sample of a block.

    ``rows`` records[m] are versions of the rows, in order of arrival; the first are the rows as they were before the
    block. ``order`` int64[m] sorts them by row; in that order ``row`` int64[m] is the row that each is of, and
    ``since_ns`` int64[m] the clock from which it holds: until the next version of the same row.
    """

    def __init__(
        self,
        bank: Bank,
        tracer: Tracer,
        before: NDArray[np.void],
        start_ns: int,
        block: Block | None = None,
        trace: BankTrace | None = None,
    ) -> None:
        self.bank = bank
        self._tracer = tracer
        row, since = np.arange(len(before)), np.full(len(before), start_ns, np.int64)
        self.rows = before
        if block is not None and trace is not None:
            self.rows = np.concatenate([before, trace.after])
            row = np.concatenate([row, trace.row])
            since = np.concatenate([since, block.now_ns[trace.index]])
        self.order = np.argsort(row, kind="stable")
        self.row = row[self.order]
        self.since_ns = since[self.order]
        self._instants = np.unique(self.since_ns)
        self._key = self._keyed(self.row, self.since_ns)

    def locate(self, row: NDArray[np.int64], t_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in ``rows`` of the versions of ``row`` that hold at ``t_ns`` (start or later), int64[k] each."""
        return self.order[np.searchsorted(self._key, self._keyed(row, t_ns), side="right") - 1]

    def predict(
        self, place: NDArray[np.int64], t_ns: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and standard deviations float64[k, states] of versions at instants; NaN before any sample."""
        mean = np.empty((len(place), self.bank.size))
        variance = np.empty_like(mean)
        self._tracer.predict_each(self.rows, place, t_ns, mean, variance)
        return mean, np.sqrt(variance)

    def _keyed(self, row: NDArray[np.int64], t_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """One number that sorts by row, then by instant."""
        rank = np.searchsorted(self._instants, t_ns, side="right")
        return row * (len(self._instants) + 1) + rank
