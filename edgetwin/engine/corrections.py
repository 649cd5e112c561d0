"""What was told of a twin and is no longer so, because a sample came late.

A report tells the state at an instant as the samples known then have it. When a sample of before that instant comes
late and is fused where it belongs (edgetwin.model.ordering), the state at that instant changes. This module remembers
the last INSTANTS_MAX reports of every row that accepts late samples and enters an event ``correction`` for each told
state that has changed: ``twin``, ``state``, ``mean`` and ``std`` as they should have been told, and
``previous_mean``, ``previous_std`` as they were; the event's time is the instant of the report. So a receiver
that replaces (twin, state, t) ends up with what it would hold had every sample come in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine.bank import Bank
from edgetwin.engine.events import EventLog
from edgetwin.model.ordering import COUNT, LATE, UNCHANGED

INSTANTS_MAX = 8
"""Reports remembered per row. An older one is not corrected."""


class Corrections:
    """The reports of one bank's rows that may still change.

    ``told`` int64[h, INSTANTS_MAX] are their instants in ns (0: none), ``mean`` and ``std`` float64[h, INSTANTS_MAX,
    size] what was told; h counts the rows that have a history.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._next = np.zeros(0, np.int64)
        self._told = np.zeros((0, INSTANTS_MAX), np.int64)
        self._mean = np.zeros((0, INSTANTS_MAX, bank.size))
        self._std = np.zeros_like(self._mean)

    def note(self, index: NDArray[np.int64], t_ns: int, mean: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        """Rows ``index`` were told at ``t_ns`` as ``mean`` and ``std`` float64[len(index), size]."""
        history = self._bank.rows["history"][index] - 1
        kept = np.flatnonzero(history >= 0)
        if not len(kept):
            return
        self._extend(int(self._bank.rows["history"].max()))
        h = history[kept]
        at = self._next[h]
        self._told[h, at] = t_ns
        self._mean[h, at], self._std[h, at] = mean[kept], std[kept]
        self._next[h] = (at + 1) % INSTANTS_MAX

    def look(self, log: EventLog) -> NDArray[np.int64]:
        """Enter what has changed since the last call; gives the rows (int64) whose past has changed."""
        used = self._bank.history.used
        changed = np.flatnonzero(used[:, LATE] != UNCHANGED)
        if not len(changed):
            return changed
        self._extend(len(used))
        row_of = np.zeros(len(used), np.int64)
        with_history = np.flatnonzero(self._bank.rows["history"] > 0)
        row_of[self._bank.rows["history"][with_history] - 1] = with_history
        for h in changed.tolist():
            since = int(used[h, LATE])
            for k in np.argsort(self._told[h], kind="stable").tolist():
                if self._told[h, k] >= since and self._told[h, k] > 0:
                    self._correct(int(row_of[h]), h, k, log)
        used[changed, LATE] = UNCHANGED
        return row_of[changed]

    def forget(self) -> None:
        """Correct none of what has been told so far."""
        self._told[:] = 0

    def dump(self) -> list[Any]:
        """For a snapshot."""
        return [self._next, self._told, self._mean, self._std]

    def resume(self, saved: list[Any]) -> None:
        """Go on from what :meth:`dump` gave for the same rows."""
        self._next, self._told, self._mean, self._std = saved

    def _correct(self, row: int, h: int, k: int, log: EventLog) -> None:
        t_ns = int(self._told[h, k])
        mean, std = self._as_of(row, h, t_ns)
        if np.isnan(mean).any():
            return
        for i, (twin, state, _) in enumerate(self._bank.columns[row]):
            if mean[i] == self._mean[h, k, i] and std[i] == self._std[h, k, i]:
                continue
            log.add(
                "correction",
                t_ns,
                twin=twin,
                state=state,
                mean=float(mean[i]),
                std=float(std[i]),
                previous_mean=float(self._mean[h, k, i]),
                previous_std=float(self._std[h, k, i]),
            )
        self._mean[h, k], self._std[h, k] = mean, std

    def _as_of(self, row: int, h: int, t_ns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The state at ``t_ns`` by the samples up to then; NaN when they have been forgotten."""
        before, samples, used = self._bank.history[:3]
        n = int(used[h, COUNT])
        p = int(np.searchsorted(samples["t"][h, :n], t_ns, side="right"))
        then = self._bank.rows[row : row + 1] if p == n else before[h, p : p + 1]
        mean, variance = np.empty((1, self._bank.size)), np.empty((1, self._bank.size))
        self._bank.kernels.predict(then.copy(), np.zeros(1, np.int64), t_ns, mean, variance)
        return mean[0], np.sqrt(variance[0])

    def _extend(self, histories: int) -> None:
        more = histories - len(self._next)
        if more > 0:
            self._next = np.concatenate([self._next, np.zeros(more, np.int64)])
            self._told = np.concatenate([self._told, np.zeros((more, INSTANTS_MAX), np.int64)])
            blank = np.full((more, INSTANTS_MAX, self._bank.size), np.nan)
            self._mean, self._std = np.concatenate([self._mean, blank]), np.concatenate([self._std, blank])
