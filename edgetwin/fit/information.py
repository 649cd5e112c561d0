"""How well the data fix what was fitted: the observed information, standard errors, and what cannot be told apart.

The information is minus the Hessian of log L at its maximum, by central differences over a tenth of a standard error;
all its points are evaluated in one call. A direction in which the standard deviation would exceed 1 (a factor e of what
is searched in its logarithm) counts as not identified, as does one whose curvature is lost in the others'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.fit.likelihood import Likelihood
from edgetwin.fit.quantities import Quantity
from edgetwin.fit.scoring import Optimum

STD_MAX = 1.0
CONDITION_MAX = 1e10
CORRELATION_MAX = 0.98
_PART, _STEP_MAX = 0.1, 0.05


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of the coordinates of the quantities: ``std`` float64[p], NaN where none can be said (held at a bound, or not
    identified); ``correlation`` float64[p, p], NaN likewise; ``warnings`` for people."""

    std: NDArray[np.float64]
    correlation: NDArray[np.float64]
    warnings: tuple[str, ...]


def accuracy(likelihood: Likelihood, optimum: Optimum, low: NDArray[np.float64], high: NDArray[np.float64]) -> Accuracy:
    """Judge an optimum. KeyboardInterrupt is let through."""
    p = len(optimum.at)
    std, correlation = np.full(p, np.nan), np.full((p, p), np.nan)
    quantities = likelihood.quantities
    warnings = [_bound(quantities[k], optimum.at[k] <= low[k]) for k in np.flatnonzero(optimum.held)]
    free = np.flatnonzero(~optimum.held)
    if len(free):
        information = observed(likelihood, optimum, free, low, high)
        names = [quantities[k].name for k in free]
        poor, directions = unidentified(information)
        warnings += [_flat(names, vector, deviation) for vector, deviation in directions]
        good = free[~poor]
        if len(good):
            # What is not identified must not spoil what is: the others' errors are given it stays where it is.
            covariance = np.linalg.inv(information[np.ix_(~poor, ~poor)])
            deviation = np.sqrt(np.diag(covariance))
            std[good] = deviation
            correlation[np.ix_(good, good)] = covariance / np.outer(deviation, deviation)
            warnings += _alike([quantities[k].name for k in good], correlation[np.ix_(good, good)])
    return Accuracy(std, correlation, tuple(warnings))


def observed(
    likelihood: Likelihood,
    optimum: Optimum,
    free: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minus the Hessian float64[f, f] over the coordinates ``free`` int64[f]."""
    expected = np.diag(optimum.expansion.information)[free]
    h = np.minimum(_PART / np.sqrt(np.maximum(expected, 1e-12)), _STEP_MAX)
    room = np.minimum(optimum.at - low, high - optimum.at)[free]
    h = np.where(room > 1e-3 * h, np.minimum(h, room), h)
    f = len(free)
    pairs = [(i, j) for i in range(f) for j in range(i)]
    moves = [np.zeros(f)] + [sign * h[i] * np.eye(f)[i] for i in range(f) for sign in (1, -1)]
    moves += [a * h[i] * np.eye(f)[i] + b * h[j] * np.eye(f)[j] for i, j in pairs for a in (1, -1) for b in (1, -1)]
    points = np.tile(optimum.at, (len(moves), 1))
    points[:, free] += np.array(moves)
    value = likelihood.evaluate(points)
    hessian = np.empty((f, f))
    for i in range(f):
        hessian[i, i] = (value[1 + 2 * i] + value[2 + 2 * i] - 2 * value[0]) / h[i] ** 2
    for k, (i, j) in enumerate(pairs):
        pp, pm, mp, mm = value[1 + 2 * f + 4 * k :][:4]
        hessian[i, j] = hessian[j, i] = (pp - pm - mp + mm) / (4 * h[i] * h[j])
    return -np.nan_to_num(hessian, nan=0.0, posinf=0.0, neginf=0.0)


def unidentified(
    information: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], list[tuple[NDArray[np.float64], float]]]:
    """Which of the f coordinates have a large share in a direction that is not identified, bool[f]; and each such
    direction, float64[f] of unit length, with the standard deviation along it (infinite: the likelihood is flat)."""
    curvature, vectors = np.linalg.eigh(information)
    poor = np.zeros(len(information), np.bool_)
    directions = []
    for k, value in enumerate(curvature):
        if value * STD_MAX**2 < 1 or value * CONDITION_MAX < curvature[-1]:
            vector = vectors[:, k] * np.sign(vectors[np.argmax(np.abs(vectors[:, k])), k])
            flat = not value > max(curvature[-1], 1.0) * 1e-9
            directions.append((vector, np.inf if flat else float(1 / np.sqrt(value))))
            poor |= np.abs(vector) > 0.1
    return poor, directions


def _flat(names: Sequence[str], vector: NDArray[np.float64], deviation: float) -> str:
    large = np.flatnonzero(np.abs(vector) > 0.1)
    how = "the likelihood is flat" if np.isinf(deviation) else f"standard deviation {deviation:.0%}"
    if len(large) == 1:
        return f"{names[large[0]]} is not identified by these data ({how}): fix it, or record what excites it"
    parts = ", ".join(f"{names[k]} {vector[k]:+.2f}" for k in large[np.argsort(-np.abs(vector[large]))])
    return f"these cannot be told apart when they change together in these proportions: {parts} ({how}): fix one"


def _bound(quantity: Quantity, lower: bool) -> str:
    side, bound = ("lower", quantity.low) if lower else ("upper", quantity.high)
    if quantity.kind == "process_noise" and lower and not quantity.declared:
        return f"{quantity.name} goes to 0: the data need none here"
    if quantity.kind == "noise" and lower and not quantity.declared:
        return f"{quantity.name} ends at {bound:.3g}, the resolution of the recording: the process takes up the rest"
    choose = "" if quantity.declared else "; choose its bounds, reaching below 0 if it may be negative"
    return f"{quantity.name} ends at its {side} bound {bound:g}: the likelihood rises beyond it{choose}"


def _alike(names: Sequence[str], correlation: NDArray[np.float64]) -> list[str]:
    return [
        f"{names[j]} and {names[i]} are hard to tell apart: their errors correlate by {correlation[i, j]:+.3f}"
        for i in range(len(names))
        for j in range(i)
        if abs(correlation[i, j]) > CORRELATION_MAX
    ]
