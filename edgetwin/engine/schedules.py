"""Inputs over time, and the segments into which they and the output times cut a horizon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Schedule:
    """Values of one input at offsets in seconds from the fork, in order.

    Before the first offset the input keeps the value it has; from each on it has that value or, when ``linear``, moves
    evenly towards the next. After the last it stays. Of two points at one offset the later holds from there on: a jump.
    """

    offsets: tuple[float, ...]
    values: tuple[float, ...]
    linear: bool = False

    def __post_init__(self) -> None:
        """ConfigError when a number is not finite or offsets go back."""
        for k, (offset, value) in enumerate(zip(self.offsets, self.values, strict=True)):
            if not (math.isfinite(offset) and math.isfinite(value)):
                raise ConfigError("must be a finite number", path=f"[{k}]")
            if k and offset < self.offsets[k - 1]:
                raise ConfigError("goes back in time", path=f"[{k}]", hint="write the points in order of time")

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """One value throughout."""
        return cls((0.0,), (value,))


@dataclass(frozen=True, slots=True)
class Segments:
    """Consecutive stretches of time within which every input is linear.

    ``width`` float64[k] s; ``start`` and ``end`` float64[k, inputs]; ``record`` int64[k]: index into ``offsets`` of the
    segment's end, -1 when nothing is put out there. ``offsets`` float64[t] are the output times; the first is 0.
    """

    width: NDArray[np.float64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    record: NDArray[np.int64]
    offsets: NDArray[np.float64]

    def part(self, first: int, last: int, row: int) -> Segments:
        """The segments ``first`` to ``last - 1``, their records counted from output time ``row`` on."""
        here = slice(first, last)
        record = np.where(self.record[here] >= 0, self.record[here] - row, -1)
        return Segments(self.width[here], self.start[here], self.end[here], record, self.offsets)


def output_offsets(horizon_s: float, step_s: float) -> NDArray[np.float64]:
    """0, step, 2 step… and the horizon itself, seconds."""
    whole = math.floor(horizon_s / step_s * (1 + 1e-12))
    offsets: NDArray[np.float64] = step_s * np.arange(whole + 1, dtype=np.float64)
    if horizon_s - offsets[-1] > 1e-9 * step_s:
        return np.concatenate([offsets, [horizon_s]])
    offsets[-1] = horizon_s
    return offsets


def segments(offsets: NDArray[np.float64], schedules: Sequence[Schedule | None], held: Sequence[float]) -> Segments:
    """Cut the time up to the last of ``offsets`` at every output time and at every point of a schedule.

    ``held`` are the values the inputs have at the fork; without a schedule they keep them.
    """
    points = [np.array(s.offsets) for s in schedules if s is not None]
    inner = np.concatenate([p[(p > 0) & (p < offsets[-1])] for p in points]) if points else np.zeros(0)
    edges = np.union1d(offsets, inner)
    begin, until = np.append(0.0, edges[:-1]), edges
    columns = [_values(s, h, begin, until) for s, h in zip(schedules, held, strict=True)]
    both = np.array(columns).reshape(len(columns), 2, len(edges))
    record = np.searchsorted(offsets, edges)
    record[offsets[np.minimum(record, len(offsets) - 1)] != edges] = -1
    start, end = (np.ascontiguousarray(both[:, k].T) for k in range(2))
    return Segments(until - begin, start, end, record.astype(np.int64), offsets)


def _values(
    schedule: Schedule | None, held: float, begin: NDArray[np.float64], until: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The input at the two ends of each segment, approached from inside it."""
    if schedule is None or not schedule.offsets:
        return np.full(len(begin), held), np.full(len(begin), held)
    offsets, values = np.array(schedule.offsets), np.array(schedule.values)
    piece = np.searchsorted(offsets, begin, side="right") - 1
    known = piece >= 0
    first = np.where(known, values[piece], held)
    if not schedule.linear:
        return first, first
    after = np.minimum(piece + 1, len(offsets) - 1)
    span = offsets[after] - offsets[piece]
    slope = np.divide(values[after] - values[piece], span, out=np.zeros(len(begin)), where=known & (span > 0))
    ends = [np.where(known, values[piece] + slope * (t - offsets[piece]), held) for t in (begin, until)]
    return ends[0], ends[1]
