"""Rows of ``states.csv``: every state of a twin at each of its sample times, or on a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.engine import Engine
from edgetwin.errors import SourceError
from edgetwin.replay.feed import Block
from edgetwin.replay.tables import Table
from edgetwin.replay.window import Window

INSTANTS_MAX = 100_000_000
"""Longest grid: one wild time stamp must not fill the disk."""

_ROWS_MAX = 65_536


class States:
    """Writes the states of all twins; ``every_ns`` is the step of the grid, None for the sample times.

    A row stands for what was known once every sample of its instant had been judged. A late sample does not change rows
    that were written before it came.
    """

    def __init__(self, engine: Engine, table: Table, every_ns: int | None) -> None:
        self._table = table
        self._every_ns = every_ns
        self._twin_of_slot = np.array([t for t, twin in enumerate(engine.instances()) for _ in twin.slots], np.int64)
        self._twins = len(engine.names())
        self._bank_of = np.zeros(self._twins, np.int64)
        self._first_row = np.zeros(self._twins, np.int64)
        self._rows_of = np.zeros(self._twins, np.int64)
        self._labels: list[NDArray[np.object_]] = []
        for number, bank in enumerate(engine.banks):
            twin = bank.rows["twin"]
            self._bank_of[twin] = number
            np.add.at(self._rows_of, twin, 1)
            self._first_row[twin[::-1]] = np.arange(len(bank))[::-1]
            names = [(t, state) for columns in bank.columns for t, state, _ in columns]
            self._labels.append(np.array(names, object).reshape(len(bank), bank.size, 2))
        self._waiting = np.zeros(0, np.int64)
        self._instants = 0

    def add(self, windows: Sequence[Window], block: Block | None, start_ns: int, end_ns: int) -> None:
        """Write what falls into ``start_ns <= t < end_ns``; later samples of the block wait for the next call."""
        if self._every_ns is not None:
            for twin, t_ns in self._grid(start_ns, end_ns, self._every_ns):
                self._write(windows, twin, t_ns)
            return
        twin, t_ns = self._waiting, np.full(len(self._waiting), start_ns, np.int64)
        if block is not None:
            twin = np.concatenate([twin, self._twin_of_slot[block.slot]])
            t_ns = np.concatenate([t_ns, block.now_ns])
        self._waiting = np.unique(twin[t_ns >= end_ns])
        due = t_ns < end_ns
        order = np.lexsort((twin[due], t_ns[due]))
        twin, t_ns = twin[due][order], t_ns[due][order]
        fresh = np.ones(len(twin), np.bool_)
        fresh[1:] = (np.diff(twin) != 0) | (np.diff(t_ns) != 0)
        self._write(windows, twin[fresh], t_ns[fresh])

    def _grid(self, start_ns: int, end_ns: int, every_ns: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """All twins at the multiples of ``every_ns`` in the stretch, in pieces."""
        first, stop = -(-start_ns // every_ns), -(-end_ns // every_ns)
        self._instants += stop - first
        if self._instants > INSTANTS_MAX:
            message = f"states.csv would have more than {INSTANTS_MAX} instants up to t = {end_ns // NS} s"
            raise SourceError(message, hint="choose a longer --every, or mend the times of the recording")
        piece = max(_ROWS_MAX // max(self._twins, 1), 1)
        for k in range(first, stop, piece):
            instants = np.arange(k, min(k + piece, stop), dtype=np.int64) * every_ns
            yield np.tile(np.arange(self._twins), len(instants)), np.repeat(instants, self._twins)

    def _write(self, windows: Sequence[Window], twin: NDArray[np.int64], t_ns: NDArray[np.int64]) -> None:
        """``twin`` and ``t_ns`` are sorted by time, then twin."""
        times, twins, names, means, stds = [], [], [], [], []
        for number, window in enumerate(windows):
            mine = self._bank_of[twin] == number
            count = self._rows_of[twin[mine]]
            t = np.repeat(t_ns[mine], count)
            step = np.arange(len(t)) - np.repeat(np.cumsum(count) - count, count)
            row = np.repeat(self._first_row[twin[mine]], count) + step
            mean, std = window.predict(window.locate(row, t), t)
            times.append(np.repeat(t, window.bank.size))
            twins.append(np.repeat(twin[mine], count * window.bank.size))
            names.append(self._labels[number][row].reshape(-1, 2))
            means.append(mean.ravel())
            stds.append(std.ravel())
        t, mean, std = np.concatenate(times), np.concatenate(means), np.concatenate(stds)
        name = np.concatenate(names)
        keep = np.flatnonzero(~np.isnan(mean))
        if len(windows) > 1:
            keep = keep[np.lexsort((np.concatenate(twins)[keep], t[keep]))]
        self._table.write(t[keep], [name[keep, 0].tolist(), name[keep, 1].tolist()], [mean[keep], std[keep]])
