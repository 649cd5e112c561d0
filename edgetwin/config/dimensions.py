"""Dimensional analysis of a user's model: do the units of states, inputs and parameters agree in its equations?

A quantity whose unit is empty or unknown may have any, and so may everything made of it. A number may stand for a
quantity with a unit of its own: ``T - 20`` is fine for degC, and in ``x/300`` the 300 may be seconds. Hence a mismatch
in which no number took part as a factor is certain (:attr:`Mismatch.certain`); any other is one unless the number has
that unit, and a parameter with its unit in place of the number settles it; the same goes for ``-x`` as a derivative, in
which a rate of 1/s is implied. Where no number took part sizes are compared
too: kW is not W.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from edgetwin.config.expressions import Expression, quoted
from edgetwin.config.units import ONE, SECOND, Unit, parse_unit, unit_text

_ANGLES = ("sin", "cos", "tan")
_SAME = ("min", "max", "clip", "atan2")
_SIZE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Quantity:
    """A part of an expression. ``number``: it is made of numbers alone; ``scaled``: a number took part as a factor."""

    unit: Unit
    text: str = ""
    scaled: bool = False
    number: bool = False

    def __str__(self) -> str:
        """Its unit as the user wrote it, or as one knows it."""
        return self.text or unit_text(self.unit)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What does not fit in an expression; ``certain`` when no unit of a number in it could mend it."""

    message: str
    hint: str
    certain: bool


_NUMBER = Quantity(ONE, number=True)
Known = Quantity | None
"""None: anything."""


def known(text: str) -> Known:
    """The quantity that has the unit ``text``; None when it has none or an unknown one."""
    unit = parse_unit(text)
    return None if unit is None else Quantity(unit, text)


def per_second(quantity: Known) -> Known:
    """The unit of a time derivative."""
    if quantity is None:
        return None
    divided = f"({quantity})/s" if "/" in quantity.text else f"{quantity}/s"
    return Quantity(quantity.unit / SECOND, divided)


def mismatches(expression: Expression, units: Mapping[str, Known], result: Known, what: str) -> list[Mismatch]:
    """The faults of an expression whose names have ``units`` and which gives ``what``, in the unit ``result``.

    All that are certain; else the first one.
    """
    analysis = _Analysis(units)
    found = analysis.of(expression.tree)
    if not analysis.found:
        if result and found and result.unit * SECOND == found.unit:  # as in x: -x, where a rate of 1/s is implied
            found = replace(found, scaled=True)
        analysis.agree(f"{what} should be", result, f"{quoted(expression.tree)} is", found)
    certain = [m for m in analysis.found if m.certain]
    return certain or analysis.found[:1]


def unit_of(expression: Expression, units: Mapping[str, Known]) -> Known:
    """The quantity that an expression gives; None when any would do or its parts do not agree."""
    analysis = _Analysis(units)
    found = analysis.of(expression.tree)
    return None if analysis.found or found is None or found.number else found


