from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgetwin.kernels.scores import rank_scores


def scored(
    nis: NDArray[np.float64], window: int = 1000, slots: NDArray[np.int32] | None = None, seen: int = 0
) -> NDArray[np.float64]:
    slot = np.zeros(len(nis), np.int32) if slots is None else slots
    memory = np.empty((int(slot.max()) + 1, window))
    out = np.empty(len(nis))
    rank_scores(slot, nis, memory, np.full(len(memory), seen, np.int64), out)
    return out


def naive(nis: NDArray[np.float64], window: int) -> list[float]:
    past: list[float] = []
    out = []
    for v in nis.tolist():
        if not v >= 0:
            out.append(0.0)
            continue
        recent = past[-window:]
        above = sum(p >= v for p in recent)
        tie = max(recent) / v if recent and not above else math.erfc(math.sqrt(v / 2))
        out.append(1 - (above + tie) / (len(recent) + 1))
        past.append(v)
    return out


def test_as_in_plain_python() -> None:
    nis = np.random.default_rng(3).chisquare(1, 300)
    nis[::17] = np.nan
    np.testing.assert_array_equal(scored(nis, 40), naive(nis, 40))


def test_signals_are_scored_by_themselves() -> None:
    rng = np.random.default_rng(4)
    slot = rng.integers(0, 3, 500).astype(np.int32)
    nis = rng.chisquare(1, 500) * 10.0**slot
    out = scored(nis, 50, slot)
    for s in range(3):
        np.testing.assert_array_equal(out[slot == s], scored(nis[slot == s], 50))


def test_the_first_innovations_are_passed_over() -> None:
    out = scored(np.array([1e6, 1e6, 0.4, 0.4]), seen=-2)
    assert out[:2].tolist() == [0.0, 0.0]
    assert out[2] == pytest.approx(1 - math.erfc(math.sqrt(0.2)))
    assert out[3] == pytest.approx(1 - (1 + math.erfc(math.sqrt(0.2))) / 2)


def test_what_was_never_seen_is_still_ordered() -> None:
    nis = np.random.default_rng(6).chisquare(1, 1000)
    out = [scored(np.append(nis, high))[-1] for high in (20.0, 200.0, 1e6, 1e12)]
    assert out == sorted(set(out))
    assert 0.999 < out[0] < out[-1] < 1
