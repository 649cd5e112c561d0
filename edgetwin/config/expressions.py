"""Expressions of a user's model: arithmetic over names, read by an allow-list and never evaluated as code.

Grammar: numbers, names, ``+ - * / **``, comparisons and ``and or not`` in conditions, parentheses, and the functions of
:data:`FUNCTIONS`. :func:`parse` gives a checked tree; :mod:`edgetwin.model.symbolic` turns it into SymPy.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
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
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
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
    if len(text) > TEXT_MAX:
        raise ConfigError(f"expression of {len(text)} characters", hint=f"at most {TEXT_MAX}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        column = getattr(exc, "offset", None)
        place = f" at character {column}" if column else ""
        raise ConfigError(f"{text!r} is not an expression{place}", hint=_HELP) from exc
    used: set[str] = set()
    try:
        _check(tree, names, used, condition=False)
    except RecursionError as exc:
        raise ConfigError("the expression nests too deep", hint="split it") from exc
    return Expression(text, tree, frozenset(used))


def _check(node: ast.expr, names: Collection[str], used: set[str], *, condition: bool) -> None:
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
            _check(node.left, names, used, condition=False)
            _check(node.right, names, used, condition=False)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            _check(node.operand, names, used, condition=False)
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            _check_call(node, name, names, used)
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()) if condition:
            _check_condition(node, names, used)
        case ast.Compare() | ast.BoolOp():
            raise _error(node, "a comparison stands where a number is needed", "use where(condition, then, else)")
        case _:
            raise _error(node, f"{ast.unparse(node)!r} is not allowed", _HELP)


def _check_name(node: ast.expr, name: str, names: Collection[str], used: set[str]) -> None:
    if name in names:
        used.add(name)
    elif name not in CONSTANTS:
        close = get_close_matches(name, [*names, *CONSTANTS], 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(names))}"
        raise _error(node, f"unknown name {name!r}", hint)


def _check_call(node: ast.Call, name: str, names: Collection[str], used: set[str]) -> None:
    if name not in FUNCTIONS:
        close = get_close_matches(name, FUNCTIONS, 1)
        raise _error(node, f"unknown function {name!r}", f"did you mean {close[0]}?" if close else _HELP)
    if len(node.args) != FUNCTIONS[name] or any(isinstance(a, ast.Starred) for a in node.args):
        raise _error(node, f"{name} takes {FUNCTIONS[name]} arguments", f"there are {len(node.args)}")
    for k, argument in enumerate(node.args):
        _check(argument, names, used, condition=name == "where" and k == 0)


def _check_condition(node: ast.expr, names: Collection[str], used: set[str]) -> None:
    if isinstance(node, ast.Compare):
        if not all(isinstance(op, _COMPARISONS) for op in node.ops):
            raise _error(node, "only < <= > >= compare", "numbers of measurements are hardly ever equal")
        for part in (node.left, *node.comparators):
            _check(part, names, used, condition=False)
    elif isinstance(node, ast.BoolOp):
        for part in node.values:
            _check(part, names, used, condition=True)
    elif isinstance(node, ast.UnaryOp):
        _check(node.operand, names, used, condition=True)


def _error(node: ast.expr, message: str, hint: str) -> ConfigError:
    return ConfigError(f"{message} (character {node.col_offset + 1})", hint=hint)
