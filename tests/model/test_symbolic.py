"""SymPy forms of expressions: values and derivatives against NumPy, and source that runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgetwin.config.expressions import FUNCTIONS, parse
from edgetwin.errors import ModelError
from edgetwin.model.symbolic import derivative, statements, to_sympy
from tests.model.reference import STEP, evaluate

NAMES = ("x", "y", "p")
SYMBOLS = {name: sympy.Symbol(name, real=True) for name in NAMES}


def run(form: object, values: dict[str, float]) -> float:
    """What the printed source computes."""
    space: dict[str, object] = {"math": math, **values}
    for line in statements([("result", form)], "c"):
        exec(line, space)
    return float(space["result"])  # type: ignore[arg-type]


def slope(text: str, values: dict[str, float], name: str) -> float:
    """The derivative by a complex step, without SymPy."""
    moved = {k: complex(v, STEP if k == name else 0.0) for k, v in values.items()}
    return float(np.imag(evaluate(parse(text, NAMES).tree, moved)) / STEP)


CASES = {
    **{f"{name}(0.3*x + 0.1*y)": (0.7, -0.4) for name in FUNCTIONS if FUNCTIONS[name] == 1},
    "min(x*x, y)": (1.5, 2.0), "min(y, x*x) + 0": (1.5, 2.0), "max(x*x, y)": (1.5, 2.0), "max(x, 3)*y": (1.5, 2.0),
    "abs(x*y)": (-2.0, 3.0), "abs(x - y)**3": (1.0, 4.0), "clip(x*y, -1, 1)": (0.3, 0.5), "clip(x, y, 2)": (0.1, 0.5),
    "clip(x*x, y, 2)": (3.0, 0.5), "where(x > y, x*y, y**2)": (1.0, 2.0), "where(not (x > y), x*y, y**2)": (1.0, 2.0),
    "where(0 < x < 1 or y >= 5, sin(x), cos(x))": (0.5, 0.0), "where(x > 0 and y > 0, log(x), x)": (2.0, 1.0),
    "pow(x, 3) + x**0.5 - 2**x": (2.0, 1.0), "pow(x, y)": (2.0, 1.5), "x**p + p**x": (2.0, 1.0), "atan2(y, x)": (1.0, -2.0),
    "atan2(x*y, x - y)": (-1.0, 2.0), "x/y - (x + y)/(x*y)": (3.0, 0.7), "sqrt(max(x, 0.001))": (-1.0, 0.0),
    "max(min(x, y), min(x*x, 2*y))": (0.4, 0.9), "sign(x)*sqrt(abs(x))": (-2.0, 1.0), "sin(pi*x)/3": (0.2, 0.0),
    "where(x > 0, where(y > 0, x*y, x), -x)": (1.0, -2.0), "exp(-x**2/(2*y**2))": (0.3, 0.8), "min(x, max(y, abs(x - y)))": (2.0, 0.5),
    "log(x)*0 + 1e300*x/1e299": (2.0, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_values_and_derivatives(text: str) -> None:
    values = dict(zip(("x", "y"), CASES[text], strict=True)) | {"p": 1.7}
    form = to_sympy(parse(text, NAMES), SYMBOLS)
    assert run(form, values) == pytest.approx(float(np.real(evaluate(parse(text, NAMES).tree, values))), rel=1e-13)
    for name in ("x", "y"):
        exact = run(derivative(form, SYMBOLS[name]), values)
        assert exact == pytest.approx(slope(text, values, name), rel=1e-11, abs=1e-14)
        moved = [run(form, values | {name: values[name] + h}) for h in (-1e-5, 1e-5)]
        assert exact == pytest.approx((moved[1] - moved[0]) / 2e-5, rel=1e-6, abs=1e-8)


ATOMS = st.sampled_from(["x", "y", "p", "2", "0.5", "pi"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda a: f"abs({a})"),
        inner.map(lambda a: f"tanh({a})"),
        pair.map(lambda t: f"min({t[0]}, {t[1]})"),
        pair.map(lambda t: f"max({t[0]}, {t[1]})"),
        pair.map(lambda t: f"clip({t[0]}, -1, {t[1]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"where({t[0]} < {t[1]}, {t[1]}, {t[2]})"),
    )


@given(st.recursive(ATOMS, grown, max_leaves=8), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=150, deadline=None)
def test_piecewise_expressions_of_any_shape(text: str, x: float, y: float) -> None:
    values = {"x": x, "y": y, "p": 0.77}
    tree = parse(text, NAMES).tree
    value = float(np.real(evaluate(tree, values)))
    nearby = [float(np.real(evaluate(tree, values | {"x": x + h}))) for h in (-1e-6, 1e-6)]
    smooth = slope(text, values, "x")
    assume(abs((nearby[1] - value) - (value - nearby[0])) < 1e-9 * (1 + abs(smooth)))  # not at a kink or a jump
    form = to_sympy(parse(text, NAMES), SYMBOLS)
    assert run(form, values) == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert run(derivative(form, SYMBOLS["x"]), values) == pytest.approx(smooth, rel=1e-9, abs=1e-9)


def test_derivatives_of_powers_are_finite_at_zero() -> None:
    form = to_sympy(parse("x**p", NAMES), SYMBOLS)
    assert run(derivative(form, SYMBOLS["x"]), {"x": 0.0, "y": 0.0, "p": 2.0}) == 0.0


def test_large_whole_numbers_are_written_as_floats() -> None:
    form = to_sympy(parse("10000000000*10000000000*x + x/30000000000", NAMES), SYMBOLS)
    for line in statements([("result", form), ("slope", derivative(form, SYMBOLS["x"]))], "c"):
        assert not any(len(word) > 11 and word.isdigit() for word in line.replace("(", " ").replace("*", " ").split())


@pytest.mark.parametrize(
    "text", ["log(-1)*x", "sqrt(-2) + x", "asin(2)*x", "log(0)*x", "x + 0**(-y)*log(0)", "(-2)**x"]
)
def test_what_is_not_real_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="not a real, finite number"):
        derivative(to_sympy(parse(text, NAMES), SYMBOLS), SYMBOLS["x"])


def test_source_keeps_every_bit_of_a_number() -> None:
    form = to_sympy(parse("0.1234567890123456789*x", NAMES), SYMBOLS)
    assert run(form, {"x": 1.0}) == 0.1234567890123456789


def test_common_parts_are_computed_once() -> None:
    form = to_sympy(parse("sin(x*y)**2 + sin(x*y)", NAMES), SYMBOLS)
    lines = statements([("a", form), ("b", derivative(form, SYMBOLS["x"]))], "c")
    assert sum(line.count("math.sin(") for line in lines) == 1
