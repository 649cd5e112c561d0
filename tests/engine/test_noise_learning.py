"""Freezing learned noise of models by equations, and of rows with a history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.engine.packing import describe, pack, unpack
from edgetwin.errors import JournalError
from tests.engine.build import SECOND, T0, config, feed

MODEL = {
    "name": "store",
    "states": {"T": {"initial": 20.0, "std": 5.0}},
    "derivatives": {"T": "-0.01 * (T - 20)"},
    "process_noise": {"T": 0.05},
    "measurements": {"temp": "T"},
}


def equations(**extra: Any) -> Engine:
    signals = {"temp": {"source": "plant", "topic": "t"}}
    return Engine(config([{"name": "m", "model": "store", "signals": signals, **extra}], models=[MODEL]))


def values(n: int, std: float) -> np.ndarray:
    return 20 + np.random.default_rng(1).normal(0, std, n)


def test_noise_of_an_equation_model_is_held_and_let_go() -> None:
    engine = equations()
    feed(engine, values(300, 1.0))
    engine.set_noise_learning("m", "frozen")
    held = engine.noise("m").signals["temp"].noise
    assert 0.5 < held < 2.0
    later = T0 + np.arange(300, 600) * SECOND
    feed(engine, values(300, 4.0), later)
    assert engine.noise("m").signals["temp"].noise == held
    engine.set_noise_learning("m", "on")
    feed(engine, values(300, 4.0), later + 300 * SECOND)
    assert engine.noise("m").signals["temp"].noise > 2 * held


def test_frozen_by_the_file_holds_restored_noise_of_an_equation_model() -> None:
    first, second = equations(), equations(noise_learning="frozen")
    feed(first, values(300, 1.0))
    second.restore(first.snapshot(), T0 + 10**15)
    held = second.noise("m").signals["temp"].noise
    assert held == first.noise("m").signals["temp"].noise
    feed(second, values(300, 4.0), T0 + np.arange(300, 600) * SECOND)
    assert second.noise("m").signals["temp"].noise == held


@pytest.mark.parametrize("model", ["auto", "random_walk", "constant_velocity"])
def test_a_late_sample_does_not_undo_the_switch(model: str) -> None:
    signals = {"x": {"source": "plant", "topic": "t"}}
    engine = Engine(config([{"name": "m", "model": model, "lateness": 60.0, "signals": signals}]))
    feed(engine, values(400, 1.0))
    engine.set_noise_learning("m", "frozen")
    held = engine.noise("m").signals["x"]
    feed(engine, [20.0], [T0 + 390 * SECOND + 1])
    feed(engine, values(50, 5.0), T0 + np.arange(400, 450) * SECOND)
    after = engine.noise("m").signals["x"]
    assert after.noise == pytest.approx(held.noise, rel=0.1)
    assert after.learned == ("noise", "process_noise")


def test_an_unknown_twin_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        equations().set_noise_learning("nobody", "frozen")
    with pytest.raises(KeyError):
        equations().noise("nobody")


def test_a_snapshot_from_before_the_structural_model_is_taken_over() -> None:
    """Rows without the fields of a later release: level, noise and counts go on, the rest begins."""
    signals = {"x": {"source": "plant", "topic": "t"}}
    old = Engine(config([{"name": "m", "model": "auto", "signals": signals}]))
    feed(old, values(400, 1.0))
    document = unpack(old.snapshot())
    saved = document["banks"]["auto"]
    fields = describe(saved["rows"].dtype)
    known = fields[: [name for name, *_ in fields].index("history") + 1]
    kept = np.zeros(1, np.dtype(known, align=True))
    for name, *_ in known:
        kept[name] = saved["rows"][name]
    saved["rows"] = kept
    new = Engine(config([{"name": "m", "model": "auto", "signals": signals}]))
    assert new.restore(pack(document), T0 + 10**15) == 1
    assert new.noise("m").signals["x"].noise == old.noise("m").signals["x"].noise
    feed(new, values(400, 1.0), T0 + np.arange(400, 800) * SECOND)
    assert int(new.banks[0].rows[0]["fused"]) == 800
    assert new.estimate("m", None, T0).states["x"].mean == pytest.approx(20, abs=2)


@pytest.mark.parametrize("live", [-1, 193, 5])
def test_a_snapshot_whose_past_does_not_fit_is_refused(live: int) -> None:
    signals = {"x": {"source": "plant", "topic": "t"}}
    engine = Engine(config([{"name": "m", "model": "auto", "signals": signals}]))
    feed(engine, values(40, 1.0))
    document = unpack(engine.snapshot())
    assert document["banks"]["auto"]["rows"]["live"] > 5
    document["banks"]["auto"]["rows"]["live"] = live
    with pytest.raises(JournalError, match="past"):
        Engine(engine.config).restore(pack(document), T0 + 10**15)
