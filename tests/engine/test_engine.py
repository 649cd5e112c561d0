"""The engine's rules for samples, twins and estimates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.engine import Engine
from edgetwin.records import Batch, Outcome, Quality
from tests.engine.build import SECOND, T0, config, feed, states, twin


def outcomes(engine: Engine) -> dict[str, int]:
    return {o.name: int(n) for o, n in zip(Outcome, engine.ledger.counts[0], strict=True) if n}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e101, -1e308])
def test_absurd_values_are_invalid_and_leave_no_trace(bad: float) -> None:
    engine = Engine(config())
    feed(engine, [1.0, 1.1])
    before = engine.snapshot()
    feed(engine, [bad], [T0 + 9 * SECOND])
    assert outcomes(engine) == {"FUSED": 2, "INVALID": 1}
    assert engine.estimate("m", None, T0).states["x"] == _restored(before).estimate("m", None, T0).states["x"]


def _restored(blob: bytes) -> Engine:
    engine = Engine(config())
    assert engine.restore(blob, T0 + 100 * SECOND) == 1
    return engine


@pytest.mark.parametrize("stamp", [-1, -5, T0 + 3600 * SECOND, 2**62])
def test_absurd_times_are_invalid(stamp: int) -> None:
    engine = Engine(config())
    feed(engine, [1.0], [stamp], now=T0)
    assert outcomes(engine) == {"INVALID": 1}


def test_range_scale_and_offset() -> None:
    engine = Engine(config([twin(signal={"scale": 0.5, "offset": 10.0, "range": [0.0, 100.0]})]))
    feed(engine, [20.0, 1000.0])
    assert outcomes(engine) == {"FUSED": 1, "OUT_OF_RANGE": 1}
    assert engine.estimate("m", None, T0).states["x"].mean == 20.0


def test_repeats_and_simultaneous_samples() -> None:
    engine = Engine(config())
    feed(engine, [1.0, 1.0, 2.0], [T0, T0, T0])
    assert outcomes(engine) == {"FUSED": 2, "DUPLICATE": 1}
    # Two equally exact simultaneous measurements average.
    assert engine.estimate("m", None, T0).states["x"].mean == pytest.approx(1.5)


def test_late_samples() -> None:
    engine = Engine(config([twin(lateness=2.0)]))
    feed(engine, [1.0, 1.0, 1.0, 1.0], [T0, T0 + 5 * SECOND, T0 + 4 * SECOND, T0 + SECOND])
    assert outcomes(engine) == {"FUSED": 2, "LATE_FUSED": 1, "LATE_DROPPED": 1}


def test_gate_rejects_spikes_and_recovers_after_a_step() -> None:
    engine = Engine(config([twin(gate_rejects=4)]))
    feed(engine, np.full(30, 1.0))
    feed(engine, [500.0], [T0 + 31 * SECOND])
    assert outcomes(engine)["GATED"] == 1
    assert engine.estimate("m", None, T0 + 31 * SECOND).quality is Quality.UNCERTAIN
    feed(engine, [1.0], [T0 + 32 * SECOND])
    assert engine.estimate("m", None, T0 + 32 * SECOND).quality is Quality.GOOD
    step = T0 + (33 + np.arange(10)) * SECOND
    feed(engine, np.full(10, 500.0), step)
    assert outcomes(engine)["GATED"] == 1 + 4
    assert engine.estimate("m", None, int(step[-1])).states["x"].mean == pytest.approx(500.0, abs=0.5)


def test_one_batch_or_many_give_the_same_state() -> None:
    rng = np.random.default_rng(11)
    slots = rng.integers(0, 3, 600).astype(np.int32)
    times = T0 + np.cumsum(rng.integers(0, SECOND, 600))
    values = rng.normal(3, 1, 600)
    twins = [twin("a", "constant_velocity"), twin("b", "auto"), twin("c", "random_walk")]
    blobs = []
    for cuts in ([600], [1] * 600, [7, 100, 493]):
        engine = Engine(config(twins))
        at = 0
        for n in cuts:
            part = slice(at, at + n)
            engine.ingest(0, Batch(slots[part], times[part], values[part]), int(times[-1]))
            at += n
        assert engine.ledger.balanced()
        blobs.append(states(engine))
    assert blobs[0] == blobs[1] == blobs[2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1) | st.integers(T0 - 10 * SECOND, T0 + 10 * SECOND),
            st.floats(width=64) | st.floats(-10, 10),
        ),
        max_size=60,
    ),
    st.sampled_from(["random_walk", "constant_velocity", "constant_acceleration", "auto"]),
)
def test_anything_leaves_finite_states_and_a_balanced_ledger(samples: list[tuple[int, float]], model: str) -> None:
    engine = Engine(config([twin(model=model, lateness=1.0)]))
    for t, value in samples:
        engine.ingest(0, Batch(np.zeros(1, np.int32), np.array([t]), np.array([value])), T0)
    assert engine.ledger.balanced()
    if engine.ledger.counts[0, Outcome.FUSED]:
        estimate = engine.estimate("m", T0 + 20 * SECOND, T0)
        assert all(np.isfinite(s.mean) and np.isfinite(s.std) for s in estimate.states.values())


TEMPLATE = {"name": "{machine}", "signals": {"temp": {"source": "plant", "topic": "p/{line}/{machine}/temp"}}}


def test_templates_make_twins_up_to_the_limit() -> None:
    engine = Engine(config([TEMPLATE], limits={"twins": 2}))
    heard: list[str] = []
    engine.on_twin(lambda instance: heard.append(instance.name))
    template = engine.config.twins[0]
    first = engine.hear(template, {"line": "1", "machine": "a"})
    assert first is not None
    assert engine.hear(template, {"line": "2", "machine": "a"}) is first
    assert engine.hear(template, {"line": "1", "machine": "b"}) is not None
    assert engine.hear(template, {"line": "1", "machine": "c"}) is None
    assert heard == engine.names() == ["a", "b"]


def test_snapshot_continues_exactly_and_new_configuration_wins() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(20, 0.3, 200)
    whole, first = Engine(config([TEMPLATE])), Engine(config([TEMPLATE]))
    for engine in (whole, first):
        engine.hear(engine.config.twins[0], {"line": "1", "machine": "a"})
    feed(whole, values)
    feed(first, values[:120])
    second = Engine(config([TEMPLATE]))
    assert second.restore(first.snapshot(), T0 + 1000 * SECOND) == 1
    feed(second, values[120:], T0 + np.arange(120, 200) * SECOND)
    assert states(second) == states(whole)

    fixed = {**TEMPLATE, "signals": {"temp": {**TEMPLATE["signals"]["temp"], "noise": 2.0}}}
    third = Engine(config([fixed]))
    assert third.restore(first.snapshot(), T0 + 1000 * SECOND) == 1
    assert third.estimate("a", None, T0).signals["temp"].noise == 2.0


@pytest.mark.parametrize("noise", [0.01, 1.0, 300.0])
def test_learned_noise_is_right_within_a_third(noise: float) -> None:
    engine = Engine(config([{"name": "m", "signals": {"x": {"source": "plant", "topic": "t"}}}]))
    rng = np.random.default_rng(8)
    feed(engine, 50.0 + rng.normal(0, noise, 3000))
    assert engine.estimate("m", None, T0).signals["x"].noise == pytest.approx(noise, rel=0.33)
    assert outcomes(engine)["FUSED"] > 2990


def test_learning_the_scale_does_not_look_inconsistent() -> None:
    engine = Engine(config([{"name": "m", "signals": {"x": {"source": "plant", "topic": "t"}}}]))
    rng = np.random.default_rng(9)
    feed(engine, 50.0 + rng.normal(0, 2.0, 40))
    assert engine.estimate("m", None, T0 + 40 * SECOND).quality is Quality.GOOD


def test_a_constant_signal_may_begin_to_move() -> None:
    engine = Engine(config([{"name": "m", "signals": {"x": {"source": "plant", "topic": "t"}}}]))
    feed(engine, np.concatenate([np.full(500, 21.5), np.tile([21.5, 21.6], 50)]))
    assert outcomes(engine) == {"FUSED": 600}
    assert engine.estimate("m", None, T0).states["x"].mean == pytest.approx(21.55, abs=0.06)


def test_intervals_hold_what_they_promise() -> None:
    """Simulated from the model itself, the 95 % interval covers 93 to 97 %."""
    rng = np.random.default_rng(21)
    n = 4000
    engine = Engine(config([twin(model="constant_velocity")]))
    dt = rng.uniform(0.2, 2.0, n)
    t = T0 + (np.cumsum(dt) * SECOND).astype(np.int64)
    x, v, inside = 0.0, 0.5, 0
    for k in range(n):
        step = (t[k] - t[k - 1]) / SECOND if k else 0.0
        q = 0.01 * np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
        w = rng.multivariate_normal([0, 0], q) if k else np.zeros(2)
        x, v = x + step * v + w[0], v + w[1]
        feed(engine, [x + rng.normal(0, 0.5)], [t[k]])
        state = engine.estimate("m", None, int(t[k])).states["x"]
        inside += abs(state.mean - x) <= 1.96 * state.std
    assert 0.93 <= inside / n <= 0.97


def test_reports_follow_the_clock_and_only_what_changed() -> None:
    engine = Engine(config([twin("a"), twin("b", report={"every": 5.0})]))
    feed(engine, [1.0, 1.0], [T0, T0 + SECOND // 2], slot=0)
    feed(engine, [7.0], [T0], slot=1)
    reports = engine.report(T0 + SECOND + 5)
    assert [(r.t_ns, r.columns) for r in reports] == [
        (T0 + SECOND, (("a", "x", ""),)),
        (T0, (("b", "x", ""),)),
    ]
    assert engine.report(T0 + SECOND + 6) == []
    again = engine.report(T0 + 2 * SECOND)
    assert again == [] or all(c[0] != "b" for r in again for c in r.columns)
    mean = reports[0].mean.copy()
    feed(engine, [9.0], [T0 + 3 * SECOND], slot=0)
    np.testing.assert_array_equal(reports[0].mean, mean)


def test_fleet_figures() -> None:
    engine = Engine(config([twin("a"), twin("b")]))
    feed(engine, np.ones(10))
    assert engine.quality_counts(T0 + 10 * SECOND).tolist() == [1, 0, 1]
    bounds, counts, total = engine.nis_histogram()
    assert len(counts) == len(bounds) + 1
    assert counts.sum() == 1
    assert total >= 0
