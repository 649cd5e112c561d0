"""Numbers and conditions over the states of a twin, from the trees that edgetwin.config.expressions has checked."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

from edgetwin.config.expressions import Expression

Values = Mapping[str, float]
Number = Callable[[Values], float]

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    **{name: getattr(math, name) for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: getattr(math, name) for name in ("asin", "acos", "atan", "atan2", "pow")},
    "abs": abs,
    "sign": lambda x: (x > 0) - (x < 0),
    "min": min,
    "max": max,
    "clip": lambda x, low, high: min(max(x, low), high),
}


def evaluate(expression: Expression, values: Values) -> float:
    """The number; NaN where it has none (a name that is missing, a division by zero, a root of a negative number)."""
    try:
        return float(_number(expression.tree, values))
    except (ArithmeticError, ValueError, KeyError, TypeError):
        return math.nan


def holds(expression: Expression, values: Values) -> bool | None:
    """Whether the condition holds; None where that cannot be said because a number in it is none."""
    try:
        return _condition(expression.tree, values)
    except (ArithmeticError, ValueError, KeyError, TypeError):
        return None


def _number(node: ast.expr, values: Values) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id="pi") if "pi" not in values:
            return math.pi
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(op=op):
            return _BINARY[type(op)](_number(node.left, values), _number(node.right, values))
        case ast.UnaryOp(op=op):
            value = _number(node.operand, values)
            return -value if isinstance(op, ast.USub) else value
        case ast.Call(func=ast.Name(id="where"), args=[condition, then, other]):
            return _number(then if _condition(condition, values) else other, values)
        case ast.Call(func=ast.Name(id=name), args=args):
            numbers = [_number(arg, values) for arg in args]
            if any(math.isnan(number) for number in numbers):
                return math.nan  # min and max would lose it
            return _FUNCTIONS[name](*numbers)
    raise TypeError(f"{ast.dump(node)} is no number")


def _condition(node: ast.expr, values: Values) -> bool:
    match node:
        case ast.BoolOp(op=op, values=parts):
            found = [_condition(part, values) for part in parts]  # all of them: a NaN anywhere is to be noticed
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.UnaryOp(op=ast.Not()):
            return not _condition(node.operand, values)
        case ast.Compare():
            numbers = [_number(part, values) for part in (node.left, *node.comparators)]
            if any(math.isnan(number) for number in numbers):
                raise ValueError("NaN in a comparison")
            pairs = zip(numbers, numbers[1:], node.ops, strict=False)
            return all(_COMPARE[type(op)](a, b) for a, b, op in pairs)
    raise TypeError(f"{ast.dump(node)} is no condition")
