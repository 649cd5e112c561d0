"""Twins that are wrong say so, by name; twins that are right do not."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.engine.growth import LOOKS
from edgetwin.records import Batch, Quality, SignalHealth
from tests.engine.assets import NODES, TANK, VITALS, Asset, Fault, run
from tests.engine.build import SECOND, T0, config, twin

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="hundreds of runs in plain Python take minutes")


def walk(n: int, q: float, r: float, seed: int = 4) -> np.ndarray:
    """A random walk seen through noise: what the model random_walk describes."""
    rng = np.random.default_rng(seed)
    print(f"seed {seed}")
    return np.cumsum(q * rng.normal(size=n)) + r * rng.normal(size=n)


def one_by_one(engine: Engine, values: np.ndarray) -> int:
    """Samples a second apart, a batch each; gives the time of the last."""
    for k, value in enumerate(values):
        t = np.array([T0 + k * SECOND])
        engine.ingest(0, Batch(np.zeros(1, np.int32), t, np.array([value])), int(t[0]))
    return T0 + (len(values) - 1) * SECOND


def of(engine: Engine, now: int, name: str = "m", signal: str = "x") -> tuple[SignalHealth, Quality, str]:
    estimate = engine.estimate(name, None, now)
    health = estimate.signals[signal].health
    assert health is not None
    return health, estimate.quality, estimate.reason


def test_a_twin_that_is_right_is_good() -> None:
    engine = Engine(config())
    health, quality, reason = of(engine, one_by_one(engine, walk(500, 0.1, 0.5)))
    assert (quality, reason, health.fault, health.finding) == (Quality.GOOD, "", "ok", "ok")
    assert health.nis_low < health.nis < health.nis_high
    assert abs(health.bias) < 0.5
    assert abs(health.whiteness) < 0.4
    assert health.samples == 500 - 10
    assert health.confidence == 0.0


@pytest.mark.parametrize(
    ("q", "r", "finding", "fault", "reason"),
    [
        (0.1, 1.5, "too_sure", "sensor_or_process", "x: too sure"),
        (0.03, 0.1, "too_unsure", "ok", "x: too unsure"),
        (1.5, 0.1, "lagging", "sensor_or_process", "x: lags"),
    ],
)
def test_wrong_noise_is_told(q: float, r: float, finding: str, fault: str, reason: str) -> None:
    engine = Engine(config([twin(gate=20.0)]))
    now = one_by_one(engine, walk(500, q, r))
    health, quality, why = of(engine, now)
    assert (health.finding, health.fault, quality, why) == (finding, fault, Quality.UNCERTAIN, reason)
    assert (health.confidence > 0.99) == (fault != "ok")
    assert engine.quality_counts(now).tolist() == [0, 1, 0]
    assert engine.health.counts()[finding] == 1
    (report,) = engine.report(now)
    assert report.quality.tolist() == [Quality.UNCERTAIN]


def test_an_unmodelled_input_is_told() -> None:
    engine = Engine(config([twin(gate=20.0)]))
    health, _, reason = of(engine, one_by_one(engine, walk(400, 0.1, 0.5) + 0.15 * np.arange(400)))
    assert (health.finding, reason) == ("biased", "x: biased")
    assert health.bias > 0.5


def test_few_samples_say_nothing() -> None:
    engine = Engine(config())
    health, _, _ = of(engine, one_by_one(engine, walk(20, 0.1, 0.5)))
    assert health.samples == 10
    assert math.isnan(health.nis)
    assert math.isnan(health.nis_high)
    assert health.finding == "ok"


def test_health_goes_on_after_a_restart() -> None:
    first = Engine(config([twin(gate=20.0)]))
    now = one_by_one(first, walk(500, 0.1, 1.5))
    second = Engine(config([twin(gate=20.0)]))
    second.restore(first.snapshot(), now)
    assert of(second, now) == of(first, now)
    one_by_one(second, np.zeros(0))
    third = Engine(config([twin("other"), twin(gate=20.0)]))
    third.restore(first.snapshot(), now)
    assert of(third, now) == of(first, now)


def test_traced_samples_are_judged_one_by_one() -> None:
    values = walk(500, 0.1, 1.5)
    plain, traced = Engine(config([twin(gate=20.0)])), Engine(config([twin(gate=20.0)]))
    now = one_by_one(plain, values)
    t = T0 + np.arange(500) * SECOND
    traced.ingest_traced(np.zeros(500, np.int32), Batch(np.zeros(500, np.int32), t, values), now)
    assert of(traced, now) == of(plain, now)


def test_a_stepped_clock_is_not_silence() -> None:
    engine = Engine(config())
    now = one_by_one(engine, walk(100, 0.1, 0.5))
    engine.clock_stepped(-3600 * SECOND, shift=True)
    values, back = walk(50, 0.1, 0.5, 5), now - 3600 * SECOND
    for k, value in enumerate(values, start=1):
        t = np.array([back + k * SECOND])
        engine.ingest(0, Batch(np.zeros(1, np.int32), t, np.array([value])), int(t[0]))
    assert of(engine, back + 50 * SECOND)[0].samples == 140


def test_a_state_that_no_sensor_holds_is_told() -> None:
    model = {
        "name": "leaky",
        "states": {"seen": {"initial": 0}, "hidden": {"initial": 0, "std": 0.1}},
        "derivatives": {"seen": "0", "hidden": "0.002*hidden"},
        "process_noise": {"seen": 0.1, "hidden": 0.1},
        "measurements": {"x": "seen"},
    }
    signals = {"x": {"source": "plant", "topic": "t", "noise": 0.5}}
    engine = Engine(config([{"name": "m", "model": "leaky", "signals": signals}], models=[model]))
    now = one_by_one(engine, walk(60 * LOOKS, 0.1, 0.5))
    assert of(engine, now)[1:] == (Quality.GOOD, "")
    now = one_by_one_on(engine, now, walk(180, 0.1, 0.5))
    assert of(engine, now)[1:] == (Quality.UNCERTAIN, "hidden: unobserved")
    assert engine.health.counts()["unobserved"] == 1


def one_by_one_on(engine: Engine, last: int, values: np.ndarray) -> int:
    """More samples after ``last``."""
    for k, value in enumerate(values, start=1):
        t = np.array([last + k * SECOND])
        engine.ingest(0, Batch(np.zeros(1, np.int32), t, np.array([value])), int(t[0]))
    return last + len(values) * SECOND


@pytest.mark.parametrize("asset", [NODES, TANK, VITALS], ids=lambda a: a.model)
def test_consistent_twins_of_the_library_stay_good(asset: Asset) -> None:
    """No finding, no trial, no event in any of 40 runs."""
    engine = run(asset, None, runs=40, samples=300, seed=12)
    assert engine.events.take() == []
    assert engine.isolation.trials == 0
    counts = engine.health.counts()
    assert counts["ok"] == sum(counts.values())


def test_a_wrong_parameter_is_told() -> None:
    engine = run(NODES, Fault(onset=0, parameters={"Cc": 250.0}), runs=10, samples=400, seed=13)
    names = [i.name for i in engine.instances()]
    now = T0 + 399 * 5 * SECOND
    assert all(engine.estimate(n, None, now).quality is Quality.UNCERTAIN for n in names)
