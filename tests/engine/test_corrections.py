"""A report that a late sample has proved wrong is corrected, and only such a one."""

from __future__ import annotations

import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.engine.corrections import INSTANTS_MAX
from edgetwin.records import Batch, Outcome
from tests.engine.build import SECOND, T0, config, feed, twin

Told = dict[tuple[str, str, int], tuple[float, float]]


def tell(engine: Engine, now: int, told: Told) -> int:
    """Take reports and corrections as a receiver does: later ones replace; the number of corrections."""
    for report in engine.report(now):
        for (name, state, _), mean, std in zip(report.columns, report.mean, report.std, strict=True):
            told[name, state, report.t_ns] = (float(mean), float(std))
    events = engine.events.take()
    assert {event.kind for event in events} <= {"correction"}
    for event in events:
        key = (str(event.data["twin"]), str(event.data["state"]), event.t_ns)
        assert told[key] == (event.data["previous_mean"], event.data["previous_std"])
        told[key] = (event.data["mean"], event.data["std"])  # type: ignore[assignment]
    return len(events)


@pytest.mark.parametrize("model", ["random_walk", "constant_velocity", "auto"])
def test_the_corrected_past_is_that_of_samples_in_order(model: str) -> None:
    seed = 11
    print("seed", seed)
    rng = np.random.default_rng(seed)
    n = 60
    times = T0 + np.arange(n) * SECOND + rng.integers(1, SECOND - 1, n)
    values = 20 + np.cumsum(rng.normal(0, 0.2, n))
    delay = np.where(rng.random(n) < 0.3, rng.uniform(0, INSTANTS_MAX - 1, n), 0) * SECOND
    arrival = times + delay.astype(np.int64)
    spec = [twin(model=model, lateness=60.0, report={"every": 1.0})]
    ordered: Told = {}
    mixed: Told = {}
    corrections = 0
    for told, stamps in ((ordered, times), (mixed, arrival)):
        engine = Engine(config(spec))
        for second in range(1, n + 20):
            now = T0 + second * SECOND
            for k in np.argsort(stamps, kind="stable"):
                if now - SECOND < stamps[k] <= now:
                    engine.ingest(0, Batch(np.zeros(1, np.int32), times[k : k + 1], values[k : k + 1]), int(stamps[k]))
            corrections += tell(engine, now, told)
        assert engine.ledger.counts[0, Outcome.FUSED] + engine.ledger.counts[0, Outcome.LATE_FUSED] == n
    common = ordered.keys() & mixed.keys()
    assert len(common) > n // 2
    assert {key: mixed[key] for key in common} == {key: ordered[key] for key in common}
    assert corrections > 5


def test_samples_in_order_need_no_correction() -> None:
    engine, told = Engine(config([twin(lateness=10.0)])), Told()
    for k in range(30):
        feed(engine, [1.0 + k % 3], [T0 + k * SECOND])
        assert tell(engine, T0 + k * SECOND, told) == 0


def test_a_late_sample_that_is_rejected_changes_and_repeats_nothing() -> None:
    engine, told = Engine(config([twin(lateness=10.0)])), Told()
    feed(engine, [1.0] * 20)
    tell(engine, T0 + 20 * SECOND, told)
    before = dict(told)
    feed(engine, [900.0], [T0 + 15 * SECOND + 1], now=T0 + 20 * SECOND)
    assert engine.ledger.counts[0, Outcome.GATED] == 1
    assert tell(engine, T0 + 20 * SECOND + 1, told) == 0
    assert told == before


def test_a_report_that_is_too_old_is_left_alone() -> None:
    engine, told = Engine(config([twin(lateness=3600.0, report={"every": 1.0})])), Told()
    for k in range(40):
        feed(engine, [1.0], [T0 + k * SECOND])
        tell(engine, T0 + k * SECOND, told)
    feed(engine, [1.4], [T0 + SECOND // 2], now=T0 + 40 * SECOND)
    assert 0 < tell(engine, T0 + 40 * SECOND, told) <= INSTANTS_MAX


def test_a_twin_without_lateness_remembers_nothing() -> None:
    engine, told = Engine(config()), Told()
    feed(engine, [1.0] * 20)
    tell(engine, T0 + 20 * SECOND, told)
    feed(engine, [3.0], [T0 + 3 * SECOND], now=T0 + 20 * SECOND)
    assert engine.ledger.counts[0, Outcome.LATE_DROPPED] == 1
    assert tell(engine, T0 + 21 * SECOND, told) == 0
