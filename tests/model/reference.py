"""A slow twin of the generated filters: expressions walked in NumPy, derivatives by complex steps, FilterPy's filters.

Nothing here uses SymPy or the generator. Derivatives are exact to rounding: f(x + i h) has the imaginary part h f'(x)
for any h, however small (Squire, Trapp, "Using complex variables to estimate derivatives", SIAM Review 40(1), 1998).
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from filterpy.common import van_loan_discretization
from filterpy.kalman import ExtendedKalmanFilter, MerweScaledSigmaPoints, UnscentedKalmanFilter
from scipy.linalg import expm

from edgetwin.config.equations import EquationModel
from edgetwin.config.expressions import Expression

STEP = 1e-40
STEPS_MAX, POINT_STEPS_MAX, STEP_RATE, SHORT = 10_000, 16, 5.0, 0.02

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
    """FilterPy's extended or unscented Kalman filter over the discretisation that docs/models.md describes.

    Models linear in their states, as numbers tell, go by SciPy's matrix exponential and Van Loan's integral.
    """

    def __init__(self, model: EquationModel) -> None:
        self.model = model
        self.n = model.size
        self.inputs = dict(model.inputs)
        self.parameters = dict(model.parameters)
        if model.filter == "ukf":
            points = MerweScaledSigmaPoints(self.n, 1.0, 0.0, max(3.0 - self.n, 0.0), sqrt_method=upper_root)
            self.kf = UnscentedKalmanFilter(self.n, 1, 1.0, None, None, points)
        else:
            self.kf = ExtendedKalmanFilter(self.n, 1)
        self.kf.x = np.array([s.initial for s in model.states.values()])
        self.kf.P = np.diag(np.square(model.stds))
        self.q = np.diag(np.square(model.process_noise))
        self.linear = model.continuous and self.is_linear(model.dynamics)

    def is_linear(self, expressions: Any) -> bool:
        """Whether the Jacobian is the same here and elsewhere."""
        here = self.kf.x
        elsewhere = here + 0.1 + np.arange(self.n) / 7
        return bool(np.array_equal(*(self.gradient(expressions, x)[1] for x in (here, elsewhere))))

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
        if self.linear:
            _, A = self.gradient(self.model.dynamics, self.kf.x)
            F, Q = van_loan_discretization(A, np.sqrt(self.q), dt)
            self._predict(lambda x: (self.affine(x, dt), F), Q)
        elif not self.model.continuous:
            F = self.gradient(self.model.dynamics, self.kf.x, dt)[1]
            Q = (F @ self.q @ F.T + self.q) * dt / 2
            self._predict(lambda x: self.gradient(self.model.dynamics, self._clamp(x), dt), Q)
        else:
            self._sub_steps(dt)

    def _sub_steps(self, dt: float) -> None:
        remaining = dt
        for count in range(STEPS_MAX):
            h, short, J = self.length(self.kf.x, remaining, STEPS_MAX - count)
            B = np.eye(self.n) + h / 2 * J
            one = self.flow if self.model.filter == "ukf" else self.midpoint if short else self.runge_kutta
            self._predict(functools.partial(one, h=h), B @ self.q @ B.T * h)
            if h >= remaining:
                break
            remaining -= h

    def length(self, x: Any, remaining: float, left: int, slack: float = 1.0) -> tuple[float, bool, Any]:
        """Sub-step, whether the midpoint rule takes it, and the Jacobian that says so."""
        scale = np.array(self.model.stds)
        _, J = self.gradient(self.model.dynamics, x)
        rate = (np.abs(J) * scale[None, :] / scale[:, None]).sum(1).max() / slack
        h = remaining / min(np.floor(STEP_RATE * rate * remaining) + 1, left)
        return h, rate * remaining <= SHORT, J

    def flow(self, x: Any, h: float) -> tuple[Any, None]:
        """One sigma point after h."""
        x, remaining = self._clamp(x), h
        for count in range(POINT_STEPS_MAX):
            h, short, _ = self.length(x, remaining, POINT_STEPS_MAX - count, slack=2.0)
            if short:
                return self.midpoint(x, h)[0], None
            x = self._clamp(self.runge_kutta(x, h)[0])
            if h >= remaining:
                break
            remaining -= h
        return x, None

    def affine(self, x: Any, dt: float) -> Any:
        """x of a linear model after dt."""
        v, A = self.gradient(self.model.dynamics, x)
        augmented = np.zeros((self.n + 1, self.n + 1))
        augmented[:-1, :-1], augmented[:-1, -1] = A, v
        return x + expm(augmented * dt)[:-1, -1]

    def midpoint(self, x: Any, h: float) -> tuple[Any, Any]:
        """x and the transition matrix over h."""
        v, _ = self.gradient(self.model.dynamics, x)
        v, J = self.gradient(self.model.dynamics, x + h / 2 * v)
        return x + h * v, np.eye(self.n) + h * J + h * J @ (h * J) / 2

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

    def _predict(self, step: Callable[[Any], tuple[Any, Any]], Q: Any) -> None:
        """``step`` gives the next state and its Jacobian."""
        if isinstance(self.kf, UnscentedKalmanFilter):
            self.kf.Q = Q
            self.kf.predict(dt=0.0, fx=lambda x, _: step(x)[0])
        else:
            x, F = step(self.kf.x)
            self.kf.x = x
            self.kf.P = F @ self.kf.P @ F.T + Q
        self.kf.x = self._clamp(self.kf.x)

    def _clamp(self, x: Any) -> Any:
        low = [-np.inf if s.min is None else s.min for s in self.model.states.values()]
        high = [np.inf if s.max is None else s.max for s in self.model.states.values()]
        return np.clip(x, low, high)

    def update(self, measurement: Expression, z: float, noise: float) -> None:
        """Fuse one sample; sigma points are those of the state as it is."""
        if isinstance(self.kf, UnscentedKalmanFilter):
            self.kf.sigmas_f = self.kf.points_fn.sigma_points(self.kf.x, self.kf.P)
            bound = (lambda x: x) if self.is_linear([measurement]) else self._clamp
            self.kf.update(np.array([z]), R=noise**2, hx=lambda x: self.gradient([measurement], bound(x))[0])
        else:
            value, H = self.gradient([measurement], self.kf.x)
            self.kf.update(np.array([z]), lambda _: H, lambda _: value, R=noise**2)
        self.kf.x = self._clamp(self.kf.x)


def upper_root(P: Any) -> Any:
    """Rows are the columns of an upper triangular S with P = S Sᵀ; columns of no variance are zero."""
    P, n = P.copy(), len(P)
    root = np.zeros_like(P)
    for j in range(n - 1, -1, -1):
        if P[j, j] > 0:
            root[: j + 1, j] = P[: j + 1, j] / np.sqrt(P[j, j])
            P -= np.outer(root[:, j], root[:, j])
    return root.T
