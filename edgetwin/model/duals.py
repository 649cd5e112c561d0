"""Values and exact derivatives of checked expressions at one point, without SymPy: to judge a model, not to run it.

Forward mode: every part of an expression is a value with its gradient, float64[n] over the states. ``min``, ``max``,
``abs``, ``clip`` and ``where`` have the derivative of the branch that is taken, as in the generated code. What has no
finite value is NaN, with a gradient of NaN.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.equations import STEP, EquationModel
from edgetwin.config.expressions import Expression

Gradient = NDArray[np.float64]


class Dual(NamedTuple):
    """A value and its derivatives."""

    value: float
    gradient: Gradient


_UNARY: dict[str, tuple[Callable[[float], float], Callable[[float, float], float]]] = {
    "exp": (math.exp, lambda _x, f: f),
    "log": (math.log, lambda x, _f: 1 / x),
    "sqrt": (math.sqrt, lambda _x, f: 0.5 / f),
    "sin": (math.sin, lambda x, _f: math.cos(x)),
    "cos": (math.cos, lambda x, _f: -math.sin(x)),
    "tan": (math.tan, lambda _x, f: 1 + f * f),
    "asin": (math.asin, lambda x, _f: 1 / math.sqrt(1 - x * x)),
    "acos": (math.acos, lambda x, _f: -1 / math.sqrt(1 - x * x)),
    "atan": (math.atan, lambda x, _f: 1 / (1 + x * x)),
    "sinh": (math.sinh, lambda x, _f: math.cosh(x)),
    "cosh": (math.cosh, lambda x, _f: math.sinh(x)),
    "tanh": (math.tanh, lambda _x, f: 1 - f * f),
    "abs": (abs, lambda x, _f: 1.0 if x >= 0 else -1.0),
    "sign": (lambda x: float(x > 0) - float(x < 0), lambda _x, _f: 0.0),
}
"""Function, and its derivative from argument and value."""

_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def linearised(
    model: EquationModel, x: Sequence[float], inputs: Mapping[str, float], dt: float = 1.0
) -> tuple[Gradient, Gradient, Gradient]:
    """Dynamics float64[n], their Jacobian float64[n, n] and that of the measurements float64[m, n] at the state ``x``.

    ``dt`` is the step of a discrete model, in s. Entries that have no finite value are NaN.
    """
    n = model.size
    point = {name: Dual(value, np.eye(n)[i]) for i, (name, value) in enumerate(zip(model.states, x, strict=True))}
    fixed = {**model.inputs, **model.parameters, **inputs, STEP: dt, "pi": math.pi}
    point |= {name: Dual(value, np.zeros(n)) for name, value in fixed.items()}
    f = [evaluate(expression, point, n) for expression in model.dynamics]
    h = [evaluate(expression, point, n) for expression in model.measurements.values()]
    return np.array([d.value for d in f]), np.array([d.gradient for d in f]), np.array([d.gradient for d in h])


def evaluate(expression: Expression, point: Mapping[str, Dual], n: int) -> Dual:
    """An expression where its names are as in ``point``; gradients are float64[n]."""
    try:
        found = _value(expression.tree, point, n)
    except (ArithmeticError, ValueError):
        return Dual(math.nan, np.full(n, math.nan))
    return found if math.isfinite(found.value) else Dual(math.nan, np.full(n, math.nan))


def _value(node: ast.expr, point: Mapping[str, Dual], n: int) -> Dual:
    match node:
        case ast.Constant(value=int() | float() as number):
            return Dual(float(number), np.zeros(n))
        case ast.Name(id=name):
            return point[name]
        case ast.UnaryOp(op=op):
            inner = _value(node.operand, point, n)
            return Dual(-inner.value, -inner.gradient) if isinstance(op, ast.USub) else inner
        case ast.BinOp(op=op):
            return _binary(op, _value(node.left, point, n), _value(node.right, point, n))
        case ast.Call(func=ast.Name(id="where")):
            return _value(node.args[1 if _holds(node.args[0], point, n) else 2], point, n)
        case ast.Call(func=ast.Name(id=name)):
            return _call(name, [_value(argument, point, n) for argument in node.args])
    raise AssertionError(f"not checked: {ast.dump(node)}")


def _binary(op: ast.operator, a: Dual, b: Dual) -> Dual:
    match op:
        case ast.Add():
            return Dual(a.value + b.value, a.gradient + b.gradient)
        case ast.Sub():
            return Dual(a.value - b.value, a.gradient - b.gradient)
        case ast.Mult():
            return Dual(a.value * b.value, a.gradient * b.value + b.gradient * a.value)
        case ast.Div():
            quotient = a.value / b.value
            return Dual(quotient, (a.gradient - quotient * b.gradient) / b.value)
    return _power(a, b)


def _power(a: Dual, b: Dual) -> Dual:
    value = math.pow(a.value, b.value)
    gradient = np.zeros_like(a.gradient)
    if a.gradient.any() and b.value != 0:
        gradient = gradient + b.value * math.pow(a.value, b.value - 1) * a.gradient
    if b.gradient.any():
        gradient = gradient + value * math.log(a.value) * b.gradient
    return Dual(value, gradient)


def _call(name: str, args: list[Dual]) -> Dual:
    match name:
        case "pow":
            return _power(*args)
        case "min":
            return args[0] if args[0].value <= args[1].value else args[1]
        case "max":
            return args[0] if args[0].value >= args[1].value else args[1]
        case "clip":
            x, low, high = args
            return low if x.value < low.value else high if x.value > high.value else x
        case "atan2":
            y, x = args
            square = x.value**2 + y.value**2
            return Dual(math.atan2(y.value, x.value), (x.value * y.gradient - y.value * x.gradient) / square)
    function, slope = _UNARY[name]
    x = args[0]
    value = function(x.value)
    if not x.gradient.any():
        return Dual(value, x.gradient)
    return Dual(value, slope(x.value, value) * x.gradient)


def _holds(node: ast.expr, point: Mapping[str, Dual], n: int) -> bool:
    match node:
        case ast.Compare():
            values = [_value(part, point, n).value for part in (node.left, *node.comparators)]
            return all(_COMPARE[type(op)](a, b) for a, b, op in zip(values, values[1:], node.ops, strict=False))
        case ast.BoolOp(op=op):
            parts = (_holds(part, point, n) for part in node.values)
            return all(parts) if isinstance(op, ast.And) else any(parts)
        case ast.UnaryOp():
            return not _holds(node.operand, point, n)
    raise AssertionError(f"not checked: {ast.dump(node)}")
