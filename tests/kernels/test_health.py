"""Health figures against plain NumPy, their bounds against SciPy, and the false alarms they are stated to have."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from scipy import stats

from edgetwin.engine.health import blank, forget_innovations
from edgetwin.kernels import health as kernel

SECOND = 10**9
COLUMNS = np.array([[0, 1, 2, 3, 4, 5]])


class Fleet:
    """Signals whose rows are written by hand: y, s, z, t, fused, gated."""

    def __init__(self, signals: int) -> None:
        self.slots = np.zeros(signals, kernel.HEALTH)
        blank(self.slots)
        self.slots["twin"] = np.arange(signals)
        self.floats = np.zeros((signals, 6))
        self.longs = self.floats.view(np.int64)
        self.floats[:, 1] = 1.0
        self.longs[:, 4] = kernel.WARMUP
        self._all = np.arange(signals, dtype=np.int32)

    def feed(self, y: np.ndarray, z: np.ndarray | None = None, gated: bool = False, fused: int = 1) -> None:
        """One sample of every signal, a second after the one before."""
        self.floats[:, 0] = y
        self.floats[:, 2] = y if z is None else z
        self.longs[:, 3] += SECOND
        self.longs[:, 5 if gated else 4] += fused
        self._run()

    def again(self) -> None:
        """A batch that changed nothing."""
        self._run()

    def _run(self) -> None:
        channel, bank = np.zeros_like(self._all), np.zeros(len(self._all), np.int16)
        kernel.feed(
            self.slots,
            self.floats,
            self.longs,
            COLUMNS,
            self._all,
            channel,
            bank,
            0,
            self._all,
            kernel.GAIN_LEAST,
            False,
        )

    def found(self) -> np.ndarray:
        finding = np.zeros(len(self.slots), np.uint8)
        kernel.judge(self.slots, np.zeros(len(self.slots), np.int64), finding)
        return finding


def test_the_figures_are_those_of_plain_recursions() -> None:
    print("seed 3")
    rng = np.random.default_rng(3)
    fleet = Fleet(4)
    fleet.floats[:, 1] = s = np.array([0.25, 1.0, 4.0, 9.0])
    bias, nis, pair = np.zeros(4), np.zeros(4), np.zeros(4)
    before = np.full(4, np.nan)
    for n in range(1, 151):
        y = rng.normal(0.3, 1.5, 4)
        fleet.feed(y)
        fleet.again()
        u = np.clip(y / np.sqrt(s), -kernel.CLIP, kernel.CLIP)
        gain = max(1 / n, 0.02)
        bias += gain * (u - bias)
        nis += gain * (u**2 - nis)
        if n > 1:
            pair += max(1 / (n - 1), 0.02) * (u * before - pair)
        before = u
    assert (fleet.slots["n"] == 150).all()
    np.testing.assert_allclose(fleet.slots["bias"], bias, rtol=1e-4)
    np.testing.assert_allclose(fleet.slots["nis"], nis, rtol=1e-4)
    np.testing.assert_allclose(fleet.slots["pair"], pair, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fleet.slots["interval"], 1.0, rtol=1e-6)


@pytest.mark.parametrize("n", [30, 50, 99])
@pytest.mark.parametrize("deviations", [-4.5, -2.0, 0.0, 2.0, 4.5])
def test_bounds_of_the_nis_are_quantiles_of_chi_square(n: int, deviations: float) -> None:
    exact = stats.chi2.ppf(stats.norm.cdf(deviations), n) / n
    assert kernel.nis_bound(n, deviations) == pytest.approx(exact, rel=0.04)
    assert kernel.nis_deviation(kernel.nis_bound(n, deviations), n) == pytest.approx(deviations, abs=1e-9)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="two million samples in plain Python take minutes")
def test_false_alarms_of_consistent_signals_are_as_rare_as_stated() -> None:
    """docs/health.md: less than one judgement in 10,000, and one signal in 200 in its first 1,000 samples."""
    print("seed 8")
    rng = np.random.default_rng(8)
    fleet = Fleet(2_000)
    wrong, judgements, ever = 0, 0, np.zeros(2_000, bool)
    for k in range(1_000):
        fleet.feed(rng.normal(size=2_000))
        if k % 10 == 9:
            found = fleet.found() > 0
            wrong, judgements, ever = wrong + int(found.sum()), judgements + len(found), ever | found
    assert wrong / judgements < 1e-4
    assert ever.mean() < 5e-3


@pytest.mark.parametrize(
    ("innovations", "finding"),
    [
        (lambda rng, n: rng.normal(1.0, 1, n), kernel.BIASED),
        (lambda rng, n: rng.normal(-0.8, 1, n), kernel.BIASED),
        (lambda rng, n: 2 * rng.normal(size=n), kernel.TOO_SURE),
        (lambda rng, n: 0.3 * rng.normal(size=n), kernel.TOO_UNSURE),
        (lambda rng, n: np.convolve(rng.normal(size=n + 3), [0.5] * 4, "valid"), kernel.LAGGING),
        (lambda rng, n: np.diff(rng.normal(size=n + 2), 2) / math.sqrt(6), kernel.OVERREACTING),
    ],
)
def test_each_kind_of_wrong_innovations_is_told(innovations: object, finding: int) -> None:
    print("seed 5")
    rng = np.random.default_rng(5)
    fleet = Fleet(20)
    series = np.array([innovations(rng, 400) for _ in range(20)])  # type: ignore[operator]
    for y in series.T:
        fleet.feed(y)
    found = fleet.found()
    assert (found == finding).mean() >= 0.9, np.bincount(found)


def test_noise_that_grows_is_told_from_noise_that_was_always_wrong() -> None:
    print("seed 6")
    rng = np.random.default_rng(6)
    fleet = Fleet(1)
    for k in range(600):
        fleet.feed(rng.normal(size=1) * (1.0 if k < 200 else 2.0))
        if k % 20 == 0:
            fleet.found()
    assert fleet.found() == kernel.NOISY


def test_a_stuck_value_is_told_unless_the_signal_often_rests() -> None:
    print("seed 7")
    rng = np.random.default_rng(7)
    fleet = Fleet(2)
    fine = np.arange(400.0)
    coarse = np.repeat(np.arange(40.0), 10)
    for z in zip(fine, coarse, strict=True):
        fleet.feed(rng.normal(size=2), np.array(z))
    for _ in range(12):
        fleet.feed(rng.normal(size=2), np.array([399.0, 39.0]))
    assert fleet.found().tolist() == [kernel.STUCK, kernel.OK]
    for _ in range(150):
        fleet.feed(rng.normal(size=2), np.array([399.0, 39.0]))
    assert (fleet.found() == kernel.STUCK).all()


def test_a_constant_signal_is_not_stuck() -> None:
    fleet = Fleet(1)
    rng = np.random.default_rng(1)
    for _ in range(1_000):
        fleet.feed(rng.normal(size=1), np.array([5.0]))
        assert fleet.found() == kernel.OK


def test_a_value_at_which_the_signal_has_rested_before_is_not_stuck() -> None:
    fleet = Fleet(1)
    rng = np.random.default_rng(1)
    found = []
    for _ in range(2):
        for _ in range(60):
            fleet.feed(rng.normal(size=1))
        for _ in range(40):
            fleet.feed(rng.normal(size=1), np.array([0.0]))
        found.append(int(fleet.found()[0]))
    assert found == [kernel.STUCK, kernel.OK]  # as in the nights of a light sensor


def test_gated_samples_are_spikes_when_single_and_rejections_when_many() -> None:
    print("seed 9")
    rng = np.random.default_rng(9)
    spiky, rejected = Fleet(1), Fleet(1)
    for k in range(400):
        spiky.feed(rng.normal(size=1), gated=k % 20 == 0)
        rejected.feed(rng.normal(size=1), gated=k % 40 < 4)
    assert spiky.found() == kernel.SPIKING
    assert rejected.found() == kernel.REJECTING
    assert spiky.slots["n"] == 380  # a gated innovation is not one of a consistent filter


def test_silence_counts_against_the_twin_not_the_clock() -> None:
    fleet = Fleet(2)
    fleet.slots["twin"] = 0
    rng = np.random.default_rng(2)
    for _ in range(30):
        fleet.feed(rng.normal(size=2))
    fleet.slots["t"][1] += 14 * SECOND
    assert fleet.found().tolist() == [kernel.OK, kernel.OK]
    fleet.slots["t"][1] += 2 * SECOND
    assert fleet.found().tolist() == [kernel.DROPOUT, kernel.OK]
    fleet.slots["stale_ns"] = 60 * SECOND
    assert fleet.found().tolist() == [kernel.OK, kernel.OK]


def test_late_samples_nan_and_restarts_leave_the_innovations_alone() -> None:
    fleet = Fleet(1)
    fleet.feed(np.ones(1))
    kept = fleet.slots["n"].copy(), fleet.slots["nis"].copy()
    fleet.longs[:, 3] -= SECOND
    fleet.longs[:, 4] += 1
    fleet.again()  # a late sample: the newest is as it was
    fleet.longs[:, 4] -= 1
    fleet.again()  # and has gated another
    fleet.longs[:, 3] += SECOND
    fleet.feed(np.zeros(1))  # begun from the sample
    fleet.floats[:, 1] = np.nan
    fleet.feed(np.ones(1))
    assert (fleet.slots["n"], fleet.slots["nis"]) == kept


def test_a_long_life_does_not_overflow() -> None:
    fleet = Fleet(1)
    fleet.slots["n"] = fleet.slots["seen"] = kernel.MATURE - 1
    fleet.slots["sound"] = kernel.MATURE - 10
    fleet.feed(np.ones(1))
    assert fleet.slots["n"] == kernel.MATURE // 2
    assert fleet.slots["sound"] == kernel.MATURE // 2 - 10
    forget_innovations(fleet.slots)
    assert fleet.slots["n"] == 0
    assert fleet.slots["seen"] == kernel.MATURE
