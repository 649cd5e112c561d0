"""Correlation of innovations among the signals of a twin."""

from __future__ import annotations

import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.records import Batch
from tests.engine.build import SECOND, T0, config


def two_signals(correlation: float, n: int = 600) -> Engine:
    signals = {name: {"source": "plant", "topic": name} for name in ("a", "b")}
    engine = Engine(config([{"name": "m", "model": "auto", "seasons": "off", "signals": signals}]))
    rng = np.random.default_rng(2)
    shocks = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], n)
    z = 100 + np.cumsum(shocks, axis=0)
    for k in range(n):
        t = np.full(2, T0 + k * SECOND)
        engine.ingest(0, Batch(np.arange(2, dtype=np.int32), t, z[k]), int(t[0]))
        engine.report(int(t[0]))
    return engine


@pytest.mark.parametrize("correlation", [0.9, 0.0, -0.7])
def test_the_correlation_of_what_drives_two_signals_is_told(correlation: float) -> None:
    (relation,) = two_signals(correlation).noise("m").relations
    print(relation)
    assert (relation.first, relation.second) == ("a", "b")
    assert relation.samples > 500
    assert relation.correlation == pytest.approx(correlation, abs=0.2)


def test_signals_of_different_twins_are_not_paired() -> None:
    twins = [{"name": n, "model": "auto", "signals": {"x": {"source": "plant", "topic": n}}} for n in "ab"]
    engine = Engine(config(twins))
    for k in range(20):
        t = np.full(2, T0 + k * SECOND)
        engine.ingest(0, Batch(np.arange(2, dtype=np.int32), t, np.full(2, float(k))), int(t[0]))
        engine.report(int(t[0]))
    assert engine.noise("a").relations == []


def test_one_sample_enters_once() -> None:
    engine = two_signals(0.5, 50)
    before = engine.noise("m").relations
    for k in range(10):
        engine.report(T0 + (50 + k) * SECOND)
    assert engine.noise("m").relations == before
