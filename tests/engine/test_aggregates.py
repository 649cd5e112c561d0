"""Summaries of raw samples by interval, and over a stop."""

from __future__ import annotations

import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.engine import aggregates as module
from tests.engine.build import SECOND, T0, config, feed, twin

MINUTE = 60 * SECOND
FIRST = T0 - T0 % MINUTE + MINUTE


def test_each_interval_tells_what_its_samples_were() -> None:
    engine = Engine(config([twin(signal={"scale": 2.0, "offset": -1.0, "unit": "bar"})]))
    assert engine.summaries(FIRST) == []
    values = np.random.default_rng(1).normal(10, 3, 180)
    times = FIRST + np.arange(1, 181) * SECOND
    found = []
    for k in range(180):
        feed(engine, values[k : k + 1], times[k : k + 1], now=int(times[k]))
        found += engine.summaries(int(times[k]))
    assert [s.t_ns for s in found] == [FIRST + MINUTE, FIRST + 2 * MINUTE, FIRST + 3 * MINUTE]
    for k, summary in enumerate(found):
        scaled = 2.0 * values[60 * k : 60 * k + 60] - 1.0
        assert summary.signals == (("m", "x", "bar"),)
        assert summary.count.tolist() == [60]
        assert (summary.low[0], summary.high[0]) == (scaled.min(), scaled.max())
        assert summary.mean[0] == pytest.approx(np.mean(scaled), rel=1e-14)
        assert summary.duration_s.tolist() == [59.0 if k == 0 else 60.0]


def test_samples_that_the_filter_rejects_are_samples_nevertheless() -> None:
    engine = Engine(config())
    engine.summaries(FIRST)
    feed(engine, [1.0] * 30 + [500.0] + [1.0] * 9, FIRST + np.arange(1, 41) * SECOND)
    (summary,) = engine.summaries(FIRST + MINUTE)
    assert (summary.count[0], summary.high[0]) == (40, 500.0)
    assert engine.ledger.counts.sum(axis=0)[2] == 1  # gated


def test_intervals_are_those_of_the_twins_and_silent_signals_are_left_out() -> None:
    twins = [twin("a", report={"summary_every": 10.0}), twin("b"), twin("c")]
    engine = Engine(config(twins))
    engine.summaries(FIRST)
    for slot in (0, 1):
        feed(engine, [1.0], [FIRST + SECOND], slot, FIRST + SECOND)
    (early,) = engine.summaries(FIRST + 10 * SECOND)
    assert [s[0] for s in early.signals] == ["a"]
    (late,) = engine.summaries(FIRST + MINUTE)
    assert [s[0] for s in late.signals] == ["b"]
    assert engine.summaries(FIRST + 2 * MINUTE) == []


def test_a_stop_takes_everything() -> None:
    engine = Engine(config())
    feed(engine, [1.0, 3.0])
    (summary,) = engine.summaries(T0 + 2 * SECOND, all_of_it=True)
    assert (summary.t_ns, summary.count[0], summary.mean[0]) == (T0 + 2 * SECOND, 2, 2.0)
    assert engine.summaries(T0 + 2 * SECOND, all_of_it=True) == []


def test_sums_outlive_a_restart_and_a_changed_configuration() -> None:
    old = Engine(config([twin("gone"), twin("m")]))
    old.summaries(FIRST)
    feed(old, [1.0, 3.0], FIRST + np.array([1, 2]) * SECOND, 1)
    new = Engine(config([twin("m"), twin("new")]))
    new.restore(old.snapshot(), FIRST + 3 * SECOND)
    new.summaries(FIRST + 3 * SECOND)
    feed(new, [8.0], [FIRST + 4 * SECOND], 0)
    (summary,) = new.summaries(FIRST + MINUTE)
    assert summary.signals == (("m", "x", ""),)
    assert (summary.count[0], summary.mean[0], summary.duration_s[0]) == (3, 4.0, 3.0)


def test_no_duration_spans_a_step_of_the_clock() -> None:
    engine = Engine(config())
    feed(engine, [1.0, 2.0])
    engine.clock_stepped(10 * MINUTE, shift=True)
    feed(engine, [3.0, 4.0], T0 + 10 * MINUTE + np.array([2, 3]) * SECOND)
    (summary,) = engine.summaries(T0 + 11 * MINUTE, all_of_it=True)
    assert (summary.count[0], summary.duration_s[0]) == (4, 2.0)


def test_many_signals_make_several_summaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 2)
    engine = Engine(config([twin(f"m{k}") for k in range(5)]))
    for slot in range(5):
        feed(engine, [float(slot)], slot=slot)
    found = engine.summaries(T0, all_of_it=True)
    assert [len(s) for s in found] == [2, 2, 1]
    assert [m for s in found for m in s.mean.tolist()] == [0, 1, 2, 3, 4]
