"""The exact time update of linear models against the matrix exponential and Van Loan's integral in eighty digits."""

from __future__ import annotations

import time
from typing import Any

import mpmath
import numpy as np
import pytest

from edgetwin.config.equations import equation_model
from edgetwin.config.schema import UserInput, UserModel, UserState
from edgetwin.engine.snapshot import load as restore
from edgetwin.model.structure import linear_structure
from tests.model.reference import ReferenceFilter
from tests.model.rig import SECOND, T0, Rig, rig
from tests.model.test_equations_against_filterpy import MODELS

CHAIN = [f"c{i}" for i in range(5)]
LINEAR: dict[str, dict[str, Any]] = {
    "leak": MODELS["leak"],
    "integrator": {  # singular and nilpotent: noise enters at the end of a chain of five
        "states": {n: {"initial": 0.5 * i, "std": 2.0} for i, n in enumerate(CHAIN)},
        "inputs": {"u": {"initial": 0.3}},
        "derivatives": {n: ([*CHAIN, "u"])[i + 1] for i, n in enumerate(CHAIN)},
        "process_noise": {"c4": 0.1},
        "measurements": {"first": "c0"},
    },
    "reservoir": {  # singular: what leaves one is in the other
        "states": {"a": {"initial": 3.0}, "b": {"initial": 1.0, "std": 0.5}},
        "parameters": {"k": 0.7},
        "derivatives": {"a": "-k*(a - b)", "b": "k*(a - b)"},
        "process_noise": {"a": 0.1},
        "measurements": {"a": "a"},
    },
    "resonance": {  # undamped, and a state that stands still
        "states": {"x": {"initial": 1.0}, "v": {"std": 6.0}, "still": {"initial": 2.0}},
        "parameters": {"w": 6.0},
        "derivatives": {"x": "v + 0.1*still", "v": "-w**2*x", "still": "0"},
        "process_noise": {"v": 0.5, "still": 0.01},
        "measurements": {"x": "x"},
    },
    "growth": {
        "states": {"x": {"initial": 1.0}, "y": {}},
        "derivatives": {"x": "0.5*x + y", "y": "0.2*y - 0.1*x"},
        "process_noise": {"x": 0.1, "y": 0.2},
        "measurements": {"x": "x"},
    },
    "seven": {  # too large to keep its last transition
        "states": {f"s{i}": {"initial": float(i)} for i in range(7)},
        "derivatives": {f"s{i}": f"0.3*s{max(i - 2, 0)} - 0.4*s{i}" for i in range(7)},
        "process_noise": {"s0": 0.2, "s3": 0.1},
        "measurements": {"s0": "s0"},
    },
}
for _name, _model in LINEAR.items():
    _model["name"] = _name


def van_loan(A: Any, q: Any, dt: float) -> tuple[Any, Any]:
    """exp(A dt) and the integral of exp(A s) q exp(Aᵀ s) over [0, dt]: Van Loan (1978), theorem 1.

    In eighty digits, because exp(-A dt) is one of its blocks: of a fast mode, doubles leave nothing of the integral.
    """
    n = len(A)
    with mpmath.workdps(80):
        block = mpmath.zeros(2 * n, 2 * n)
        block[:n, :n], block[:n, n:], block[n:, n:] = (mpmath.matrix(m.tolist()) for m in (-A, q, A.T))
        e = mpmath.expm(block * mpmath.mpf(dt), method="taylor")
        F = e[n:, n:].T
        Q = F * e[:n, n:]
        return tuple(np.array([[float(m[i, j]) for j in range(n)] for i in range(n)]) for m in (F, Q))  # type: ignore[return-value]


def started(model: dict[str, Any], **extra: Any) -> Rig:
    """After one sample."""
    r = rig(model, **extra)
    r.feed([r.slots[0][next(iter(r.model.measurements))]], [T0], [0.7])
    return r


