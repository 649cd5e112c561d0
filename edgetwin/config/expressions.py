"""Expressions of a user's model: arithmetic over names, read by an allow-list and never evaluated as code.

Grammar: numbers, names, ``+ - * / **``, comparisons and ``and or not`` in conditions, parentheses, and the functions of
:data:`FUNCTIONS`. :func:`parse` gives a checked tree; :mod:`edgetwin.model.symbolic` turns it into SymPy.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches

from edgetwin.errors import ConfigError

FUNCTIONS = {
    "exp": 1, "log": 1, "sqrt": 1, "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "atan2": 2,
    "sinh": 1, "cosh": 1, "tanh": 1, "abs": 1, "sign": 1, "min": 2, "max": 2, "clip": 3, "where": 3, "pow": 2,
}  # fmt: skip
"""Names and numbers of arguments; ``clip(x, low, high)``, ``where(condition, then, else)``."""

CONSTANTS = ("pi",)
TEXT_MAX = 4_000
DEPTH_MAX = 60
"""Levels of parentheses, functions and signs; a chain of sums or products counts as one."""
_QUOTED_MAX = 60
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow:
    operator.pow,
}  # fmt: skip
_OPERATORS = tuple(_ARITHMETIC)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_HELP = "numbers, names, + - * / **, comparisons and " + ", ".join(FUNCTIONS)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: its text, its tree, and the names of states, inputs and parameters in it."""

    text: str
    tree: ast.expr
    names: frozenset[str]


def parse(text: str, names: Collection[str]) -> Expression:
    """Read ``text``, in which ``names`` may occur. ConfigError says what, at which character, and how to mend."""
    return _parse(text, names, _check)


def parse_condition(text: str, names: Collection[str]) -> Expression:
    """As :func:`parse`, for a condition: comparisons joined by ``and``, ``or``, ``not``."""
    return _parse(text, names, _check_condition)


def _parse(text: str, names: Collection[str], check: Callable[..., None]) -> Expression:
    if len(text) > TEXT_MAX:
        raise ConfigError(f"expression of {len(text)} characters", hint=f"at most {TEXT_MAX}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        column = getattr(exc, "offset", None)
        place = f" at character {column}" if column else ""
        shown = repr(text if len(text) <= _QUOTED_MAX else text[:_QUOTED_MAX] + "…")
        raise ConfigError(f"{shown} is not an expression{place}", hint=_HELP) from exc
    used: set[str] = set()
    try:
        check(tree, names, used, 0)
        _check_constants(tree)
    except RecursionError as exc:
        raise ConfigError("the expression nests too deep", hint="split it") from exc
    return Expression(text, tree, frozenset(used))


def _check(node: ast.expr, names: Collection[str], used: set[str], depth: int) -> None:
    """Raise ConfigError unless ``node`` is an allowed number."""
    if depth > DEPTH_MAX:
        raise _error(node, f"the expression nests deeper than {DEPTH_MAX} levels", "split it")
    match node:
        case ast.Constant(value=bool()):
            raise _error(node, "True and False are no numbers", "write 1 and 0")
        case ast.Constant(value=int() | float()):
            pass
        case ast.Name(id=name):
            _check_name(node, name, names, used)
        case ast.BinOp(op=op):
            if not isinstance(op, _OPERATORS):
                hint = "write ** for powers" if isinstance(op, ast.BitXor) else _HELP
                raise _error(node, f"the operator {type(op).__name__} is not allowed", hint)
            _check(node.left, names, used, depth)
            _check(node.right, names, used, depth + 1)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            _check(node.operand, names, used, depth + 1)
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            _check_call(node, name, names, used, depth)
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            raise _error(node, "a condition stands where a number is needed", "use where(condition, then, else)")
        case _:
            raise _error(node, f"{quoted(node)} is not allowed", _HELP)


def _check_name(node: ast.expr, name: str, names: Collection[str], used: set[str]) -> None:
    if name in names:
        used.add(name)
    elif name not in CONSTANTS:
        close = get_close_matches(name, [*names, *CONSTANTS], 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(names))}"
        raise _error(node, f"unknown name {name!r}", hint)


def _check_call(node: ast.Call, name: str, names: Collection[str], used: set[str], depth: int) -> None:
    if name not in FUNCTIONS:
        close = get_close_matches(name, FUNCTIONS, 1)
        raise _error(node, f"unknown function {name!r}", f"did you mean {close[0]}?" if close else _HELP)
    if len(node.args) != FUNCTIONS[name] or any(isinstance(a, ast.Starred) for a in node.args):
        raise _error(node, f"{name} takes {FUNCTIONS[name]} arguments", f"there are {len(node.args)}")
    for k, argument in enumerate(node.args):
        if name == "where" and k == 0:
            _check_condition(argument, names, used, depth + 1)
        else:
            _check(argument, names, used, depth + 1)


def _check_condition(node: ast.expr, names: Collection[str], used: set[str], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _error(node, f"the expression nests deeper than {DEPTH_MAX} levels", "split it")
    match node:
        case ast.Compare():
            if not all(isinstance(op, _COMPARISONS) for op in node.ops):
                raise _error(node, "only < <= > >= compare", "numbers of measurements are hardly ever equal")
            for part in (node.left, *node.comparators):
                _check(part, names, used, depth + 1)
        case ast.BoolOp():
            for part in node.values:
                _check_condition(part, names, used, depth + 1)
        case ast.UnaryOp(op=ast.Not()):
            _check_condition(node.operand, names, used, depth + 1)
        case _:
            raise _error(node, f"{quoted(node)} is no condition", "compare it, as in x > 0")


def _check_constants(node: ast.expr) -> float | None:
    """The value of an arithmetic part without names, None for others; ConfigError where it is not finite.

    So that nothing downstream meets 1/0, 1e999 or 9**9**9.
    """
    value: float | None = None
    match node:
        case ast.Constant(value=int() | float() as number):
            value = _finite(node, lambda: float(number))
        case ast.UnaryOp(op=op):
            inner = _check_constants(node.operand)
            if inner is not None and not isinstance(op, ast.Not):
                value = -inner if isinstance(op, ast.USub) else inner
        case ast.BinOp(op=op):
            left, right = _check_constants(node.left), _check_constants(node.right)
            if left is not None and right is not None:
                value = _finite(node, lambda: _ARITHMETIC[type(op)](left, right))
            elif right == 0 and isinstance(op, ast.Div):
                raise _error(node, "division by zero", "correct the divisor")
        case _:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    _check_constants(child)
    return value


def _finite(node: ast.expr, compute: Callable[[], float]) -> float:
    try:
        value = compute()
    except (OverflowError, ZeroDivisionError):
        value = math.inf
    if isinstance(value, complex) or not math.isfinite(value):
        raise _error(node, f"{quoted(node)} has no finite value", "correct the numbers")
    return value


def quoted(node: ast.expr) -> str:
    """A part of an expression as a message may show it."""
    text = ast.unparse(node)
    return repr(text if len(text) <= _QUOTED_MAX else text[:_QUOTED_MAX] + "…")


def _error(node: ast.expr, message: str, hint: str) -> ConfigError:
    return ConfigError(f"{message} (character {node.col_offset + 1})", hint=hint)
