"""Offsets of devices' clocks: against delays that are known, and against a plain restatement of the rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.kernels import clocks as kernel

S = 10**9
NOW = 1_800_000_000 * S
DAY = 86_400 * S


def judge(
    clocks: np.ndarray, t: list[int], now: int = NOW, mode: int = kernel.DEVICE, trusted: bool = True
) -> tuple[list[int], list[int]]:
    """The stamps taken and the counts."""
    stamps = np.array(t, np.int64)
    counts, example = np.zeros(kernel.FIGURES, np.int64), np.zeros((kernel.FIGURES, 2), np.int64)
    slots = np.zeros(len(t), np.int32)
    kernel.judge(clocks, slots, stamps, now, 10 * S, 365 * DAY, 3600 * S, trusted, mode, counts, example)
    return stamps.tolist(), counts.tolist()


def clock() -> np.ndarray:
    clocks = np.zeros(1, kernel.CLOCK)
    clocks["device"] = 1
    return clocks


@pytest.mark.parametrize("offset_s", [-1800.0, -3.0, 0.0, 0.5, 8.0])
def test_the_offset_is_found_to_within_the_shortest_delay(offset_s: float) -> None:
    seed = 3
    print("seed", seed)
    rng = np.random.default_rng(seed)
    clocks = clock()
    for k in range(3000):
        arrival = NOW + k * S
        delay = 0.02 + rng.exponential(0.3)
        judge(clocks, [arrival + round((offset_s - delay) * S)], arrival)
    found = -min(int(clocks["low"][0]), int(clocks["low_before"][0])) / S
    assert offset_s - 0.05 < found <= offset_s - 0.02 + 1e-6
    assert 0.15 < clocks["jitter"][0] / S < 0.6


def test_a_clock_that_is_set_is_noticed_once_and_followed() -> None:
    clocks, changed = clock(), 0
    for k in range(2000):
        arrival = NOW + k * S
        offset = 0 if k < 800 else -90 * S
        _, counts = judge(clocks, [arrival + offset - S // 50], arrival)
        changed += counts[kernel.CHANGED]
    assert changed == 1
    assert min(clocks["low"][0], clocks["low_before"][0]) == 90 * S + S // 50


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), st.booleans())
def test_what_is_beyond_the_limits_is_refused_or_dated_by_arrival(stamps: list[int], trusted: bool) -> None:
    out, counts = judge(clock(), stamps, trusted=trusted)
    fine = [NOW - 365 * DAY <= t <= NOW + 10 * S for t in stamps]
    instead = kernel.REFUSED if trusted else NOW
    assert out == [t if good else instead for t, good in zip(stamps, fine, strict=True)]
    assert counts[kernel.AHEAD] + counts[kernel.BEHIND] == fine.count(False)
    assert counts[kernel.SUBSTITUTED] == (0 if trusted else fine.count(False))


def test_corrected_stamps_never_lie_ahead_of_their_arrival() -> None:
    seed = 4
    print("seed", seed)
    rng = np.random.default_rng(seed)
    clocks = clock()
    for k in range(1000):
        arrival = NOW + k * S
        stamp = arrival + 40 * S - round((0.1 + rng.exponential(0.2)) * S)
        (taken,), _ = judge(clocks, [stamp], arrival, kernel.CORRECTED)
        assert arrival - 3 * S < taken <= arrival
    assert taken - (stamp - 40 * S) < S // 2


def test_an_offset_beyond_the_bound_is_not_corrected() -> None:
    (taken,), _ = judge(clock(), [NOW - 2 * 3600 * S], mode=kernel.CORRECTED)
    assert taken == NOW - 2 * 3600 * S
    assert judge(clock(), [NOW + 2 * 3600 * S], mode=kernel.CORRECTED)[0] == [kernel.REFUSED]


def test_arrival_mode_and_slots_without_a_clock() -> None:
    assert judge(clock(), [NOW - S], mode=kernel.ARRIVAL)[0] == [NOW]
    assert judge(np.zeros(1, kernel.CLOCK), [NOW + DAY, 5])[0] == [NOW + DAY, 5]
