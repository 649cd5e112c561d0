"""What recurs: the mean innovation of a signal at each time of the day and of the week.

Harmonics (:mod:`edgetwin.kernels.seasons`) follow smooth shapes. Edges, and weekdays that differ, show as innovations
that come again a day or a week later. A table for each of the two periods holds their exponentially weighted mean by
phase; the forecast takes from it what a running regression of the innovations on it says it is worth, which is nothing
where nothing recurs. That is a seasonal random walk for each phase (Harvey, "Forecasting, Structural Time Series Models
and the Kalman Filter", 1989, §2.3.4) in the innovations instead of the signal: level and trend go on being updated by
all of the signal, which a linear filter may, so that whatever is learned here cannot make it unstable.

The tables stand beside the row, past[TABLES, i, phase, table]. A sample changes one entry of each; the row keeps what
it was, so that a row put back to an earlier sample (edgetwin.model.ordering) can put its tables back, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgetwin.kernels.jit import kernel
from edgetwin.kernels.seasons import PHASES, TABLES

PERIODS_NS = (86_400_000_000_000, 604_800_000_000_000)
MEAN_GAIN, WORTH_GAIN = 0.3, 0.005
CLIP = 3.0
ENTRY_MAX = 1e38
"""Beyond what a float32 holds nothing is remembered."""


@kernel
def start_recurring(row: Any) -> None:
    """Give each period as many phases as it has samples, where the table has room for them."""
    for k in range(2):
        phases = round(1e-9 * PERIODS_NS[k] / row["dt_mean"]) if row["dt_mean"] > 0.0 else 0
        row["phases"][k] = phases if 2 <= phases <= PHASES else 0
        if row["phases"][k] > 0:
            row["recurrent"] = 1


@kernel
def phase_of(row: Any, k: int, t: int) -> int:
    """Index of the instant ``t`` ns in table k; phases are centred on the first sample's."""
    phases = int(row["phases"][k])
    return int(((t - row["ring_start"]) % PERIODS_NS[k]) / PERIODS_NS[k] * phases + 0.5) % phases


@kernel
def share(row: Any, k: int) -> float:
    """How much of what table k remembers has been seen to come again, 0 to 1."""
    both, own = row["recurs"][k][0], row["recurs"][k][1]
    return min(both / own, 1.0) if both > 0.0 else 0.0


@kernel
def recurring(row: Any, past: Any, i: int, t: int) -> float:
    """What the innovation at ``t`` ns is foreseen to be, by the tables of row i."""
    total = 0.0
    for k in range(2):
        if row["phases"][k] > 0:
            total += share(row, k) * past[TABLES, i, phase_of(row, k, t), k]
    return total


@kernel
def recurring_update(row: Any, past: Any, i: int, t: int, foreseen: float, e: float, s: float) -> None:
    """Learn from an innovation that was ``foreseen`` but for ``e``, of variance ``s``; e is clipped at 3 std."""
    bound = CLIP * np.sqrt(s)
    left = foreseen + max(-bound, min(bound, e))
    inverse = 1.0 / s
    row["changes"] += 1
    for k in range(2):
        if row["phases"][k] > 0:
            p = phase_of(row, k, t)
            mean, worth = np.float64(past[TABLES, i, p, k]), share(row, k)
            row["changed"][k], row["was"][k] = p, mean
            if mean != 0.0:
                row["recurs"][k][0] += WORTH_GAIN * (left * mean * inverse - row["recurs"][k][0])
                row["recurs"][k][1] += WORTH_GAIN * (mean * mean * inverse - row["recurs"][k][1])
            entry = mean + MEAN_GAIN * (left - mean)
            past[TABLES, i, p, k] = entry if abs(entry) < ENTRY_MAX else 0.0
            left -= worth * mean


@kernel
def rewind(row: Any, before: Any, h: int, first: int, end: int, past: Any, i: int) -> None:
    """Put the tables of row i back to before sample ``first`` of the ``end`` in the history h of ``row``."""
    for k in range(end - 1, first - 1, -1):
        if k + 1 < end:
            undo(before[h, k + 1], before[h, k], past, i)
        else:
            undo(row, before[h, k], past, i)


@kernel
def undo(after: Any, before: Any, past: Any, i: int) -> None:
    """Take back what one sample did to the tables of row i, given the row after it and before it."""
    if after["changes"] != before["changes"]:
        for k in range(2):
            if after["phases"][k] > 0:
                past[TABLES, i, after["changed"][k], k] = after["was"][k]
