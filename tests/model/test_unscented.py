"""Unscented filters: moments that are known, bounds, and the features they share with the extended ones."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.engine.trace import Tracing
from edgetwin.records import Batch, Outcome
from tests.engine.build import config
from tests.engine.test_lateness import shuffled
from tests.model.rig import SECOND, T0, rig
from tests.model.test_equations_against_filterpy import MODELS, sequence


def still(measurement: str, n: int = 1, **state: Any) -> dict[str, Any]:
    """States that stand still."""
    names = "abcdefgh"[:n]
    return {
        "name": f"still_{n}",
        "filter": "ukf",
        "states": {name: {"initial": 2.0, "std": 0.5, **state} for name in names},
        "derivatives": dict.fromkeys(names, "0"),
        "measurements": {"z": measurement},
    }


@pytest.mark.parametrize("n", [1, 3])
def test_a_square_has_the_moments_of_a_gaussian(n: int) -> None:
    """E x² = m² + σ², var x² = 4 m² σ² + 2 σ⁴: exact for up to three states, where an extended filter has m², 4 m² σ²."""
    r = rig(still("a**2", n), noise={"z": 0.1})
    r.feed([r.slots[0]["z"]], [T0], [5.0])
    row = r.bank.rows[0]
    assert row["y0"] == pytest.approx(5.0 - (4 + 0.25), rel=1e-12)
    assert row["s0"] == pytest.approx(4 * 4 * 0.25 + 2 * 0.25**2 + 0.01, rel=1e-12)


def test_cubature_of_four_states_is_exact_for_a_product() -> None:
    """The mean of a*b of independent states is the product of the means; more than three states have no centre."""
    r = rig(still("a*b + c*d", 4), noise={"z": 0.1})
    r.feed([r.slots[0]["z"]], [T0], [8.0])
    assert r.bank.rows[0]["y0"] == pytest.approx(0.0, abs=1e-12)


def test_points_stay_within_bounds() -> None:
    """Of a level near zero, half of the points would have no root: they are taken at the bound."""
    model = {
        "name": "shallow",
        "filter": "ukf",
        "states": {"h": {"initial": 0.05, "std": 1.0, "min": 0.0}},
        "derivatives": {"h": "-0.1*h"},
        "process_noise": {"h": 0.01},
        "measurements": {"flow": "sqrt(h)"},
    }
    r = rig(model, noise={"flow": 0.05})
    r.feed([r.slots[0]["flow"]] * 40, T0 + np.arange(40) * SECOND, np.full(40, 0.3))
    assert r.bank.rows[0]["resets"] == 0
    assert r.engine.ledger.counts[0, Outcome.FUSED] == 40
    mean, std = r.bank.predict(np.array([0]), T0 + 39 * SECOND)
    assert mean[0, 0] == pytest.approx(0.09, abs=4 * std[0, 0])


def test_a_wide_prior_does_not_overclaim() -> None:
    """Range to a beacon from a wide prior: the extended filter is sure of what it does not know, this one is not."""
    shares = {}
    for kind in ("ekf", "ukf"):
        rng = np.random.default_rng(9)
        model = {
            "name": "beacon",
            "filter": kind,
            "states": {"x": {"initial": 0.3, "std": 1.0}, "y": {"initial": 0.3, "std": 1.0}},
            "derivatives": {"x": "0", "y": "0"},
            "measurements": {"range": "sqrt(x**2 + y**2)"},
        }
        r = rig(model, twins=400, noise={"range": 0.01})
        truth = 0.3 + rng.normal(size=(400, 2))
        z = np.hypot(*truth.T) + 0.01 * rng.normal(size=400)
        r.feed([s["range"] for s in r.slots], np.full(400, T0), z)
        mean, std = r.bank.predict(np.arange(400), T0)
        shares[kind] = (np.abs(mean - truth) < 1.96 * std).mean()
    print(shares)
    assert shares["ukf"] > 0.88 > shares["ekf"]


ROVER, OSCILLATOR = (MODELS[name] | {"filter": "ukf"} for name in ("rover", "oscillator"))


def fed(lateness: float, order: Any, samples: list[tuple[str, int, float]]) -> Any:
    r = rig(ROVER, lateness=lateness)
    for k in order:
        channel, t, value = samples[k]
        slot = r.slots[0][channel]
        r.engine.ingest(0, Batch(np.array([slot], np.int32), np.array([t]), np.array([value])), T0 + 10**12)
    return r


def test_late_samples_end_in_the_same_state() -> None:
    seed = time.time_ns() % 2**32
    print("seed", seed)
    rng = np.random.default_rng(seed)
    names = [*ROVER["measurements"], "steer"]
    samples = sorted({(t, c, v) for c, t, v in sequence(names, [], rng, 80)})
    found = [(c, t, 0.3 * v) for t, c, v in samples]
    straight = fed(1e6, range(len(found)), found)
    mixed = fed(1e6, shuffled(len(found), rng), found)
    assert straight.bank.rows.tobytes() == mixed.bank.rows.tobytes()
    assert mixed.engine.ledger.counts[0, Outcome.LATE_FUSED] > 0


def test_noise_is_learned_and_spikes_are_gated() -> None:
    print("seed 12")
    rng = np.random.default_rng(12)
    model = still("a**2", 1) | {"process_noise": {"a": 0.01}}
    bound = {"z": {"source": "plant", "topic": "z"}}
    engine = Engine(config([{"name": "m", "model": model["name"], "signals": bound}], models=[model]))
    z = 4.0 + 0.2 * rng.normal(size=600)
    z[[200, 300]] = 50.0
    engine.ingest(0, Batch(np.zeros(600, np.int32), T0 + np.arange(600) * SECOND, z), T0 + 10**13)
    row = engine.banks[0].rows[0]
    assert np.sqrt(row["r0"]) == pytest.approx(0.2, rel=0.15)
    assert engine.ledger.counts[0, Outcome.GATED] == 2
    assert row["resets"] == 0


def test_a_traced_run_takes_the_same_steps() -> None:
    print("seed 13")
    rng = np.random.default_rng(13)
    samples = sequence([*OSCILLATOR["measurements"]], [], rng, 60)
    plain, traced = rig(OSCILLATOR), rig(OSCILLATOR)
    slot = np.array([plain.slots[0][c] for c, _, _ in samples], np.int32)
    t, z = np.array([t for _, t, _ in samples]), np.array([0.3 * v for _, _, v in samples])
    plain.feed(slot, t, z)
    engine = traced.engine
    counts = np.zeros((1, 9), np.int64)
    n = len(traced.slots[0])
    trace = Tracing().run(
        engine.banks, np.zeros(n, np.int16), np.arange(n, dtype=np.int32), np.zeros(len(t), np.int32),
        Batch(slot, t, z), 2**62, counts,
    )  # fmt: skip
    assert traced.bank.rows.tobytes() == plain.bank.rows.tobytes()
    known = trace.outcome == Outcome.FUSED
    assert np.isfinite(trace.predicted[known]).all()
    np.testing.assert_allclose(trace.nis[known], ((trace.value - trace.predicted) / trace.std)[known] ** 2, rtol=1e-6)
