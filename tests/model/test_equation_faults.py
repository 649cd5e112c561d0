"""What goes wrong in a model of equations: divergence, damaged files, and what a start from the cache needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from edgetwin.config.equations import EquationModel, equation_model
from edgetwin.config.schema import UserModel, UserState
from edgetwin.errors import ModelError
from edgetwin.model.compiler import compile_equations
from edgetwin.records import Outcome, Quality
from tests.model.rig import SECOND, T0, Rig, rig

compiled = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="plain Python raises where compiled code gives inf"
)


def explosive(name: str, derivative: str, measurement: str = "x") -> dict[str, Any]:
    return {
        "name": name,
        "states": {"x": {"initial": 1.0}, "y": {"initial": 2.0, "std": 0.5}},
        "inputs": {"u": {"initial": 1.0}},
        "derivatives": {"x": derivative, "y": "x - y"},
        "process_noise": {"x": 0.1},
        "measurements": {"x": measurement, "y": "y"},
    }


CASES = {
    "division": explosive("division", "1/(u - 2) + 2 - x"),  # by zero where u is 2
    "overflow": explosive("overflow", "exp(500*(u - 1)) - x"),  # where u is 3
    "logarithm": explosive("logarithm", "log(1.5 - u) - log(0.5) + 1 - x"),  # NaN where u is 2
    "runaway": explosive("runaway", "x*x*x*(u - 1) + 1 - x"),  # blows up in finite time
}


@compiled
@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "ekf") for name in CASES), ("division", "ukf"), ("runaway", "ukf")]
)
def test_divergence_resets_that_twin_and_no_other(name: str, kind: str) -> None:
    r, quiet = (rig(CASES[name] | {"filter": kind}, twins=2) for _ in range(2))
    bad = 30.0 if name in ("overflow", "runaway") else 2.0
    for k in range(6):
        t = T0 + k * SECOND
        for twin in (0, 1):
            r.feed([r.slots[twin]["x"]], [t], [1.0 + 0.01 * k])
            quiet.feed([quiet.slots[twin]["x"]], [t], [1.0 + 0.01 * k])
    r.feed([r.slots[0]["u"]], [T0 + 6 * SECOND], [bad])
    assert r.bank.rows["resets"].tolist() == [0, 0]
    r.feed([r.slots[0]["x"]], [T0 + 60 * SECOND], [1.2])
    assert r.bank.rows["resets"].tolist() == [1, 0]
    assert np.isfinite(r.mean()).all()
    assert np.isfinite(r.covariance()).all()
    assert r.engine.quality_of_twins(T0 + 60 * SECOND)[0] != Quality.GOOD
    assert r.bank.rows[1].tobytes() == quiet.bank.rows[1].tobytes()
    r.engine.report(T0 + 60 * SECOND)
    (event,) = [e for e in r.engine.events.take() if e.kind == "twin_restarted"]
    assert event.data["twin"] == "m0"
    # Once the input is sound again, so is the twin.
    r.feed([r.slots[0]["u"]], [T0 + 61 * SECOND], [1.0])
    after = int(r.bank.rows[0]["resets"])
    r.feed([r.slots[0]["x"]] * 5, T0 + (62 + np.arange(5)) * SECOND, [1.0, 1.1, 1.0, 0.9, 1.0])
    assert r.bank.rows[0]["resets"] == after
    assert r.engine.quality_of_twins(T0 + 66 * SECOND)[0] == Quality.GOOD
    assert r.engine.ledger.received[0] == r.engine.ledger.counts[0].sum()


@compiled
def test_a_forecast_that_diverges_is_nan_and_leaves_the_twin_alone() -> None:
    r = rig(CASES["runaway"])
    r.feed([r.slots[0]["u"], r.slots[0]["x"]], [T0, T0], [3.0, 1.0])
    before = r.bank.rows.tobytes()
    mean, _ = r.bank.predict(np.array([0]), T0 + 3600 * SECOND)
    assert np.isnan(mean).all()
    assert r.bank.rows.tobytes() == before


@compiled
def test_a_measurement_that_is_not_a_number_resets() -> None:
    r = rig(explosive("absurd", "-x", measurement="log(x)"))
    r.feed([r.slots[0]["x"]] * 2, [T0, T0 + SECOND], [0.0, -50.0])  # drives x below zero
    r.feed([r.slots[0]["x"]], [T0 + 2 * SECOND], [0.1])
    assert r.bank.rows[0]["resets"] == 1
    assert r.engine.ledger.counts[0, Outcome.GATED] == 1
    assert np.isfinite(r.mean()).all()


@compiled
@pytest.mark.parametrize("kind", ["ekf", "ukf"])
def test_stiff_beyond_its_sub_steps_ends_and_resets(kind: str) -> None:
    """Sigma points have sub-steps of their own, a few in each of the mean's: the product is bounded too."""
    r = rig(explosive("stiff", "1e12*(u - x)*sqrt(1 + x*x)") | {"filter": kind})
    r.feed([r.slots[0]["x"]] * 2, [T0, T0 + 3600 * SECOND], [5.0, 1.0])
    assert r.bank.rows[0]["resets"] == 1
    assert np.isfinite(r.mean()).all()


def test_a_process_that_moved_is_followed_after_some_rejections() -> None:
    r = rig(explosive("moved", "0"), gate=4.0, gate_rejects=3, noise={"x": 0.1, "y": 0.1})
    x = r.slots[0]["x"]
    r.feed([x] * 10, T0 + np.arange(10) * SECOND, 1.0 + 0.01 * np.arange(10))
    r.feed([x] * 4, T0 + (10 + np.arange(4)) * SECOND, [30.0, 30.1, 30.2, 30.1])
    counts = r.engine.ledger.counts[0]
    assert counts[Outcome.GATED] == 2
    assert r.bank.rows[0]["resets"] == 1
    assert r.mean()[0, 0] == pytest.approx(30.1, abs=0.5)


# ---- files


def kept(derivative: str = "-x") -> EquationModel:
    model = UserModel(name="kept", states={"x": UserState()}, measurements={"x": "x"}, derivatives={"x": derivative})
    return equation_model(model)


def test_a_damaged_file_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGETWIN_CACHE", str(tmp_path))
    compile_equations(kept())
    (path,) = (p for p in tmp_path.rglob("kept_*.py") if "models" in p.parts)
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[:100],
        whole.replace(b"remaining", b"remainder", 1),
        b"\xff" * 50,
        b"raise SystemExit\n",
    ):
        path.write_bytes(damaged)
        compile_equations(kept())
        assert path.read_bytes() == whole


def test_what_sympy_cannot_write_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="not a real, finite number"):
        compile_equations(kept("log(-1)*x"))


PROGRAM = """
import sys
from tests.model.rig import T0, SECOND, rig
r = rig("library/tank")
r.feed([0, 2], [T0, T0 + SECOND], [1.0, 0.0])
print(r.mean().tolist(), "sympy" in sys.modules)
"""


def test_a_start_from_the_cache_does_not_import_sympy(tmp_path: Path) -> None:
    env = os.environ | {"EDGETWIN_CACHE": str(tmp_path), "NUMBA_DISABLE_JIT": "1"}
    found = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True, timeout=60
        ).stdout.split()
        for _ in range(2)
    ]
    assert [words[-1] for words in found] == ["True", "False"]
    assert found[0][:-1] == found[1][:-1]


def test_twins_of_one_model_share_its_code() -> None:
    r: Rig = rig("library/tank", twins=3)
    assert len(r.engine.banks) == 1
    assert len(r.bank.rows) == 3
