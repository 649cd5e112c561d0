"""Tolerances and linear models that the encoder is told of twins."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edgetwin.codec.decoder import FrameDecoder
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from tests.engine.build import SECOND, T0, config, feed, twin


def columns(engine: Engine) -> list[tuple[str, str, str]]:
    return [column for bank in engine.banks for row in bank.columns for column in row]


def test_the_tolerance_is_the_noise_unless_the_configuration_says_another() -> None:
    report = {"every": 2.0, "tolerance": {"x_rate": 0.125}}
    twins = [twin("a", "constant_acceleration", report=report), twin("b", signal={"noise": 3.0})]
    engine = Engine(config(twins))
    told = dict(zip([c[:2] for c in columns(engine)], engine.foresee(columns(engine)).tolerance.tolist(), strict=True))
    assert told == {("a", "x"): 0.5, ("a", "x_rate"): 0.125, ("a", "x_acceleration"): 0.5 / 4, ("b", "x"): 3.0}


def test_what_is_not_known_is_said() -> None:
    engine = Engine(config([twin("a", signal={"noise": None})]))
    told = engine.foresee([("a", "x", ""), ("a", "y", ""), ("nobody", "x", "")])
    assert np.isnan(told.tolerance).all()
    feed(engine, np.random.default_rng(0).normal(size=200))
    assert 0.2 < engine.foresee([("a", "x", "")]).tolerance[0] < 5


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("random_walk", [[0.0, 0.0]]),
        ("constant_velocity", [[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]),
        ("constant_acceleration", [[0, 0, 2, 2], [0, 0, 0, 2], [0, 0, 0, 0]]),
        ("first_order", [[0, np.expm1(-0.5), -np.expm1(-0.5)], [0, 0, 0]]),
    ],
)
@pytest.mark.parametrize("fed", [False, True])
def test_linear_models_are_found_exactly(model: str, expected: list[list[float]], fed: bool) -> None:
    extra = {"parameters": {"process_noise": 0.1, "time_constant": 4.0}} if model == "first_order" else {}
    engine = Engine(
        config([twin("a", model, report={"every": 2.0}, **extra), twin("b", model, report={"every": 2.0}, **extra)])
    )
    if fed:
        feed(engine, 5 + 0.1 * np.arange(50.0))
    (found,) = engine.foresee(columns(engine)).dynamics
    assert (found.interval_ns, found.first.tolist()) == (2 * SECOND, [0, len(expected)])
    np.testing.assert_allclose(found.matrix, np.array([expected, expected], np.float32), rtol=1e-6)


def test_a_group_that_is_not_whole_has_no_model() -> None:
    engine = Engine(config([twin("a", "constant_velocity")]))
    x, rate = columns(engine)
    assert engine.foresee([x]).dynamics == ()
    assert engine.foresee([rate, x]).dynamics == ()
    assert engine.foresee([("z", "y", ""), x, rate]).dynamics[0].first.tolist() == [1]


def tank() -> Config:
    """Torricelli's outflow: nonlinear, with an inflow; the level is measured, and twice the warmth."""
    model = {
        "name": "tank",
        "states": {"level": {"initial": 4.0, "std": 0.1}, "warmth": {"initial": 20.0, "std": 1.0}},
        "inputs": {"inflow": {"initial": 0.3}},
        "parameters": {"k": 0.1},
        "derivatives": {"level": "inflow - k*sqrt(level)", "warmth": "0.01*(80 - warmth)"},
        "process_noise": {"level": 0.01, "warmth": 0.1},
        "measurements": {"height": "level", "double": "2*warmth"},
    }
    source = {"name": "plant", "kind": "mqtt", "url": "mqtt://127.0.0.1"}
    signals = {
        "height": {"source": "plant", "topic": "h", "noise": 0.05},
        "double": {"source": "plant", "topic": "d", "noise": 0.5},
    }
    made = {"name": "t", "model": "tank", "signals": signals, "report": {"every": 10.0}}
    data = {"gateway": "g", "sources": [source], "models": [model], "twins": [made]}
    return msgspec.convert(data, Config, dec_hook=lambda kind, value: kind(value))


def test_equations_are_linearised_about_the_state() -> None:
    engine = Engine(tank())
    told = engine.foresee(columns(engine))
    assert told.tolerance[0] == pytest.approx(0.05) and np.isnan(told.tolerance[1])
    (found,) = told.dynamics
    b, d_level, d_warmth = found.matrix[0].T
    decay = np.expm1(-0.1)
    assert d_warmth == pytest.approx([0, decay], rel=0.02)
    assert d_level[0] == pytest.approx(np.expm1(-0.1 / (2 * 2.0) * 10), rel=0.05)
    after = 4.0 + b[0] + d_level[0] * 4.0  # level 4 in 10 s at 0.3 in and 0.1 sqrt(level) out
    level = 4.0
    for _ in range(10_000):
        level += 1e-3 * (0.3 - 0.1 * np.sqrt(level))
    assert after == pytest.approx(level, abs=0.01)
    assert 20 + b[1] + d_warmth[1] * 20 == pytest.approx(80 + (20 - 80) * np.exp(-0.1), abs=0.2)


def test_the_reports_of_an_engine_are_decoded_within_what_it_foresees() -> None:
    engine = Engine(config([twin("a", "constant_velocity"), twin("b", "auto")]))
    slots = [slot for one in engine.instances() for slot in one.slots.values()]
    encoder, decoder = FrameEncoder("g", engine.foresee), FrameDecoder()
    rng = np.random.default_rng(5)
    told, values = {}, 0
    for k in range(300):
        now = T0 + k * SECOND
        for slot in slots:
            feed(engine, [np.sin(k / 20) * 9 + rng.normal(0, 0.5)], [now - 10**8], slot, now)
        for sent in engine.report(now):
            frame = decoder.decode(encoder.encode([sent], 1, k))
            if frame.key == k:
                told = dict(zip(sent.columns, engine.foresee(sent.columns).tolerance.tolist(), strict=True))
            (found,) = frame.reports
            for column, a, b in zip(sent.columns, sent.mean.tolist(), found.mean.tolist(), strict=True):
                assert abs(a - b) <= told[column]
                values += 1
    assert values > 1000
