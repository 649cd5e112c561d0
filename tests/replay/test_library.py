"""The examples of library models in configs/, each replayed on a recording of its own model, and recordings from t = 0.

The replays of examples are short and run in plain Python (NUMBA_DISABLE_JIT=1) only: compiling a dozen models for some
forty samples each would take minutes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import numba
import numpy as np
import pytest

from edgetwin.config.equations import EquationModel, equation_model, of_twin
from edgetwin.config.library import library_names
from edgetwin.config.load import load
from edgetwin.config.models import user_model
from edgetwin.config.schema import Config, CsvSource, Twin
from edgetwin.replay.run import replay
from edgetwin.runtime.soundness import unsound
from tests.config.support import CONFIGS
from tests.model.reference import many, values_of
from tests.model.test_library import SCENES
from tests.replay.build import ONE, T0, run, table, write

EXAMPLES = [
    pytest.param(path, twin.name, id=f"{path.stem}:{twin.name}")
    for path in CONFIGS
    if path.name.startswith("library-")
    for twin in load(path, {}).twins
]


def recorded(twin: Twin) -> Twin:
    """The twin of an example with its signals as columns of a file."""
    signals = {
        name: msgspec.structs.replace(
            signal, source="log", topic=None, value=None, time=None, time_unit="s", column=name
        )
        for name, signal in twin.signals.items()
    }
    return msgspec.structs.replace(twin, name=re.sub(r"[{}]", "", twin.name), signals=signals)


def simulated(
    model: EquationModel, twin: Twin, n: int, dt: float, inputs: Any, seed: int
) -> tuple[list[Any], np.ndarray]:
    """Rows of a recording that counts from 0, and the true states float64[n, states]; no process noise."""
    rng = np.random.default_rng(seed)
    x = np.array([[s.initial + 0.3 * std] for s, std in zip(model.states.values(), model.stds, strict=True)])
    low = np.array([[-np.inf if s.min is None else s.min] for s in model.states.values()])
    high = np.array([[np.inf if s.max is None else s.max] for s in model.states.values()])
    held: dict[str, Any] = dict(model.inputs)
    rows, states = [], []
    for k in range(n):
        changed = inputs(k, dict(zip(model.states, x[:, 0], strict=True)), rng)
        held |= {name: float(value) for name, value in changed.items() if name in twin.signals}
        z = many(model.measurements.values(), values_of(model, x, held, model.parameters), x[0])
        cells = dict(zip(model.measurements, z[:, 0].tolist(), strict=True)) | held
        noise = {name: (signal.noise or 0.0) * rng.normal() for name, signal in twin.signals.items()}
        rows.append([k * dt, *(cells[name] + noise[name] * (name in model.measurements) for name in twin.signals)])
        states.append(x[:, 0].copy())
        for _ in range(50):
            slope = many(model.dynamics, values_of(model, x, held, model.parameters), x[0])
            guess = np.clip(x + dt / 50 * slope, low, high)
            x = np.clip(
                x + dt / 100 * (slope + many(model.dynamics, values_of(model, guess, held, model.parameters), x[0])),
                low,
                high,
            )
    return rows, np.array(states)


@pytest.mark.skipif(not numba.config.DISABLE_JIT, reason="runs with NUMBA_DISABLE_JIT=1")
@pytest.mark.parametrize(("path", "name"), EXAMPLES)
def test_an_example_follows_its_model(path: Path, name: str, tmp_path: Path) -> None:
    print("seed 21")
    example = load(path, {})
    twin = recorded(next(t for t in example.twins if t.name == name))
    user = user_model(example, twin.model)
    assert user is not None
    model = of_twin(equation_model(user), twin)
    scene = SCENES[twin.model.removeprefix("library/")]
    rows, truth = simulated(model, twin, 40, scene.dt, scene.inputs, seed=21)
    write(tmp_path / "log.csv", ["t", *twin.signals], rows)
    config = Config(gateway="g", sources=[CsvSource(name="log", path="log.csv")], models=example.models, twins=[twin])
    summary = replay(config, tmp_path, tmp_path / "out").summary
    ledger = summary.sources["log"]
    inputs = len([s for s in twin.signals if s in model.inputs])
    assert ledger["received"] == 40 * len(twin.signals)
    assert ledger["fused"] >= 0.97 * 40 * (len(twin.signals) - inputs)
    assert ledger["invalid"] == ledger["out_of_range"] == 0
    states = table(tmp_path / "out" / "states.csv")
    assert float(states[0]["t"]) == 0
    for i, state in enumerate(model.states):
        last = [row for row in states if row["state"] == state][-1]
        assert abs(float(last["mean"]) - truth[-1, i]) < 4 * float(last["std"]), state


@pytest.mark.skipif(not numba.config.DISABLE_JIT, reason="runs with NUMBA_DISABLE_JIT=1")
@pytest.mark.parametrize("path", [p for p in CONFIGS if p.name.startswith("library-")], ids=lambda p: p.name)
def test_examples_are_sound(path: Path) -> None:
    assert [str(f.error()) for f in unsound(load(path, {}))] == []


def test_every_model_has_an_example() -> None:
    assert {t.model for path in CONFIGS if path.name.startswith("library-") for t in load(path, {}).twins} == set(
        library_names()
    )


@pytest.mark.parametrize("model", ["auto", "library/thermal_first_order"])
def test_a_recording_that_counts_from_0_gives_what_one_in_unix_time_does(model: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    print("seed 4")
    values = np.round(25 + rng.normal(size=30).cumsum() * 0.1, 4)
    text = ONE.replace("column: x", "column: x, noise: 0.2").replace("      x:", "      temperature:")
    text = (
        re.sub(r"(- name: \w+\n)", rf"\1    model: {model}\n", text)
        if "model:" not in text
        else re.sub(r"model: \S+", f"model: {model}", text)
    )
    found = []
    for start in (0, T0):
        write(tmp_path / "file.csv", ["t", "x"], [[start + 7 * k, v] for k, v in enumerate(values)])
        out = run(tmp_path, text, f"out{start}")
        found.append([(float(r["t"]) - start, r["state"], r["mean"], r["std"]) for r in table(out / "states.csv")])
    assert found[0] == found[1]
    assert found[0][0][0] == 0
    assert {t for t, *_ in found[0]} == {7.0 * k for k in range(30)}
