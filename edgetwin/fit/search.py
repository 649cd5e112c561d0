"""The search for the most likely values: what it is asked, its rounds, and what they have come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgetwin.errors import FitError
from edgetwin.fit.filters import Filter
from edgetwin.fit.foresight import within_gate
from edgetwin.fit.information import Accuracy, accuracy
from edgetwin.fit.likelihood import Likelihood
from edgetwin.fit.quantities import Quantity
from edgetwin.fit.samples import Segment, Selection
from edgetwin.fit.scoring import Optimum, maximise

SAMPLES_EACH = 5
"""Fewest foreseen samples for each quantity that is fitted."""
ROUNDS_MAX = 8
OUTLIERS_MAX = 0.1
"""A model that leaves more than this share of the samples beyond its gate is wrong; none are set aside then."""
SCREENED, SPREAD, SEED = 32, 0.7, 1

Progress = Callable[[str, int, float], None]
"""Called with what is being done, the number of the iteration and log L."""


@dataclass(frozen=True, slots=True)
class Options:
    """``parameters`` None: all of the model's. ``starts``: climbs, the first from the configuration and the others from
    the best of points around it. ``set_aside``: whether samples beyond the gate are left out."""

    parameters: tuple[str, ...] | None = None
    noise: bool = False
    initial: bool = False
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    starts: int = 2
    set_aside: bool = True
    selection: Selection = field(default_factory=Selection)


class Search:
    """One search: the rounds of climbing and setting aside, and what they have come to."""

    def __init__(
        self,
        name: str,
        filters: Sequence[Filter],
        segments: Sequence[Segment],
        quantities: Sequence[Quantity],
        options: Options,
        progress: Progress,
    ) -> None:
        self.name = name
        self.filters, self.segments, self.quantities = filters, segments, quantities
        self.low = np.array([q.coordinate(q.low) for q in quantities])
        self.high = np.array([q.coordinate(q.high) for q in quantities])
        self.start = np.clip(np.array([q.coordinate(q.value) for q in quantities]), self.low, self.high)
        self.keep = [np.ones(len(s), np.bool_) for s in segments]
        self.likelihood = Likelihood(filters, segments, quantities)
        self.samples = self.likelihood.samples()
        self.warnings: list[str] = []
        self.evaluations = 0
        self._options, self._progress = options, progress
        self.optimum: Optimum
        self.accuracy: Accuracy

    def run(self) -> None:
        self._check()
        self.optimum = self._climb_all()
        if self._options.set_aside:
            self._set_aside()
        self.accuracy = self._accuracy()
        self.evaluations += self.likelihood.evaluations

    def before(self) -> float:
        """log L of the samples that are kept, where the search started."""
        return float(self.likelihood.evaluate(self.start[None])[0])

    def values(self) -> NDArray[np.float64]:
        """The fitted values."""
        values: NDArray[np.float64] = self.likelihood.values(self.optimum.at[None])[0]
        return values

    def _check(self) -> None:
        if not np.isfinite(self.before()):
            raise FitError(
                f"{self.name}: the likelihood is not finite at the starting values: the filter diverges",
                hint="run edgetwin replay to see where, or start from other parameters",
            )
        needed = SAMPLES_EACH * len(self.quantities)
        if self.samples < needed:
            raise FitError(
                f"{self.name}: {self.samples} samples that can be foreseen are too few for {len(self.quantities)} "
                f"quantities: at least {needed}",
                hint="fit fewer, or give more data",
            )

    def _climb_all(self) -> Optimum:
        best = self._climb(self.likelihood, self.start, "climb 1")
        if self._options.starts == 1 or best.stop == "interrupted":
            return best
        try:
            for number, point in enumerate(self._screened(self._options.starts - 1), 2):
                other = self._climb(self.likelihood, point, f"climb {number}")
                best = max(best, other, key=lambda o: o.expansion.value)
                if other.stop == "interrupted":
                    return replace(best, stop="interrupted")
        except KeyboardInterrupt:  # before a climb had its first point
            return replace(best, stop="interrupted")
        return best

    def _climb(self, likelihood: Likelihood, start: NDArray[np.float64], what: str) -> Optimum:
        return maximise(
            likelihood, start, self.low, self.high, lambda iteration, value: self._progress(what, iteration, value)
        )

    def _screened(self, count: int) -> list[NDArray[np.float64]]:
        """The most likely of random points around the start; the same ones in every run."""
        drawn = np.random.default_rng(SEED).normal(0, SPREAD, (SCREENED, len(self.start)))
        points = np.clip(self.start + drawn, self.low, self.high)
        value = self.likelihood.evaluate(points)
        order = np.argsort(-value)[:count]
        return [points[k] for k in order if np.isfinite(value[k])]

    def _set_aside(self) -> None:
        """Leave out what the fitted twin would not let through its gate, and climb on, until that changes no more."""
        try:
            for _ in range(ROUNDS_MAX):
                if self.optimum.stop == "interrupted" or not self._set_aside_once():
                    return
        except KeyboardInterrupt:
            self.optimum = replace(self.optimum, stop="interrupted")
            return
        self.warnings.append(f"samples beyond the gate still changed after {ROUNDS_MAX} rounds")

    def _set_aside_once(self) -> bool:
        """One round; whether it changed which samples are kept."""
        keep = within_gate(self.filters, self.segments, self.quantities, self.values())
        outside = sum(int(np.count_nonzero(~k)) for k in keep)
        if all((a == b).all() for a, b in zip(keep, self.keep, strict=True)):
            return False
        if outside > OUTLIERS_MAX * self.samples:
            share = f"{outside / self.samples:.0%}"
            self.warnings.append(f"{share} of the samples are beyond the gate: the model does not fit; all are kept")
            return False
        kept = [s.where(k) for s, k in zip(self.segments, keep, strict=True)]
        likelihood = Likelihood(self.filters, kept, self.quantities)
        optimum = self._climb(likelihood, self.optimum.at, f"without {outside} beyond the gate")
        self.evaluations += self.likelihood.evaluations
        self.keep, self.likelihood, self.optimum = keep, likelihood, optimum
        return True

    def _accuracy(self) -> Accuracy:
        p = len(self.start)
        unknown = Accuracy(np.full(p, np.nan), np.full((p, p), np.nan), ())
        if self.optimum.stop == "interrupted":
            return unknown
        try:
            self._progress("standard errors", 0, self.optimum.expansion.value)
            return accuracy(self.likelihood, self.optimum, self.low, self.high)
        except KeyboardInterrupt:
            self.warnings.append("interrupted before the standard errors were known")
            return unknown
