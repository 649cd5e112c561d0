"""Forward-mode derivatives against SymPy's, and what has no value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy

from edgetwin.config.equations import equation_model
from edgetwin.config.expressions import parse
from edgetwin.config.library import library_model, library_names
from edgetwin.model.duals import Dual, evaluate, linearised
from edgetwin.model.symbolic import derivative, to_sympy
from tests.model.rig import rig

TEXTS = [
    "x*y - 3*y/x", "x**3 + y**-2 + x**y + 2**y", "exp(-x)*log(y) + sqrt(x*y)", "sin(x)*cos(y) - tan(x/3)", "asin(x/5) + acos(y/5) + atan(x*y)",
    "sinh(x) - cosh(y) + tanh(x*y)", "atan2(y, x - 4)", "abs(x - 3) + sign(y - 2)*x", "min(x, y)*max(x, 2*y)", "clip(x, 0, 1)*y + clip(y, 1, 3)",
    "where(x > 1 and not y > 3, x**2, y)", "where(x < 0 or 1 < y < 2, y, x*y)", "pow(x, 2.5) - +y", "pi*x",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_values_and_gradients_are_sympys(text: str) -> None:
    rng = np.random.default_rng(3)
    print("seed 3")
    expression = parse(text, ["x", "y"])
    x, y = sympy.symbols("x y", real=True)
    form = to_sympy(expression, {"x": x, "y": y})
    for _ in range(20):
        a, b = rng.uniform(0.2, 4.5, 2)
        point = {
            "x": Dual(a, np.array([1.0, 0.0])),
            "y": Dual(b, np.array([0.0, 1.0])),
            "pi": Dual(math.pi, np.zeros(2)),
        }
        found = evaluate(expression, point, 2)
        at = {x: a, y: b}
        assert found.value == pytest.approx(float(form.subs(at)), rel=1e-12)
        expected = [float(derivative(form, s).subs(at)) for s in (x, y)]
        np.testing.assert_allclose(found.gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "text", ["1/x", "log(x)", "sqrt(x - 1)", "exp(1000*(x + 1))", "asin(x + 2)", "x**-1", "(x - 1)**0.5"]
)
def test_what_has_no_finite_value_is_nan(text: str) -> None:
    found = evaluate(parse(text, ["x"]), {"x": Dual(0.0, np.ones(1))}, 1)
    assert math.isnan(found.value)
    assert np.isnan(found.gradient).all()


def test_a_slope_without_bound_is_not_finite() -> None:
    found = evaluate(parse("sqrt(x)", ["x"]), {"x": Dual(0.0, np.ones(1))}, 1)
    assert not np.isfinite(found.gradient).any()


@pytest.mark.parametrize("name", library_names())
def test_models_of_the_library_are_linearised_as_sympy_does(name: str) -> None:
    user = library_model(name)
    assert user is not None
    model = equation_model(user)
    table: dict[str, Any] = {n: sympy.Symbol(n, real=True) for n in (*model.states, *model.inputs, *model.parameters)}
    x = [s.initial + 0.1 * std for s, std in zip(model.states.values(), model.stds, strict=True)]
    inputs = {n: v + 0.3 for n, v in model.inputs.items()}
    at = {table[n]: v for n, v in {**dict(zip(model.states, x, strict=True)), **model.parameters, **inputs}.items()}
    values, A, H = linearised(model, x, inputs)
    for i, expression in enumerate(model.dynamics):
        form = to_sympy(expression, table)
        assert values[i] == pytest.approx(float(form.subs(at)), rel=1e-9, abs=1e-12)
        expected = [float(derivative(form, table[s]).subs(at)) for s in model.states]
        np.testing.assert_allclose(A[i], expected, rtol=1e-8, atol=1e-14)
    for i, expression in enumerate(model.measurements.values()):
        form = to_sympy(expression, table)
        expected = [float(derivative(form, table[s]).subs(at)) for s in model.states]
        np.testing.assert_allclose(H[i], expected, rtol=1e-8, atol=1e-14)


def test_the_step_of_a_discrete_model_counts() -> None:
    model = rig({"name": "m", "states": {"a": {}}, "updates": {"a": "a + dt*a**2"}, "measurements": {"a": "a"}}).model
    values, A, _ = linearised(model, [3.0], {}, dt=0.5)
    assert (values[0], A[0, 0]) == (7.5, 4.0)