@pytest.mark.parametrize("dt", [1e-6, 0.01, 0.5, 3.0, 25.0])
@pytest.mark.parametrize("name", LINEAR)
def test_against_matrix_exponential_and_van_loan(name: str, dt: float) -> None:
    r = started(LINEAR[name])
    reference = ReferenceFilter(r.model)
    x, P = r.mean()[0], r.covariance()
    _, A = reference.gradient(r.model.dynamics, x)
    F, Q = van_loan(A, reference.q, dt)
    after = reference.affine(x, dt)
    r.feed([r.slots[0][next(iter(r.model.measurements))]], [T0 + round(dt * SECOND)], [np.inf])  # no update
    mean, std = r.bank.predict(np.array([0]), T0 + round(dt * SECOND))
    spread = F @ P @ F.T + Q
    np.testing.assert_allclose(mean[0], after, rtol=1e-9, atol=1e-9 * np.abs(after).max())
    np.testing.assert_allclose(std[0] ** 2, np.diag(spread), rtol=1e-9)


@pytest.mark.parametrize("name", LINEAR)
def test_added_covariance_alone(name: str) -> None:
    """From a state known for certain: the whole matrix is Van Loan's integral, small entries as well."""
    for dt in (1e-3, 0.2, 4.0):
        r = started(LINEAR[name], noise=dict.fromkeys(LINEAR[name]["measurements"], 1e150))
        n, row = r.model.size, r.bank.rows[0]
        for i in range(n):
            row[f"d{i}"] = 0.0
            for j in range(i + 1, n):
                row[f"u{i}_{j}"] = 0.0
        reference = ReferenceFilter(r.model)
        _, A = reference.gradient(r.model.dynamics, r.mean()[0])
        _, Q = van_loan(A, reference.q, dt)
        r.feed([r.slots[0][next(iter(r.model.measurements))]], [T0 + round(dt * SECOND)], [0.0])
        scale = np.sqrt(np.outer(np.diag(Q), np.diag(Q)))
        assert (np.abs(r.covariance() - Q) <= 1e-9 * scale + 1e-300).all()


def test_slow_modes_keep_their_digits_beside_fast_ones() -> None:
    """Rates nine orders apart over a long interval; independent states, so that closed forms are the oracle."""
    model = {
        "name": "apart",
        "states": {"fast": {"initial": 3.0}, "slow": {"initial": 2.0}},
        "inputs": {"u": {"initial": 1.5}},
        "derivatives": {"fast": "1e6*(u - fast)", "slow": "-1e-3*slow + 1e-9*(fast - fast)"},
        "process_noise": {"fast": 10.0, "slow": 0.1},
        "measurements": {"slow": "slow"},
    }
    r = started(model)
    x, P = r.mean()[0], r.covariance()
    mean, std = r.bank.predict(np.array([0]), T0 + 100 * SECOND)
    decay = np.exp(-0.1)
    np.testing.assert_allclose(mean[0], [1.5, decay * x[1]], rtol=1e-10)
    slow = decay**2 * P[1, 1] + 0.01 * (1 - decay**2) / 2e-3
    np.testing.assert_allclose(std[0] ** 2, [100 / 2e6, slow], rtol=1e-9)


SWITCHED: dict[str, Any] = {
    "name": "switched",
    "states": {"T": {"initial": 20.0, "std": 5.0}, "W": {"initial": 10.0}},
    "inputs": {"fan": {"initial": 1.0}, "heat": {}},
    "parameters": {"k": 0.3, "C": 4.0},
    "derivatives": {"T": "(heat - k*fan*(T - W))/C", "W": "where(fan > 2, 2, 1)*k*(T - W) - 0.01*W"},
    "process_noise": {"T": 0.1, "W": 0.05},
    "measurements": {"T": "T", "W": "W"},
}


def test_what_is_kept_never_changes_a_bit() -> None:
    """The last transition is used where interval, inputs and parameters are those it was made for, and nowhere else."""
    seed = time.time_ns() % 2**32
    print("seed", seed)
    rng = np.random.default_rng(seed)
    kept, made = rig(SWITCHED), rig(SWITCHED)
    t = T0
    for k in range(150):
        t += int(rng.choice([0, SECOND, SECOND, SECOND, 3 * SECOND]))
        name = str(rng.choice(["T", "W", "T", "W", "fan", "heat"]))
        value = float(rng.choice([1.0, 3.0])) if name == "fan" else float(rng.normal(15, 2))
        if k == 100:
            kept.bank.rows["p1"] = made.bank.rows["p1"] = 5.0
        made.bank.rows["key"] = 0.0  # forget
        for r in (kept, made):
            r.feed([r.slots[0][name]], [t], [value])
        for field in (*(f"x{i}" for i in range(2)), "d0", "d1", "u0_1"):
            assert kept.bank.rows[field].tobytes() == made.bank.rows[field].tobytes(), (k, field)


