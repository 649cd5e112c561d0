"""A slow twin of the generated filters: expressions walked in NumPy, derivatives by complex steps, FilterPy's filter.

Nothing here uses SymPy or the generator. Derivatives are exact to rounding: f(x + i h) has the imaginary part h f'(x)
for any h, however small (Squire, Trapp, "Using complex variables to estimate derivatives", SIAM Review 40(1), 1998).
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from filterpy.kalman import ExtendedKalmanFilter

from edgetwin.config.equations import EquationModel
from edgetwin.config.expressions import Expression

STEP = 1e-40
STEPS_MAX, STEP_RATE = 10_000, 5.0

_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def _atan2(y: Any, x: Any) -> Any:
    real = np.arctan2(np.real(y), np.real(x))
    slope = (np.real(x) * np.imag(y) - np.real(y) * np.imag(x)) / (np.real(x) ** 2 + np.real(y) ** 2)
    return real + 1j * slope


_CALLS: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "atan2": _atan2, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "pow": operator.pow,
    "abs": lambda x: np.where(np.real(x) >= 0, x, -x),
    "sign": lambda x: np.sign(np.real(x)) + 0j,
    "min": lambda a, b: np.where(np.real(a) <= np.real(b), a, b),
    "max": lambda a, b: np.where(np.real(a) >= np.real(b), a, b),
    "clip": lambda x, a, b: np.where(np.real(x) < np.real(a), a, np.where(np.real(x) > np.real(b), b, x)),
    "where": np.where,
}  # fmt: skip


def evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of a checked tree; ``values`` are scalars or arrays, real or complex."""
    match node:
        case ast.Constant(value=value):
            return float(value)  # type: ignore[arg-type]
        case ast.Name(id="pi"):
            return np.pi
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.Not()):
            return np.logical_not(evaluate(node.operand, values))
        case ast.UnaryOp(op=op):
            operand = evaluate(node.operand, values)
            return -operand if isinstance(op, ast.USub) else operand
        case ast.BinOp(op=op):
            return _BINARY[type(op)](evaluate(node.left, values), evaluate(node.right, values))
        case ast.Call(func=ast.Name(id=name)):
            return _CALLS[name](*(evaluate(a, values) for a in node.args))
        case ast.Compare():
            parts = [np.real(evaluate(p, values)) for p in (node.left, *node.comparators)]
            pairs = zip(node.ops, parts, parts[1:], strict=False)
            return np.logical_and.reduce([_BINARY[type(op)](a, b) for op, a, b in pairs])
        case ast.BoolOp(op=op):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return join.reduce([evaluate(v, values) for v in node.values])
    raise AssertionError(ast.dump(node))


def values_of(model: EquationModel, x: Any, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Names to values; ``x`` has the states along its first axis."""
    return dict(zip(model.states, x, strict=True)) | dict(inputs) | dict(parameters)


def many(expressions: Any, values: Mapping[str, Any], like: Any) -> Any:
    """Several expressions stacked, each broadcast to the shape of ``like``."""
    return np.array([np.broadcast_to(evaluate(e.tree, values), np.shape(like)) for e in expressions])


class ReferenceFilter:
    """FilterPy's extended Kalman filter over the discretisation that docs/models.md describes."""

    def __init__(self, model: EquationModel) -> None:
        self.model = model
        self.n = model.size
        self.inputs = dict(model.inputs)
        self.parameters = dict(model.parameters)
        self.ekf = ExtendedKalmanFilter(self.n, 1)
        self.ekf.x = np.array([s.initial for s in model.states.values()])
        self.ekf.P = np.diag(np.square(model.stds))
        self.q = np.diag(np.square(model.process_noise))

    def gradient(self, expressions: Any, x: Any, dt: float = 0.0) -> tuple[Any, Any]:
        """Values and Jacobian."""
        value, columns = None, []
        for j in range(self.n):
            moved = x.astype(complex)
            moved[j] += 1j * STEP
            found = many(expressions, values_of(self.model, moved, self.inputs, self.parameters) | {"dt": dt}, 0j)
            value = np.real(found)
            columns.append(np.imag(found) / STEP)
        return value, np.array(columns).T

    def advance(self, dt: float) -> None:
        """To a time ``dt`` seconds later."""
        if not self.model.continuous:
            x, F = self.gradient(self.model.dynamics, self.ekf.x, dt)
            self._predict(x, F, dt)
            return
        scale = np.array(self.model.stds)
        remaining = dt
        for count in range(STEPS_MAX):
            _, J = self.gradient(self.model.dynamics, self.ekf.x)
            parts = STEP_RATE * (np.abs(J) * scale[None, :] / scale[:, None]).sum(1).max() * remaining
            h = remaining / min(np.floor(parts) + 1, STEPS_MAX - count)
            self._predict(*self.runge_kutta(self.ekf.x, h), h)
            if h >= remaining:
                break
            remaining -= h

    def runge_kutta(self, x: Any, h: float) -> tuple[Any, Any]:
        """x and the transition matrix over h."""
        F, slopes = np.eye(self.n), []
        for weight in (0.0, 0.5, 0.5, 1.0):
            v, G = slopes[-1] if slopes else (np.zeros(self.n), np.zeros_like(F))
            v, J = self.gradient(self.model.dynamics, x + weight * h * v)
            slopes.append((v, J @ (F + weight * h * G)))
        weights = np.array([1, 2, 2, 1]) / 6 * h
        return (
            x + sum(w * v for w, (v, _) in zip(weights, slopes, strict=True)),
            F + sum(w * G for w, (_, G) in zip(weights, slopes, strict=True)),
        )

    def _predict(self, x: Any, F: Any, h: float) -> None:
        Q = (F @ self.q @ F.T + self.q) * h / 2
        self.ekf.x = self._clamp(x)
        self.ekf.P = F @ self.ekf.P @ F.T + Q

    def _clamp(self, x: Any) -> Any:
        low = [-np.inf if s.min is None else s.min for s in self.model.states.values()]
        high = [np.inf if s.max is None else s.max for s in self.model.states.values()]
        return np.clip(x, low, high)

    def update(self, measurement: Expression, z: float, noise: float) -> None:
        """Fuse one sample."""
        value, H = self.gradient([measurement], self.ekf.x)
        self.ekf.update(np.array([z]), lambda _: H, lambda _: value, R=noise**2)
        self.ekf.x = self._clamp(self.ekf.x)
