"""What the cloud may be told less of: how exactly each state is wanted, and what the model says comes next.

The tolerance of a state is that of the configuration. Where it says nothing, it is the standard deviation of the
measurement noise for a state that is measured as it is, and that divided by the report interval (squared) for the rate
(acceleration) above it. It is NaN, not known, for other states and while the noise is not known.

The model over one report interval is linearised by central differences, one standard deviation to either side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.config.schema import Reporting
from edgetwin.engine.bank import Bank
from edgetwin.engine.twins import TwinInstance
from edgetwin.records import Dynamics, Foreseen

_T = 10**18
_NEGLIGIBLE, _NEGLIGIBLE_DRIFT = 1e-6, 0.01

Column = tuple[str, str, str]
RowsOf = Callable[[Bank], NDArray[np.void]]


class Foresight:
    """Knows where every column of every bank stands; banks and their rows only become more."""

    def __init__(self) -> None:
        self._places: dict[Column, tuple[int, int, int]] = {}
        self._known: list[int] = []

    def look(
        self, columns: Sequence[Column], banks: Sequence[Bank], twins: Sequence[TwinInstance], rows_of: RowsOf
    ) -> Foreseen:
        """Of ``columns``; a row's states have a model where they stand together in their order."""
        self._extend(banks)
        nowhere = (-1, 0, 0)
        places = [self._places.get(column, nowhere) for column in columns]
        bank_of, row_of, state_of = np.array(places, np.int64).reshape(-1, 3).T
        tolerance = np.full(len(columns), np.nan)
        dynamics: list[Dynamics] = []
        for number in np.unique(bank_of[bank_of >= 0]).tolist():
            bank, mine = banks[number], np.flatnonzero(bank_of == number)
            rows = rows_of(bank)
            reports = [twins[t].spec.report for t in rows["twin"][row_of[mine]].tolist()]
            every_ns = np.array([max(round(report.every * NS), 1) for report in reports], np.int64)
            noise = bank.noise(rows)[row_of[mine], state_of[mine]]
            noise[~((noise > 0) & (noise < np.inf))] = np.nan
            noise /= (every_ns / NS) ** np.array(bank.orders)[state_of[mine]]
            tolerance[mine] = _configured(reports, [columns[k][1] for k in mine.tolist()], noise)
            dynamics += _models(bank, rows, mine, row_of[mine], state_of[mine], every_ns)
        return Foreseen(tolerance, tuple(dynamics))

    def _extend(self, banks: Sequence[Bank]) -> None:
        self._known += [0] * (len(banks) - len(self._known))
        for number, bank in enumerate(banks):
            for row in range(self._known[number], len(bank)):
                for k, column in enumerate(bank.columns[row]):
                    self._places[column] = number, row, k
            self._known[number] = len(bank)


def _configured(reports: list[Reporting], states: list[str], else_: NDArray[np.float64]) -> NDArray[np.float64]:
    """The tolerances of the configuration, and ``else_`` float64[n] where it has none."""
    own = [report.tolerance.get(state, np.nan) for report, state in zip(reports, states, strict=True)]
    return np.where(np.isnan(own), else_, own)


def _models(
    bank: Bank,
    rows: NDArray[np.void],
    position: NDArray[np.int64],
    row: NDArray[np.int64],
    state: NDArray[np.int64],
    every_ns: NDArray[np.int64],
) -> list[Dynamics]:
    """The models of the rows whose states stand together: at ``position`` is ``state`` of ``row``."""
    n = bank.size
    if len(position) < n:
        return []
    starts = np.flatnonzero(state[: len(state) - n + 1] == 0)
    for k in range(1, n):
        at = starts + k
        starts = starts[(position[at] == position[starts] + k) & (row[at] == row[starts]) & (state[at] == k)]
    found = []
    for interval_ns in np.unique(every_ns[starts]).tolist():
        of = starts[every_ns[starts] == interval_ns]
        matrix = linearise(bank, rows[row[of]], interval_ns)
        finite = np.isfinite(matrix).all(axis=(1, 2))
        if finite.any():
            found.append(Dynamics(interval_ns, position[of][finite], matrix[finite]))
    return found


def linearise(bank: Bank, rows: NDArray[np.void], interval_ns: int) -> NDArray[np.float32]:
    """float32[len(rows), n, n + 1], b and D of :class:`edgetwin.records.Dynamics`, about the states of ``rows``."""
    n = bank.size
    rows = rows.copy()
    rows["t"], rows["updates"] = _T, np.maximum(rows["updates"], 1)
    x = np.stack([rows[f"x{i}"] for i in range(n)], axis=1)
    std = np.sqrt(_predicted(bank, rows, 0)[1])
    std[~(std > 0)] = 1.0
    ahead = _predicted(bank, rows, interval_ns)[0]
    change = np.empty((len(rows), n, n))
    for j in range(n):
        rows[f"x{j}"] = x[:, j] + std[:, j]
        above = _predicted(bank, rows, interval_ns)[0]
        rows[f"x{j}"] = x[:, j] - std[:, j]
        change[:, :, j] = (above - _predicted(bank, rows, interval_ns)[0]) / (2 * std[:, j, None])
        rows[f"x{j}"] = x[:, j]
    change -= np.eye(n)
    change[np.abs(change) * std[:, None, :] < _NEGLIGIBLE * std[:, :, None]] = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond all bounds is no model
        matrix = change.astype(np.float32)
        drift = ahead - x - np.einsum("rij,rj->ri", matrix.astype(np.float64), x)
        drift[np.abs(drift) < _NEGLIGIBLE_DRIFT * std] = 0.0
        return np.concatenate([drift[:, :, None].astype(np.float32), matrix], axis=2)


def _predicted(bank: Bank, rows: NDArray[np.void], after_ns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and variances float64[len(rows), n]."""
    mean, variance = np.empty((len(rows), bank.size)), np.empty((len(rows), bank.size))
    bank.kernels.predict(rows, np.arange(len(rows)), _T + after_ns, mean, variance)
    return mean, variance
