"""Maximum of a likelihood within bounds, by Fisher scoring.

Gauss-Newton on the innovations: the step solves (I + µ diag I) δ = g with the expected information I and the gradient
g, which needs first derivatives only. The damping µ (Levenberg 1944, Marquardt 1963) is not adapted from step to step:
a ladder of it is tried at once, as rows of one bank, and the best is taken. A quantity at a bound that the gradient
pushes outwards is held there (Bertsekas, "Projected Newton methods", SIAM J. Control and Optimization 20(2), 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgetwin.fit.likelihood import Expansion, Likelihood

LADDER = (0.0, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e3, 1e6)
LONGEST = 1.5
"""Longest step of a coordinate: a factor of 4.5 for what is searched in its logarithm."""
GAIN_LEAST = 1e-6
"""Rise of log L that is worth another step; standard errors belong to a fall of 1/2."""
ITERATIONS_MAX = 100

Stop = Literal["converged", "iterations", "interrupted"]
Step = Callable[[int, float], None]
"""Called with the number of the iteration and log L."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where the search ended: ``at`` float64[p], with what is known there; ``held`` bool[p]: at a bound that the
    likelihood would have it cross."""

    at: NDArray[np.float64]
    expansion: Expansion
    held: NDArray[np.bool_]
    iterations: int
    stop: Stop


def maximise(
    likelihood: Likelihood,
    start: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    step: Step,
) -> Optimum:
    """Climb from ``start`` float64[p], where log L is finite, within ``low`` and ``high``; ``step`` hears of each step.

    KeyboardInterrupt ends the climb early: the result is then the best point so far.
    """
    at, expansion, iteration = start, None, 0
    stop: Stop = "iterations"
    try:
        expansion = likelihood.expand(at)
        while iteration < ITERATIONS_MAX:
            step(iteration, expansion.value)
            better = _climb(likelihood, at, expansion, low, high)
            if better is None:
                stop = "converged"
                break
            iteration += 1
            beyond = likelihood.expand(better)
            if not beyond.value > expansion.value:
                stop = "converged"
                break
            at, expansion = better, beyond
    except KeyboardInterrupt:
        if expansion is None:
            raise
        stop = "interrupted"
    return Optimum(at, expansion, _held(at, expansion, low, high), iteration, stop)


def _climb(
    likelihood: Likelihood,
    at: NDArray[np.float64],
    expansion: Expansion,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """The best of the steps from ``at``; None when none is worth it."""
    free = ~_held(at, expansion, low, high)
    if not free.any():
        return None
    g, information = expansion.gradient[free], expansion.information[np.ix_(free, free)]
    tried = np.tile(at, (len(LADDER), 1))
    for k, damping in enumerate(LADDER):
        delta = _step(g, information, damping)
        delta *= min(1.0, LONGEST / max(float(np.abs(delta).max()), 1e-300))
        tried[k, free] = np.clip(at[free] + delta, low[free], high[free])
    if not _promise(g, information) > GAIN_LEAST:
        return None
    values = likelihood.evaluate(tried)
    best = int(np.argmax(values))
    return tried[best] if values[best] > expansion.value + 0.1 * GAIN_LEAST else None


def _step(g: NDArray[np.float64], information: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Solution of (I + µ diag I) δ = g; directions without information are left alone."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-12))
    scaled = information / np.outer(scale, scale)
    curvature, directions = np.linalg.eigh(scaled)
    along = directions.T @ (g / scale)
    damped = curvature + damping
    steps = np.where(damped > 1e-12, along / np.maximum(damped, 1e-12), 0.0)
    result: NDArray[np.float64] = (directions @ steps) / scale
    return result


def _promise(g: NDArray[np.float64], information: NDArray[np.float64]) -> float:
    """Rise of log L that the quadratic model foresees."""
    return 0.5 * float(g @ _step(g, information, 0.0))


def _held(
    at: NDArray[np.float64], expansion: Expansion, low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.bool_]:
    held: NDArray[np.bool_] = ((at <= low) & (expansion.gradient <= 0)) | ((at >= high) & (expansion.gradient >= 0))
    return held
