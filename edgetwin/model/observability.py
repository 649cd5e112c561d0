"""Which combinations of states no measurement tells: for models by equations, linearised at several points.

A direction of the state is unobservable when moving along it changes no measurement, now or ever. At one point of a
linear model these directions are the null space of the observability matrix [H; HA; HA²; …] (Kalman, "Mathematical
description of linear dynamical systems", SIAM Journal on Control 1(2), 1963). For a model that is not linear, or is
driven, the point moves, and what one point hides another may show: here a direction counts as unobservable only when it
is so at all points together, that is when it lies in the largest subspace that no H sees and every A keeps. It is found
by cutting the null space of all H down until it is kept, which needs no powers of A. States are measured in their
``std``, so that units do not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.equations import EquationModel
from edgetwin.model.duals import linearised

POINTS = 8
_TOLERANCE = 1e-9
_SHOWN = 1e-6
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unobservable:
    """A direction that no measurement tells: ``states`` move by ``amounts`` together, in their own units.

    ``fades``: what is not known of it dies out by itself, at the initial point; else it stays or grows.
    """

    states: tuple[str, ...]
    amounts: tuple[float, ...]
    fades: bool


def unobservable(model: EquationModel, measured: Collection[str], dt: float = 1.0) -> list[Unobservable]:
    """The directions that the measurements named in ``measured`` do not tell, at most one for each state.

    ``dt``: step of a discrete model, in s. Points at which the model has no finite derivatives are left out; with none
    left nothing is said. The points are the same at every call.
    """
    scale = np.array(model.stds)
    rows = [k for k, name in enumerate(model.measurements) if name in measured]
    A, H = [], []
    for x, inputs in points(model):
        _, slope, gradient = linearised(model, x, inputs, dt)
        if np.isfinite(slope).all() and np.isfinite(gradient[rows]).all():
            A.append(slope * scale / scale[:, None])
            H.append(gradient[rows] * scale)
    if not A:
        return []
    hidden = _kept(_null(_rows_to_one(np.vstack(H))), [_unit(a) for a in A])
    fades = _fades(hidden.T @ A[0] @ hidden, model.continuous)
    return [_described(model, direction, fades) for direction in _echelon(hidden.T)]


def points(model: EquationModel) -> Iterator[tuple[list[float], dict[str, float]]]:
    """States and inputs at which a model is judged: the initial one, then some around it, within the bounds.

    Inputs away from their initial value differ by its size, at least 1, in both directions.
    """
    yield [s.initial for s in model.states.values()], dict(model.inputs)
    rng = np.random.default_rng(1960)
    for _ in range(POINTS - 1):
        x = []
        for state, std in zip(model.states.values(), model.stds, strict=True):
            low = -np.inf if state.min is None else state.min
            high = np.inf if state.max is None else state.max
            x.append(float(np.clip(state.initial + std * rng.uniform(-1, 1), low, high)))
        yield x, {n: v + max(abs(v), 1.0) * float(rng.uniform(-1, 1)) for n, v in model.inputs.items()}


def _fades(A: Matrix, continuous: bool) -> bool:
    """Whether what is hidden dies out by itself, A being its own dynamics at the first point."""
    roots = np.linalg.eigvals(A)
    edge = _TOLERANCE * max(float(np.abs(A).max(initial=0.0)), 1e-300)
    return bool((roots.real < -edge).all() if continuous else (np.abs(roots) < 1 - _TOLERANCE).all())


def _unit(A: Matrix) -> Matrix:
    norm = np.abs(A).max(initial=0.0)
    return np.asarray(A / norm) if norm > 0 else A


def _rows_to_one(H: Matrix) -> Matrix:
    size = np.linalg.norm(H, axis=1, keepdims=True)
    return np.asarray(np.divide(H, size, out=np.zeros_like(H), where=size > 0))


def _null(M: Matrix) -> Matrix:
    """Orthonormal basis [n, k] of the null space."""
    _, s, V = np.linalg.svd(M)
    rank = int((s > _TOLERANCE).sum())
    return np.asarray(V[rank:].T)


def _kept(N: Matrix, A: Sequence[Matrix]) -> Matrix:
    """The largest part of the span of N [n, k] that every A maps into itself."""
    while N.shape[1]:
        leaving = np.vstack([(a @ N) - N @ (N.T @ (a @ N)) for a in A])
        inside = _null(leaving)
        if inside.shape[1] == N.shape[1]:
            break
        N = np.linalg.qr(N @ inside)[0] if inside.shape[1] else N[:, :0]
    return N


def _echelon(basis: Matrix) -> Matrix:
    """The same span by rows that share as few states as can be: reduced row echelon form, largest pivots."""
    M, row = basis.copy(), 0
    for column in range(M.shape[1]):
        if row == len(M):
            break
        best = row + int(np.argmax(np.abs(M[row:, column])))
        if abs(M[best, column]) < _SHOWN:
            continue
        M[[row, best]] = M[[best, row]]
        M[row] /= M[row, column]
        others = np.arange(len(M)) != row
        M[others] -= M[others, column][:, None] * M[row]
        row += 1
    return M


def _described(model: EquationModel, direction: Matrix, fades: bool) -> Unobservable:
    moves = direction * np.array(model.stds)
    names = [name for name, part in zip(model.states, direction, strict=True) if abs(part) > _SHOWN]
    amounts = [float(m) for m, part in zip(moves, direction, strict=True) if abs(part) > _SHOWN]
    return Unobservable(tuple(names), tuple(a / abs(amounts[0]) for a in amounts), fades)
