"""When a twin is reported, and with what.

Twins that share an interval are reported together, at multiples of the interval since the epoch. A signal
is in a report when it has fused a sample since its last report, when a late sample has changed it, or when its
quality has changed. Reports that a late sample has proved wrong are corrected by events (edgetwin.engine.corrections).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.engine.bank import Bank
from edgetwin.engine.corrections import Corrections
from edgetwin.engine.events import EventLog
from edgetwin.engine.twins import TwinInstance
from edgetwin.records import Report

QualityOfRows = Callable[[int, int], NDArray[np.uint8]]
"""From the number of a bank and an instant in ns to the quality of each row, uint8[rows]."""


class Reporter:
    """Remembers, for each cadence, the last instant reported and, for each row, the quality told last."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._told: dict[int, NDArray[np.uint8]] = {}
        self._corrections: dict[int, Corrections] = {}
        self._every: NDArray[np.int64] = np.zeros(0, np.int64)

    def report(
        self,
        banks: Sequence[Bank],
        twins: Sequence[TwinInstance],
        now_ns: int,
        log: EventLog,
        quality_of_rows: QualityOfRows,
    ) -> list[Report]:
        """Reports due at ``now_ns``, each dated at the multiple of its interval that has just passed.

        Corrections of earlier ones are entered into ``log``.
        """
        self._extend(twins)
        for number, bank in enumerate(banks):
            if number not in self._corrections:
                self._corrections[number] = Corrections(bank)
            changed = self._corrections[number].look(log)
            bank.rows["reported"][changed] = -1
        reports = []
        for every_ns in np.unique(self._every).tolist():
            instant = now_ns - now_ns % every_ns
            if instant <= self._last.get(every_ns, 0):
                continue
            self._last[every_ns] = instant
            report = self._collect(banks, every_ns, instant, quality_of_rows)
            if report is not None:
                reports.append(report)
        return reports

    def start_again(self) -> None:
        """The clock has stepped: what was told lies in another time."""
        self._last.clear()
        for corrections in self._corrections.values():
            corrections.forget()

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        corrections = {number: one.dump() for number, one in self._corrections.items()}
        return {"last": self._last, "told": self._told, "corrections": corrections}

    def resume(self, saved: dict[str, Any], banks: Sequence[Bank], t_max: int) -> None:
        """Go on from what :meth:`dump` gave for the same banks and rows; instants after ``t_max`` are forgotten."""
        self._last = {every_ns: t_ns for every_ns, t_ns in saved["last"].items() if t_ns <= t_max}
        self._told = saved["told"]
        for number, one in saved["corrections"].items():
            self._corrections[number] = Corrections(banks[number])
            self._corrections[number].resume(one)

    def _extend(self, twins: Sequence[TwinInstance]) -> None:
        known = len(self._every)
        if known < len(twins):
            fresh = [max(round(t.spec.report.every * NS), 1) for t in twins[known:]]
            self._every = np.concatenate([self._every, np.array(fresh, np.int64)])

    def _collect(
        self, banks: Sequence[Bank], every_ns: int, instant: int, quality_of_rows: QualityOfRows
    ) -> Report | None:
        columns: list[tuple[str, str, str]] = []
        means, stds, qualities = [], [], []
        for number, bank in enumerate(banks):
            index, quality = self._due(number, bank, every_ns, quality_of_rows(number, instant))
            if not len(index):
                continue
            mean, std = bank.predict(index, instant)
            self._corrections[number].note(index, instant, mean, std)
            for row in index.tolist():
                columns.extend(bank.columns[row])
            means.append(mean.ravel())
            stds.append(std.ravel())
            qualities.append(np.repeat(quality, bank.size))
        if not columns:
            return None
        return Report(instant, tuple(columns), np.concatenate(means), np.concatenate(stds), np.concatenate(qualities))

    def _due(
        self, number: int, bank: Bank, every_ns: int, quality: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Rows of ``bank`` to report now, with their quality; marks them as told."""
        rows = bank.rows
        told = self._told.get(number, np.zeros(0, np.uint8))
        told = np.concatenate([told, np.full(len(rows) - len(told), 255, np.uint8)])
        fresh = (rows["fused"] != rows["reported"]) | (quality != told)
        due = fresh & (rows["updates"] > 0) & (self._every[rows["twin"]] == every_ns)
        index = np.flatnonzero(due)
        rows["reported"][index] = rows["fused"][index]
        told[index] = quality[index]
        self._told[number] = told
        return index, quality[index]
