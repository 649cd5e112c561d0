"""Conditions and numbers over states, against Python's own arithmetic, and what has no value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.config.expressions import parse, parse_condition
from edgetwin.control.conditions import evaluate, holds
from edgetwin.errors import ConfigError

NAMES = ("x", "y")


@given(st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
def test_numbers(x: float, y: float) -> None:
    values = {"x": x, "y": y}
    for text, expected in [
        ("x + y*2 - 3/y", x + y * 2 - 3 / y),
        ("clip(x, -1, 1) + max(x, y) + min(x, y)", min(max(x, -1), 1) + x + y),
        ("where(x > y, x, -y)", x if x > y else -y),
        ("sqrt(y)**2 + pi", math.sqrt(y) ** 2 + math.pi),
        ("abs(x) * sign(x)", x),
    ]:
        assert evaluate(parse(text, NAMES), values) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["1/(x - x)", "sqrt(-1 - x*x)", "log(x - x)", "y", "exp(1e4*x)", "min(x, y)"])
def test_what_has_no_value_is_nan(text: str) -> None:
    assert math.isnan(evaluate(parse(text, NAMES), {"x": 1.0}))


def test_conditions() -> None:
    values = {"x": 2.0, "y": 3.0}
    assert holds(parse_condition("x < y and not x > 5", NAMES), values) is True
    assert holds(parse_condition("1 < x < 2 or y >= 4", NAMES), values) is False
    assert holds(parse_condition("x < y", NAMES), {"x": 2.0}) is None
    assert holds(parse_condition("x < y or x > 0", NAMES), {"x": 2.0, "y": math.nan}) is None
    assert holds(parse_condition("x > 1/(x - 2)", NAMES), values) is None


@pytest.mark.parametrize("text", ["x", "x == 1", "x + (y > 1)", "__import__('os')", "x > z", ""])
def test_what_is_no_condition_is_said(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_condition(text, NAMES)
