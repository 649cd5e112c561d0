"""Sensor against process on models of the library: the right sensor is put aside, and no good one is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numba
import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.engine.isolation import TRIALS_MAX
from edgetwin.model.ordering import COUNT, FORGOTTEN
from edgetwin.records import Quality
from tests.engine.assets import (
    NODES,
    TANK,
    VITALS,
    Asset,
    Fault,
    biased,
    drifting,
    noisy,
    run,
    silent,
    spiking,
    steps,
    stuck,
    told,
)
from tests.engine.build import SECOND, T0

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="hundreds of runs in plain Python take minutes")
RUNS = 10
END = T0 + 599 * 5 * SECOND


def outcome(asset: Asset, fault: Fault, **extra: Any) -> tuple[Engine, Counter[tuple[str, str]]]:
    print("seed 1")
    engine = run(asset, fault, runs=RUNS, samples=600, seed=1, **extra)
    return engine, Counter(told(engine, RUNS))


@pytest.mark.parametrize(
    ("asset", "signal", "sensor", "kind"),
    [
        (NODES, "core", biased(5.0), "biased"),
        (NODES, "case", biased(-5.0), "biased"),
        (NODES, "core", drifting(0.03), "drifting"),
        (NODES, "core", stuck(), "stuck"),
        (NODES, "core", noisy(1.0), "noisy"),
        (NODES, "case", spiking(10.0), "spiking"),
        (NODES, "core", silent(), "dropout"),
        (TANK, "outflow", biased(3.0), "biased"),
    ],
    ids=lambda p: getattr(p, "model", p if isinstance(p, str) else ""),
)
def test_a_bad_sensor_is_told_by_name(asset: Asset, signal: str, sensor: Any, kind: str) -> None:
    _, found = outcome(asset, Fault(sensors={signal: sensor}))
    assert found[kind, signal] >= RUNS - 1, found
    assert not {s for _, s in found} - {signal, ""}


@pytest.mark.parametrize(
    ("asset", "fault", "where"),
    [
        (NODES, Fault(drift={"core": 0.1}), "core/"),
        (NODES, Fault(drift={"case": 0.05}), "case/"),
        (NODES, Fault(parameters={"Rcs": 0.4}), "/Rcs"),
        (NODES, Fault(parameters={"Rsa": 0.4}), "case/"),
        (TANK, Fault(parameters={"q_max": 30.0}), "flow/q_max"),
        (TANK, Fault(drift={"level": -0.0005}), None),
    ],
)
def test_a_change_of_the_process_condemns_no_sensor(asset: Asset, fault: Fault, where: str | None) -> None:
    engine, found = outcome(asset, fault)
    changes = {place: n for (kind, place), n in found.items() if kind == "process_change"}
    assert sum(changes.values()) >= RUNS - 1, found
    assert where is None or changes[where] >= RUNS - 2
    assert (engine.health.slots["extra"] == 0).all()


@pytest.mark.parametrize(
    ("asset", "fault"),
    [
        (VITALS, Fault(sensors={"spo2": biased(-5.0)})),
        (VITALS, Fault(parameters={"spo2_set": 88.0})),
        (VITALS, Fault(parameters={"pressure_set": 60.0})),
    ],
    ids=["oximeter", "patient", "shock"],
)
def test_without_redundancy_nothing_is_concluded(asset: Asset, fault: Fault) -> None:
    """An oximeter that reads low and a patient who needs oxygen look the same: the sensor must not be put aside."""
    engine, found = outcome(asset, fault)
    assert found == {("", ""): RUNS}
    assert (engine.health.slots["extra"] == 0).all()
    faults = Counter(engine.health.fault(s) for s in range(len(engine.health.slots)))
    assert faults["sensor_or_process"] >= RUNS
    assert engine.isolation.trials <= TRIALS_MAX


def test_the_twin_goes_on_without_the_bad_sensor_and_takes_it_back() -> None:
    """Against runs of the same seed whose sensor is good: within a kelvin with isolation, far off without."""

    def ends_well(k: int, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return z + 5.0 * (k < 250)

    fault = Fault(onset=200, sensors={"core": ends_well})
    good, bad, blind = (
        steps(NODES, f, RUNS, 700, 2, **extra) for f, extra in ((None, {}), (fault, {}), (fault, {"isolate": False}))
    )
    for k, (a, b, c) in enumerate(zip(good, bad, blind, strict=True)):
        if k != 440:
            continue
        now = T0 + k * 5 * SECOND
        means = [[e.estimate(f"m{i}", None, now).states["core"].mean for i in range(RUNS)] for e in (a, b, c)]
        assert np.abs(np.subtract(means[1], means[0])).max() < 2.0
        assert np.abs(np.subtract(means[2], means[0])).min() > 2.0
        estimate = b.estimate("m0", None, now)
        health = estimate.signals["core"].health
        assert health is not None
        assert (estimate.quality, estimate.reason) == (Quality.UNCERTAIN, "core: sensor biased, not used")
        assert (health.fault, health.weighed) == ("biased", False)
        assert health.confidence > 0.9
        assert health.bias == pytest.approx(6.0, abs=0.5)  # clipped there
    events = Counter(e.kind for e in b.events.take() if e.data.get("signal") == "core")
    assert events == {"sensor_fault": RUNS, "sensor_restored": RUNS}
    rows = b.banks[0].rows
    assert (rows["r0"] == 0.09).all()
    assert b.estimate("m0", None, T0 + 699 * 5 * SECOND).quality is Quality.GOOD
    assert not [e for e in c.events.take() if e.kind in ("sensor_fault", "process_change")]


def test_a_sensor_put_aside_stays_so_over_a_restart() -> None:
    engine, _ = outcome(NODES, Fault(sensors={"core": biased(5.0)}))
    again = Engine(engine.config)
    assert again.restore(engine.snapshot(), END) == RUNS
    np.testing.assert_array_equal(again.banks[0].rows["r0"], engine.banks[0].rows["r0"])
    assert again.estimate("m0", None, END) == engine.estimate("m0", None, END)
    assert again.estimate("m0", None, END).reason == "core: sensor biased, not used"
    assert again.isolation.dump()["aside"] == engine.isolation.dump()["aside"] != []


def test_a_history_begins_anew_when_a_sensor_is_put_aside() -> None:
    """With lateness: nothing goes back to a filter that still believed the sensor."""
    engine, found = outcome(NODES, Fault(sensors={"core": biased(5.0)}), lateness=60.0)
    assert found["biased", "core"] >= RUNS - 1
    used = engine.banks[0].history.used[:RUNS]
    assert (used[:, FORGOTTEN] == 1).all()
    assert (used[:, COUNT] > 0).all()
    assert engine.ledger.balanced()
    assert (engine.banks[0].rows["r0"] > 1e6).sum() >= RUNS - 1


def test_trials_are_bounded_and_wait_their_turn() -> None:
    runs = TRIALS_MAX + 8
    engines = steps(NODES, Fault(onset=100, sensors={"core": biased(5.0)}), runs, 500, 4)
    most = max(engine.isolation.trials for engine in engines)
    assert most == TRIALS_MAX
