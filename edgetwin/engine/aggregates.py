"""What the raw samples of each signal were, interval by interval, whatever the filters made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.config.schema import Twin
from edgetwin.engine.packing import Pairs
from edgetwin.kernels.sums import SUM, accumulate
from edgetwin.records import Batch, SignalKey, SignalSummary

ROWS_MAX = 16_384
"""Signals in one summary: about 800 kB."""

_CONFIGURED = ("scale", "offset", "lo", "hi")


class Aggregates:
    """One row of sums for each slot. A sample belongs to the interval in which it arrived."""

    def __init__(self) -> None:
        self._sums: NDArray[np.void] = np.zeros(16, SUM)
        self._every: NDArray[np.int64] = np.zeros(16, np.int64)
        self._keys: list[SignalKey] = []
        self._last: dict[int, int] = {}

    def add(self, twin: str, slots: Mapping[str, int], spec: Twin) -> None:
        """The signals of a twin; slots come in ascending order."""
        for name, slot in slots.items():
            assert slot == len(self._keys), "slots are given out one after the other"
            if slot == len(self._sums):
                self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)])
                self._every = np.concatenate([self._every, np.zeros_like(self._every)])
            signal = spec.signals[name]
            low, high = signal.range or (-np.inf, np.inf)
            row = self._sums[slot]
            row["scale"], row["offset"], row["lo"], row["hi"] = signal.scale, signal.offset, low, high
            self._every[slot] = max(round(spec.report.summary_every * NS), 1)
            self._keys.append((twin, name, signal.unit))

    def enter(self, batch: Batch, t_max: int) -> None:
        """Count samples; see :func:`edgetwin.kernels.sums.accumulate`."""
        accumulate(self._sums, batch.slot, batch.t_ns, batch.value, t_max)

    def take(self, now_ns: int, *, all_of_it: bool = False) -> list[SignalSummary]:
        """Summaries that are due at ``now_ns``, dated at the multiple of their interval that has just passed; with
        ``all_of_it`` (at a stop) of everything, dated now. What was taken begins again."""
        found: list[SignalSummary] = []
        every = self._every[: len(self._keys)]
        for every_ns in np.unique(every).tolist():
            instant = now_ns if all_of_it else now_ns - now_ns % every_ns
            due = all_of_it or instant > self._last.get(every_ns, instant)  # the first call only looks at the clock
            self._last[every_ns] = max(instant, self._last.get(every_ns, instant))
            if due:
                slots = np.flatnonzero((every == every_ns) & (self._sums["count"][: len(self._keys)] > 0))
                found += [self._summary(instant, slots[k : k + ROWS_MAX]) for k in range(0, len(slots), ROWS_MAX)]
        return found

    def start_again(self) -> None:
        """The clock has stepped: no duration spans the step."""
        self._sums["last_t"] = 0
        self._last.clear()

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        return {"sums": self._sums[: len(self._keys)], "last": self._last}

    def load(self, saved: dict[str, Any], slots: Pairs, t_max: int) -> None:
        """Go on from what :meth:`dump` gave, for the slots that still exist; instants after ``t_max`` are forgotten."""
        to, source = slots
        for name in set(SUM.names or ()) - set(_CONFIGURED):
            self._sums[name][to] = saved["sums"][name][source]
        self._last = {every_ns: t_ns for every_ns, t_ns in saved["last"].items() if t_ns <= t_max}

    def _summary(self, t_ns: int, slot: NDArray[np.int64]) -> SignalSummary:
        rows = self._sums[slot]
        with np.errstate(over="ignore", invalid="ignore"):  # a sum beyond all bounds has no mean
            mean = np.clip((rows["total"] + rows["error"]) / rows["count"], rows["low"], rows["high"])
        summary = SignalSummary(
            t_ns=t_ns,
            signals=tuple(self._keys[k] for k in slot.tolist()),
            count=rows["count"].copy(),
            low=rows["low"].copy(),
            high=rows["high"].copy(),
            mean=mean,
            duration_s=rows["duration"] / NS,
        )
        for name in ("count", "total", "error", "duration"):
            self._sums[name][slot] = 0
        return summary
