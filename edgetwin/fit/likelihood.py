"""Log-likelihood of recordings by the innovations of the twin's own filter, for many candidates at once.

log L = -1/2 Σ [log(2π s_k) + y_k² / s_k] over all samples that were foreseen, y the innovation and s its variance: the
prediction error decomposition. Exact for linear models, the usual approximation for others. Stretches are independent,
so their sums add. Sources: Schweppe, "Evaluation of likelihood functions for Gaussian signals", IEEE Transactions on
Information Theory 11(1), 1965; Harvey, "Forecasting, Structural Time Series Models and the Kalman Filter", 1989, §3.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.fit.filters import Filter
from edgetwin.fit.quantities import Quantity
from edgetwin.fit.samples import Segment

STEP = 1e-4
"""Half the distance, in coordinates, between the two candidates whose innovations are differenced."""

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Expansion:
    """log L around a point: ``value``, ``gradient`` float64[p] and ``information`` float64[p, p]: the expected one,
    Σ [∂s ∂s' / (2 s²) + ∂y ∂y' / s] (Harvey 1989, eq. 3.4.69). ``value`` is -inf where the filter diverges."""

    value: float
    gradient: NDArray[np.float64]
    information: NDArray[np.float64]


class Likelihood:
    """log L of the first ``train`` samples of each stretch, as a function of the coordinates of ``quantities``."""

    def __init__(self, filters: Sequence[Filter], segments: Sequence[Segment], quantities: Sequence[Quantity]) -> None:
        self.quantities = tuple(quantities)
        self.evaluations = 0
        parts = [(f, f.samples(segment)) for segment in segments for f in filters]
        self._parts = [(f, samples) for f, samples in parts if samples.train]

    def values(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """What candidates float64[K, p] mean, in the units of the quantities."""
        columns = [q.natural(coordinates[:, k]) for k, q in enumerate(self.quantities)]
        # The bounds are those of the value, whatever the rounding of its logarithm.
        inside = [np.clip(c, q.low, q.high) for c, q in zip(columns, self.quantities, strict=True)]
        return np.stack(inside, axis=1)

    def samples(self) -> int:
        """How many samples are foreseen, and so make up the likelihood."""
        start = np.array([[q.coordinate(q.value) for q in self.quantities]])
        return sum(len(y) for y, _, _ in self._innovations(start))

    @np.errstate(all="ignore")  # of candidates that diverge
    def evaluate(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """log L float64[K] of candidates float64[K, p]; -inf where a filter diverges."""
        total = np.zeros(len(coordinates))
        for y, s, lost in self._innovations(coordinates):
            total -= 0.5 * (LOG_2PI + np.log(s) + y * y / s).sum(axis=0)
            total[lost] = -np.inf
        return np.where(np.isfinite(total), total, -np.inf)

    @np.errstate(all="ignore")
    def expand(self, point: NDArray[np.float64]) -> Expansion:
        """log L around ``point`` float64[p], by central differences of the innovations themselves."""
        p = len(point)
        shift = np.concatenate([np.zeros((1, p)), STEP * np.eye(p), -STEP * np.eye(p)])
        value, gradient, information = 0.0, np.zeros(p), np.zeros((p, p))
        for y, s, lost in self._innovations(point + shift):
            y0, s0 = y[:, :1], s[:, :1]
            value -= math.inf if lost[0] else 0.5 * float((LOG_2PI + np.log(s0) + y0 * y0 / s0).sum())
            # What diverges beside a point that does not tells nothing of the slope.
            dy = np.nan_to_num((y[:, 1 : p + 1] - y[:, p + 1 :]) / (2 * STEP * np.sqrt(s0)), posinf=0, neginf=0)
            ds = np.nan_to_num((np.log(s[:, 1 : p + 1]) - np.log(s[:, p + 1 :])) / (2 * STEP), posinf=0, neginf=0)
            e = y0 / np.sqrt(s0)
            gradient -= (0.5 * (1 - e * e) * ds + e * dy).sum(axis=0)
            information += 0.5 * ds.T @ ds + dy.T @ dy
        if not (math.isfinite(value) and np.isfinite(gradient).all() and np.isfinite(information).all()):
            return Expansion(-math.inf, np.zeros(p), np.zeros((p, p)))
        return Expansion(value, gradient, information)

    def _innovations(
        self, coordinates: NDArray[np.float64]
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]]:
        """y and s float64[n, K] of the samples that were foreseen, piece by piece, and which of the K have diverged."""
        values = self.values(coordinates)
        self.evaluations += len(values)
        for f, samples in self._parts:
            rows = f.rows(self.quantities, values)
            rows["gate"] = np.inf
            for piece in f.run(rows, samples, samples.train, strict=True):
                lost = rows["resets"] > 0
                foreseen = ~np.isnan(piece.s[:, ~lost]).all(axis=1)
                yield piece.y[foreseen], piece.s[foreseen], lost
                if lost.all():
                    break
