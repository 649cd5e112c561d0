"""What a model's expressions tell of its structure without SymPy: which are linear in the states, and by what.

The reading is cautious: what it calls linear is; ``x*y/y`` in a state x is not seen to be.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from edgetwin.config.equations import EquationModel

CACHED_STATES_MAX = 6
"""Rows of larger linear models do not keep their last transition: it would be most of the row."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A continuous model dx/dt = A x + b, neither A nor b depending on x.

    ``entries``: where A may be other than zero; ``closed``: the same of exp(A t). ``coefficients``: the inputs and
    parameters that A depends on. ``noisy``: the states that process noise reaches; ``driven``: those it enters.
    """

    entries: tuple[tuple[int, int], ...]
    closed: tuple[tuple[int, int], ...]
    coefficients: frozenset[str]
    noisy: tuple[int, ...]
    driven: tuple[int, ...]

    @property
    def noise_pairs(self) -> list[tuple[int, int]]:
        """(i, j), i < j, of the noisy states, by column: the strictly upper entries of the noise's factor."""
        return [(i, j) for j in self.noisy for i in self.noisy if i < j]

    def least_order(self) -> int:
        """Terms of the series by which every entry of the noise's covariance has its leading one."""
        steps = _distances(self)
        pairs = [(i, j) for i in self.noisy for j in self.noisy]
        reached = [[steps[i, m] + steps[j, m] for m in self.driven if {(i, m), (j, m)} <= set(steps)] for i, j in pairs]
        return 1 + max([*steps.values(), *(min(ways) for ways in reached if ways)])


def linear_structure(model: EquationModel) -> Linear | None:
    """The structure of a linear continuous model; None for any other."""
    if not model.continuous:
        return None
    states = frozenset(model.states)
    coefficients: set[str] = set()
    for expression in model.dynamics:
        found = coefficients_of(expression.tree, states)
        if found is None:
            return None
        coefficients |= found
    index = {name: i for i, name in enumerate(model.states)}
    entries = {(i, index[name]) for i, e in enumerate(model.dynamics) for name in e.names & states}
    closed = closure(entries, model.size)
    driven = tuple(i for i, q in enumerate(model.process_noise) if q > 0)
    noisy = tuple(i for i in range(model.size) if any((i, j) in closed for j in driven))
    return Linear(tuple(sorted(entries)), tuple(sorted(closed)), frozenset(coefficients), noisy, driven)


def coefficients_of(node: ast.expr, states: frozenset[str]) -> frozenset[str] | None:
    """Names that the derivatives of an expression by the states depend on; None when it is not linear in them."""
    try:
        return _coefficients(node, states)
    except RecursionError:
        return None


def closure(pattern: set[tuple[int, int]], n: int) -> set[tuple[int, int]]:
    """Entries of exp(J h) that may be non-zero: the reflexive transitive closure of those of J."""
    closed = pattern | {(i, i) for i in range(n)}
    while True:
        more = closed | {(i, j) for i, k in closed for m, j in closed if k == m}
        if more == closed:
            return closed
        closed = more


def _distances(linear: Linear) -> dict[tuple[int, int], int]:
    """Least number of factors in a product of entries that leads from j to i, for each (i, j) of ``closed``."""
    unreached = len(linear.closed)
    steps = {pair: 0 if pair[0] == pair[1] else 1 if pair in linear.entries else unreached for pair in linear.closed}
    for k, _ in linear.closed:
        for i, j in linear.closed:
            if (i, k) in steps and (k, j) in steps:
                steps[i, j] = min(steps[i, j], steps[i, k] + steps[k, j])
    return steps


def names_in(node: ast.AST) -> frozenset[str]:
    """Every name in a tree."""
    return frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _coefficients(node: ast.expr, states: frozenset[str]) -> frozenset[str] | None:
    if isinstance(node, ast.Name) or not names_in(node) & states:
        return frozenset()
    match node:
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _coefficients(operand, states)
        case ast.BinOp(op=ast.Add() | ast.Sub(), left=left, right=right):
            return _both(_coefficients(left, states), _coefficients(right, states))
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            if names_in(left) & states:
                left, right = right, left
            return None if names_in(left) & states else _both(names_in(left), _coefficients(right, states))
        case ast.BinOp(op=ast.Div(), left=left, right=right):
            return None if names_in(right) & states else _both(names_in(right), _coefficients(left, states))
        case ast.Call(func=ast.Name(id="where"), args=[condition, then, other]):
            branches = _both(_coefficients(then, states), _coefficients(other, states))
            return None if names_in(condition) & states else _both(names_in(condition), branches)
    return None


def _both(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    return None if a is None or b is None else a | b
