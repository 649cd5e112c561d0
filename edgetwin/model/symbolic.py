"""Checked expressions to SymPy: derivatives, common subexpressions, and Python source. Used when compiling only.

``min``, ``max``, ``abs``, ``sign`` and ``clip`` become piecewise expressions, so that their derivatives are exact
wherever they exist and code for them needs no special functions.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from sympy.printing.pycode import PythonCodePrinter

from edgetwin.config.expressions import Expression
from edgetwin.errors import ModelError

_DIRECT = {
    name: getattr(sympy, name)
    for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh")
}
_COMPARE = {ast.Lt: sympy.Lt, ast.LtE: sympy.Le, ast.Gt: sympy.Gt, ast.GtE: sympy.Ge}


class _Printer(PythonCodePrinter):  # type: ignore[misc]
    """Floats keep every bit; whole numbers beyond what int64 arithmetic can take are written as floats."""

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))

    def _print_Integer(self, expr: Any) -> str:
        return str(int(expr)) if abs(expr) < 2**31 else repr(float(expr))

    def _print_Rational(self, expr: Any) -> str:
        return f"{self._print_Integer(expr.p)}/{self._print_Integer(expr.q)}"


def to_sympy(expression: Expression, symbols: Mapping[str, Any]) -> Any:
    """The SymPy form of an expression; ``symbols`` has one real symbol for each name."""
    form = _convert(expression.tree, {"pi": sympy.pi, **symbols})
    _check_real(form, expression.text)
    return form


def derivative(form: Any, symbol: Any) -> Any:
    """Partial derivative, written so that ``x**p`` has none of the form 0/0 at x = 0."""
    made = sympy.diff(form, symbol)
    if any(power.exp.free_symbols for power in form.atoms(sympy.Pow)):
        made = sympy.powsimp(made)
    _check_real(made, str(form))
    return made


def _check_real(form: Any, text: str) -> None:
    complex_part = any(f.is_number and f.is_real is False for f in form.atoms(sympy.Function))
    if complex_part or form.has(sympy.I, sympy.zoo, sympy.oo, -sympy.oo, sympy.nan):
        raise ModelError(
            f"{text} is not a real, finite number", hint="look for logarithms and roots of constants below 0"
        )


def statements(assignments: Sequence[tuple[str, Any]], prefix: str) -> list[str]:
    """Lines that compute the named expressions, common parts first in locals called ``{prefix}0`` and on."""
    common, reduced = sympy.cse(
        [expression for _, expression in assignments], symbols=sympy.numbered_symbols(prefix), order="none"
    )
    printer = _Printer({"fully_qualified_modules": True, "standard": "python3"})
    lines = [f"{name} = {printer.doprint(expression)}" for name, expression in common]
    return lines + [
        f"{name} = {printer.doprint(expression)}" for (name, _), expression in zip(assignments, reduced, strict=True)
    ]


def _convert(node: ast.expr, symbols: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return sympy.Integer(value) if isinstance(value, int) else sympy.Float(value)
        case ast.Name(id=name):
            return symbols[name]
        case ast.UnaryOp(op=ast.Not()):
            return sympy.Not(_convert(node.operand, symbols))
        case ast.UnaryOp(op=op):
            operand = _convert(node.operand, symbols)
            return -operand if isinstance(op, ast.USub) else operand
        case ast.BinOp():
            return _binary(node.op, _convert(node.left, symbols), _convert(node.right, symbols))
        case ast.Call(func=ast.Name(id=name)):
            return _call(name, [_convert(a, symbols) for a in node.args])
        case ast.Compare():
            return _compare(node, symbols)
        case ast.BoolOp(op=op):
            parts = [_convert(part, symbols) for part in node.values]
            return sympy.And(*parts) if isinstance(op, ast.And) else sympy.Or(*parts)
    raise AssertionError(f"not checked: {ast.dump(node)}")


def _binary(op: ast.operator, left: Any, right: Any) -> Any:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case _:
            return left**right


def _compare(node: ast.Compare, symbols: Mapping[str, Any]) -> Any:
    parts = [_convert(part, symbols) for part in (node.left, *node.comparators)]
    pairs = zip(parts, parts[1:], node.ops, strict=False)
    return sympy.And(*[_COMPARE[type(op)](a, b) for a, b, op in pairs])


def _call(name: str, args: list[Any]) -> Any:
    if name in _DIRECT:
        return _DIRECT[name](*args)
    match name:
        case "pow":
            return args[0] ** args[1]
        case "abs":
            return sympy.Piecewise((args[0], args[0] >= 0), (-args[0], True))
        case "sign":
            return sympy.Piecewise((1, args[0] > 0), (-1, args[0] < 0), (0, True))
        case "min":
            return sympy.Piecewise((args[0], args[0] <= args[1]), (args[1], True))
        case "max":
            return sympy.Piecewise((args[0], args[0] >= args[1]), (args[1], True))
        case "clip":
            x, low, high = args
            return sympy.Piecewise((low, x < low), (high, x > high), (x, True))
        case "where":
            return sympy.Piecewise((args[1], args[0]), (args[2], True))
    raise AssertionError(name)
