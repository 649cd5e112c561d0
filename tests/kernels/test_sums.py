"""Sums of raw samples beside exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgetwin.kernels.sums import SUM, accumulate

T_MAX = 10**18


def sums(n: int = 1) -> NDArray[np.void]:
    made = np.zeros(n, SUM)
    made["scale"], made["lo"], made["hi"] = 1.0, -np.inf, np.inf
    return made


def enter(to: NDArray[np.void], t: list[int], x: list[float], slot: list[int] | None = None) -> None:
    with np.errstate(all="ignore"):
        accumulate(to, np.array(slot or [0] * len(t), np.int32), np.array(t, np.int64), np.array(x, np.float64), T_MAX)


VALUES = st.floats(-1e12, 1e12) | st.sampled_from([1e16, -1e16, 1.0, 0.1, 1e-9])


@given(st.lists(VALUES, min_size=1, max_size=50), st.integers(1, 50))
@settings(deadline=None)
def test_the_mean_is_that_of_exact_arithmetic_however_it_is_batched(values: list[float], cut: int) -> None:
    whole, parts = sums(), sums()
    t = list(range(1, len(values) + 1))
    enter(whole, t, values)
    enter(parts, t[:cut], values[:cut])
    enter(parts, t[cut:], values[cut:])
    assert whole.tobytes() == parts.tobytes()
    (row,) = whole
    assert (row["count"], row["low"], row["high"]) == (len(values), min(values), max(values))
    assert row["duration"] == len(values) - 1
    exact = sum(map(Fraction, values))
    size = sum(abs(Fraction(v)) for v in values)
    assert abs(Fraction(float(row["total"] + row["error"])) - exact) <= abs(exact) * Fraction(2) ** -52 + size * Fraction(2) ** -98  # fmt: skip


def test_what_is_no_reading_is_left_out() -> None:
    own = sums()
    own["lo"], own["hi"] = -10.0, 10.0
    own["scale"], own["offset"] = 2.0, 1.0
    enter(own, [5, 5, 6, 7, 8, 9, 0, -3, T_MAX + 1], [1.0, 1.0, np.nan, np.inf, -np.inf, 5.0, 1.0, 1.0, 1.0])
    (row,) = own
    assert (row["count"], row["low"], row["high"], row["total"]) == (1, 3.0, 3.0, 3.0)


def test_late_samples_count_and_add_no_duration() -> None:
    own = sums()
    enter(own, [10, 20, 15, 20, 30], [1.0, 2.0, 9.0, 3.0, 4.0])
    (row,) = own
    assert (row["count"], row["duration"], row["last_t"], row["high"]) == (5, 20, 30, 9.0)


def test_slots_are_kept_apart() -> None:
    own = sums(3)
    enter(own, [1, 1, 2, 2], [1.0, 5.0, 2.0, 7.0], [0, 2, 0, 2])
    assert own["count"].tolist() == [2, 0, 2]
    assert own["total"].tolist() == [3.0, 0.0, 12.0]
