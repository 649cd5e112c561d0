"""Candidates take the very steps of twins: their innovations are those of a traced engine, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.model.candidates import compile_candidates
from edgetwin.records import Batch
from tests.engine.build import SECOND, T0, config

LAG: dict[str, Any] = {
    "name": "lag",
    "states": {"x": {"initial": 1.0, "std": 2.0}},
    "inputs": {"u": {}},
    "parameters": {"a": 0.2},
    "derivatives": {"x": "u - a*x*abs(x)"},
    "process_noise": {"x": 0.1},
    "measurements": {"z": "x", "w": "x**2"},
}


def twins(model: str, signals: dict[str, dict[str, Any]], parameters: list[dict[str, float]]) -> list[dict[str, Any]]:
    bound = {name: {"source": "plant", "topic": name, **extra} for name, extra in signals.items()}
    return [{"name": f"m{k}", "model": model, "parameters": p, "signals": bound} for k, p in enumerate(parameters)]


CASES = {
    "equations": (
        twins("lag", {"z": {"noise": 0.3, "range": [-9, 9]}, "w": {"noise": 0.5}, "u": {}}, [{"a": a} for a in (0.1, 0.2, 0.9)]),
        [LAG],
    ),
    "constant_velocity": (
        twins("constant_velocity", {"x": {"noise": 0.4}}, [{"process_noise": q} for q in (0.01, 0.1, 2.0)]),
        [],
    ),
    "learning": ([t | {"seasons": "off"} for t in twins("auto", {"x": {}}, [{}, {"process_noise": 0.3}])], []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_innovations_are_those_of_twins(case: str) -> None:
    given, models = CASES[case]
    engine = Engine(config(given, models=models))
    bank, k = engine.banks[0], len(given)
    rng = np.random.default_rng(7)
    n = 120
    channel = rng.integers(0, bank.channels, n).astype(np.int32)
    t_ns = T0 + np.cumsum(rng.choice([0, 1, 1, 2], n)) * SECOND
    value = rng.normal(0, 1, n)
    value[30], value[40:42], value[60], value[70] = 500.0, value[40], np.nan, 12.0  # outside, repeated, invalid
    measured = len(bank.model.measurements) if isinstance(bank, EquationBank) else None
    run = compile_candidates(f"test_{case}", bank.kernels, measured)
    rows = bank.rows.copy()
    y, s = np.empty((n, k)), np.empty((n, k))
    for first in range(0, n, 50):  # in pieces: the rows carry on
        cut = slice(first, first + 50)
        run(rows, channel[cut], t_ns[cut], value[cut], False, y[cut], s[cut])
    names = list(bank.model.channels) if isinstance(bank, EquationBank) else ["x"]
    for c, instance in enumerate(engine.instances()):
        slot = np.array([instance.slots[names[i]] for i in channel], np.int32)
        trace = engine.ingest_traced(np.zeros(n, np.int32), Batch(slot, t_ns, value), int(t_ns[-1]))
        assert np.array_equal(np.isnan(s[:, c]), np.isnan(trace.std))
        known = ~np.isnan(s[:, c])
        assert known.sum() > 40
        assert np.array_equal(np.sqrt(s[known, c]), trace.std[known])
        np.testing.assert_allclose(y[known, c], (trace.value - trace.predicted)[known], rtol=1e-9, atol=1e-12)
    assert rows.tobytes() == bank.rows.tobytes()


def test_what_diverged_is_left_out_when_strict() -> None:
    model = {**LAG, "derivatives": {"x": "a*x*x*x"}, "measurements": {"z": "x"}, "inputs": {}}
    given = twins("lag", {"z": {"noise": 0.3}}, [{"a": -0.1}, {"a": 1e6}])
    bank = Engine(config(given, models=[model])).banks[0]
    run = compile_candidates("test_strict", bank.kernels, 1)
    n = 20
    y, s = np.empty((n, 2)), np.empty((n, 2))
    rows = bank.rows.copy()
    t_ns, value = T0 + np.arange(n) * SECOND, np.ones(n)
    with np.errstate(all="ignore"):  # plain Python warns of what overflows; the kernel finds out by itself
        run(rows, np.zeros(n, np.int32), t_ns, value, True, y, s)
    assert rows["resets"].tolist() == [0, 1]
    assert np.isfinite(s[:, 0]).all()
    assert np.isnan(s[-1, 1])
