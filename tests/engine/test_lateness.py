"""Late samples within the window: any order of arrival ends in the same state, bit for bit."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.engine.bank import HISTORY_LENGTH
from edgetwin.records import Batch, Outcome
from tests.engine.build import SECOND, T0, config, twin

MODELS = ["random_walk", "constant_velocity", "constant_acceleration", "auto"]
WINDOW = 20

OVEN: dict[str, Any] = {
    "name": "oven",
    "states": {"T": {"initial": 20}, "W": {"initial": 20}},
    "inputs": {"heater": {}},
    "parameters": {"C": 12.0, "Cw": 40.0, "k": 0.8, "kw": 0.2},
    "derivatives": {"T": "(heater - k*(T - W)) / C", "W": "(k*(T - W) - kw*(W - 20)) / Cw"},
    "process_noise": {"T": 0.02, "W": 0.01},
    "measurements": {"temp": "T", "wall": "W"},
}


def oven_engine(lateness: float) -> Engine:
    signals = {
        "temp": {"source": "a", "topic": "t", "noise": 0.3},
        "wall": {"source": "b", "topic": "w", "noise": 0.5},
        "heater": {"source": "b", "topic": "h"},
    }
    sources = [{"name": n, "kind": "mqtt", "url": "mqtt://127.0.0.1"} for n in "ab"]
    twins = [{"name": "o", "model": "oven", "lateness": lateness, "signals": signals}]
    data = {"gateway": "g", "sources": sources, "models": [OVEN], "twins": twins}
    return Engine(msgspec.convert(data, Config, dec_hook=lambda kind, value: kind(value)))


def shuffled(n: int, rng: np.random.Generator) -> np.ndarray:
    """An order in which no sample is overtaken by one more than WINDOW later."""
    return np.argsort(np.arange(n) + rng.uniform(0, WINDOW, n), kind="stable")


@pytest.mark.parametrize("model", MODELS)
def test_any_order_within_the_window_ends_in_the_same_state(model: str) -> None:
    rng = np.random.default_rng(5)
    n = 300
    values = rng.normal(10, 1, n)
    values[40:43] = 500.0  # gated, wherever it comes
    times = T0 + np.cumsum(rng.integers(1, 2 * SECOND, n))
    blobs, ledgers = [], []
    for order in (np.arange(n), shuffled(n, rng), shuffled(n, rng)):
        engine = Engine(config([twin(model=model, lateness=3600.0)]))
        for k in order:
            engine.ingest(0, Batch(np.zeros(1, np.int32), times[k : k + 1], values[k : k + 1]), int(times[-1]))
        assert engine.ledger.balanced()
        blobs.append(engine.banks[0].rows.tobytes())
        counts = engine.ledger.counts[0]
        ledgers.append((int(counts[Outcome.FUSED] + counts[Outcome.LATE_FUSED]), int(counts[Outcome.GATED])))
    assert blobs[0] == blobs[1] == blobs[2]
    assert ledgers[0] == ledgers[1] == ledgers[2]


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_several_sources_and_inputs(random: Any, n: int) -> None:
    """Equations, two sources with a ledger each, an input that steps, ties in time and redelivered samples."""
    reference = oven_engine(1e6)
    slots = next(iter(reference.instances())).slots
    source_of = {slots["temp"]: 0, slots["wall"]: 1, slots["heater"]: 1}
    samples = [
        (T0 + random.randrange(0, 50) * SECOND, random.choice(sorted(slots.values())), float(random.randrange(15, 30)))
        for _ in range(n)
    ]
    samples = list(dict.fromkeys(samples))
    arrival = samples + random.sample(samples, len(samples) // 3)
    random.shuffle(arrival)
    states = []
    for order in (sorted(samples), arrival):
        engine = oven_engine(1e6)
        for t, slot, value in order:
            batch = Batch(np.array([slot], np.int32), np.array([t]), np.array([value]))
            engine.ingest(source_of[slot], batch, T0 + 100 * SECOND)
        assert engine.ledger.balanced()
        states.append(engine.banks[0].rows.tobytes())
    assert states[0] == states[1]


def test_too_late_is_dropped_and_forgotten_history_is_not_guessed() -> None:
    engine = Engine(config([twin(lateness=10.0)]))

    def feed(seconds: float, value: float = 1.0) -> str:
        before = engine.ledger.counts[0].copy()
        t = np.array([T0 + round(seconds * SECOND)])
        engine.ingest(0, Batch(np.zeros(1, np.int32), t, np.array([value])), int(t[0]) + 10**12)
        return Outcome(int(np.flatnonzero(engine.ledger.counts[0] != before)[0])).name

    assert feed(100) == "FUSED"
    assert feed(89) == "LATE_DROPPED"
    assert feed(91) == "LATE_FUSED"
    assert feed(91) == "DUPLICATE"
    for k in range(3 * HISTORY_LENGTH):
        feed(101 + 0.01 * k, 1.0 + 1e-3 * k)
    assert feed(100.5) == "LATE_DROPPED"
    assert engine.ledger.balanced()


def test_a_late_sample_is_reported_again() -> None:
    """The correction of what was already reported: the next report holds the corrected state."""
    engine = Engine(config([twin(lateness=10.0)]))

    def feed(seconds: int, value: float) -> None:
        t = np.array([T0 + seconds * SECOND])
        engine.ingest(0, Batch(np.zeros(1, np.int32), t, np.array([value])), int(t[0]))

    feed(0, 1.0)
    feed(5, 1.0)
    (first,) = engine.report(T0 + 5 * SECOND)
    feed(4, 2.0)
    (second,) = engine.report(T0 + 6 * SECOND)
    assert second.mean[0] > first.mean[0]