def test_an_input_in_a_coefficient_changes_the_transition() -> None:
    r = rig(SWITCHED)
    reference = ReferenceFilter(r.model)
    for k, fan in enumerate([1.0, 1.0, 4.0, 4.0, 1.0]):
        t = T0 + 2 * k * SECOND
        if k:
            reference.advance(2.0)
        r.feed([r.slots[0]["fan"]], [t], [fan])
        reference.inputs["fan"] = fan
    np.testing.assert_allclose(r.mean()[0], reference.kf.x, rtol=1e-9)
    np.testing.assert_allclose(r.covariance(), reference.kf.P, rtol=1e-8)


# ---- what is recognised as linear


def structure(**derivatives: str) -> Any:
    model = UserModel(
        name="m",
        states={n: UserState() for n in derivatives},
        inputs={"u": UserInput()},
        parameters={"p": 1.0, "q": 2.0},
        derivatives=derivatives,
        process_noise={next(iter(derivatives)): 1.0},
        measurements={"z": next(iter(derivatives))},
    )
    return linear_structure(equation_model(model))


@pytest.mark.parametrize(
    ("text", "coefficients"),
    [
        ("-p*x/q + u", {"p", "q"}),
        ("x*(u - 3) + sin(q)", {"u"}),
        ("where(u > p, 2*x, -x) + exp(u)", {"u", "p"}),
        ("-(x + (p*u)*x)", {"p", "u"}),
        ("x/(1 + p**2)", {"p"}),
        ("u", set()),
    ],
)
def test_linear(text: str, coefficients: set[str]) -> None:
    found = structure(x=text)
    assert found is not None
    assert found.coefficients == coefficients


@pytest.mark.parametrize(
    "text", ["x*x", "x**2", "u/x", "sin(x)", "where(x > 0, x, 2*x)", "abs(x)", "min(x, 1)", "p**x"]
)
def test_not_linear(text: str) -> None:
    assert structure(x=text) is None


def test_entries_and_reach_of_noise() -> None:
    found = structure(a="b", b="c", c="-c", d="a")
    assert found.entries == ((0, 1), (1, 2), (2, 2), (3, 0))
    assert found.noisy == (0, 3)  # noise enters a and goes on to d
    assert {(3, 2), (0, 2), (1, 1)} <= set(found.closed)
    assert found.least_order() == 4


def test_a_transition_of_other_equations_is_not_taken_over() -> None:
    """A model may be edited under its name while its twins' states are kept."""
    slow, fast = ({**LINEAR["leak"], "derivatives": {"h": f"u - {k}*h"}} for k in ("0.1", "0.7"))
    old, new = rig(slow, noise={"h": 1e6}), rig(fast, noise={"h": 1e6})
    old.feed([old.slots[0]["h"]] * 2, [T0, T0 + SECOND], [1.0, 1.0])
    assert restore(new.engine, old.engine.snapshot(), 2**62) == 1
    x = new.mean()[0, 0]
    new.feed([new.slots[0]["h"]], [T0 + 2 * SECOND], [1.0])
    assert new.mean()[0, 0] == pytest.approx(0.5 / 0.7 + (x - 0.5 / 0.7) * np.exp(-0.7), rel=1e-6)


def test_noise_of_a_twin_where_its_model_has_none() -> None:
    """Rows are those that the kernels were made for."""
    model = {**LINEAR["reservoir"], "process_noise": {}}
    still, moved = rig(model), rig(model, process_noise={"b": 0.1})
    for r in (still, moved):
        r.feed([r.slots[0]["a"]] * 2, [T0, T0 + SECOND], [3.0, 3.0])
    reference = ReferenceFilter(moved.model)
    reference.q[1, 1] = 0.01
    h = moved.model.measurements["a"]
    reference.update(h, 3.0, 0.3)
    reference.advance(1.0)
    reference.update(h, 3.0, 0.3)
    np.testing.assert_allclose(moved.covariance(), reference.kf.P, rtol=1e-8)
    assert moved.covariance()[1, 1] > still.covariance()[1, 1]