class _Analysis:
    """Walks a checked tree and collects what does not fit; a part with a fault may be anything."""

    def __init__(self, units: Mapping[str, Known]) -> None:
        self.units = units
        self.found: list[Mismatch] = []

    def of(self, node: ast.expr) -> Known:
        match node:
            case ast.Constant():
                return _NUMBER
            case ast.Name(id="pi"):
                return Quantity(ONE)
            case ast.Name(id=name):
                return self.units.get(name)
            case ast.UnaryOp(op=ast.Not()):
                return self.of(node.operand)
            case ast.UnaryOp():
                return self.of(node.operand)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return self._same([node.left, node.right])
            case ast.BinOp(op=ast.Mult()):
                return _times(self.of(node.left), self.of(node.right), Fraction(1))
            case ast.BinOp(op=ast.Div()):
                return _times(self.of(node.left), self.of(node.right), Fraction(-1))
            case ast.BinOp():
                return self._power(node.left, node.right)
            case ast.Compare():
                return self._same([node.left, *node.comparators])
            case ast.BoolOp():
                for part in node.values:
                    self.of(part)
                return None
            case ast.Call(func=ast.Name(id=name)):
                return self._call(name, node.args)
        raise AssertionError(f"not checked: {ast.dump(node)}")

    def agree(self, first: str, one: Known, second: str, other: Known) -> None:
        """Note it when two quantities cannot be the same kind in the same unit; the texts say what they are."""
        if one is None or other is None or one.number or other.number:
            return
        certain = not (one.scaled or other.scaled)
        if one.unit.dimension != other.unit.dimension:
            hint = "correct the expression or the units"
        elif certain and not math.isclose(one.unit.size, other.unit.size, rel_tol=_SIZE_TOLERANCE):
            ratio = other.unit.size / one.unit.size
            hint = f"1 {other} is {ratio:.6g} {one}: give both the same unit (signals are converted to it)"
        else:
            return
        if not certain:
            hint = "a number counts as having no unit: in place of one that has, name a parameter with its unit"
        self.found.append(Mismatch(f"{first} {one}, but {second} {other}", hint, certain))

    def _same(self, nodes: list[ast.expr]) -> Known:
        """Parts that must agree; the quantity of the first that has a unit."""
        found = [self.of(node) for node in nodes]
        at = next((k for k, q in enumerate(found) if q is not None and not q.number), None)
        if at is None:
            return None if None in found else _NUMBER
        before = len(self.found)
        for node, quantity in zip(nodes[at + 1 :], found[at + 1 :], strict=True):
            self.agree(f"{quoted(nodes[at])} is", found[at], f"{quoted(node)} is", quantity)
        if len(self.found) > before:
            return None
        return min((q for q in found if q is not None and not q.number), key=lambda q: q.scaled)

    def _power(self, base: ast.expr, exponent: ast.expr) -> Known:
        self._plain(exponent, "an exponent")
        quantity, power = self.of(base), _constant(exponent)
        if quantity is None or quantity.number:
            return quantity if power is not None else None
        if power is not None:
            return replace(quantity, unit=quantity.unit**power, text="")
        return Quantity(ONE, scaled=quantity.scaled) if quantity.unit.dimension == ONE.dimension else None

    def _call(self, name: str, args: list[ast.expr]) -> Known:
        if name in _SAME:
            same = self._same(args)
            return Quantity(ONE) if name == "atan2" else same
        match name:
            case "where":
                self.of(args[0])
                return self._same(args[1:])
            case "abs":
                return self.of(args[0])
            case "sign":
                self.of(args[0])
                return _NUMBER
            case "sqrt":
                quantity = self.of(args[0])
                return quantity and replace(quantity, unit=quantity.unit ** Fraction(1, 2), text="")
            case "pow":
                return self._power(args[0], args[1])
        self._plain(args[0], f"the argument of {name}", angle=name in _ANGLES)
        return Quantity(ONE)

    def _plain(self, node: ast.expr, what: str, angle: bool = False) -> None:
        """``node`` has no dimension; an angle is in radians."""
        quantity = self.of(node)
        if quantity is None or quantity.number:
            return
        of_size = ONE.size if angle else quantity.unit.size
        self.agree(f"{what} must be", Quantity(Unit(ONE.dimension, of_size), "rad" if angle else "a plain number"),
                   f"{quoted(node)} is", quantity)  # fmt: skip


def _times(left: Known, right: Known, power: Fraction) -> Known:
    if left is None or right is None:
        return None
    if left.number and right.number:
        return _NUMBER
    unit = left.unit * right.unit**power
    text = left.text if right.number else right.text if left.number and power == 1 else ""
    return Quantity(unit, text, left.scaled or right.scaled or left.number or right.number)


def _constant(node: ast.expr) -> Fraction | None:
    """The value of an exponent made of numbers alone, such as 2, -1, 0.5 or 1/3."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return Fraction(value).limit_denominator(1000)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op):
            inner = _constant(node.operand)
            return -inner if inner is not None and isinstance(op, ast.USub) else inner
        case ast.BinOp(op=ast.Div()):
            left, right = _constant(node.left), _constant(node.right)
            return left / right if left is not None and right else None
    return None
