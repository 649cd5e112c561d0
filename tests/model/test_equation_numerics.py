"""Covariances that stay sound: extreme ratios of prior to noise, and long runs over irregular intervals."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from tests.model.endurance import is_sound, run, saturating
from tests.model.rig import SECOND, T0, rig

compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="thousands of steps in plain Python take minutes")

KINDS = [("ekf", True), ("ekf", False), ("ukf", False)]


@compiled
@pytest.mark.parametrize(("kind", "linear"), KINDS)
@pytest.mark.parametrize("ratio", [1e14, 1e24, 1e33, 1e42])
def test_extreme_ratios_of_prior_to_noise(kind: str, linear: bool, ratio: float) -> None:
    """P/R from 1e14 to 1e42 over 5,000 steps: symmetric and never negative (FAULTS row 49)."""
    noise = 1e-6
    r = rig(saturating(kind, noise * float(np.sqrt(ratio)), linear), noise={"x": noise, "both": 10 * noise})
    rng = np.random.default_rng(5)
    t = T0 + np.cumsum(rng.choice([0, 1, 10**6, SECOND, 3600 * SECOND], 5000))
    slot = rng.choice([r.slots[0]["x"], r.slots[0]["both"]], 5000)
    z = rng.normal(0, 1, 5000)
    for first in [0, 1, 2, 3, 4, 5, *range(10, 5000, 10)]:
        last = first + 1 if first < 5 else min(10 * (first // 10) + 10, 5000)
        r.feed(slot[first:last], t[first:last], z[first:last])
        assert is_sound(r), first
    assert r.bank.rows[0]["t"] == t[-1]


@compiled
@pytest.mark.parametrize(("kind", "linear"), KINDS)
def test_a_long_run_is_sound_and_reproducible(kind: str, linear: bool) -> None:
    model = saturating(kind, linear=linear)
    assert run(model, 100_000, seed=3) == run(model, 100_000, seed=3)
