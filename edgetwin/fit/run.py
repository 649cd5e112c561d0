"""A fit from the files to the result, wired in data order.

::

    files ─segments─▶ likelihood ─▶ maximise ─▶ samples beyond the gate set aside, again ─▶ accuracy ─▶ foresight
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.findings import Findings
from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.errors import FitError
from edgetwin.fit.filters import Filter, twin_filters
from edgetwin.fit.foresight import Foresight, foresight, within_gate
from edgetwin.fit.information import Accuracy, accuracy
from edgetwin.fit.likelihood import Likelihood
from edgetwin.fit.quantities import Quantity, bounded, chosen
from edgetwin.fit.samples import Segment, Selection, read_segments
from edgetwin.fit.scoring import Optimum, Stop, maximise
from edgetwin.fit.start import started

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


@dataclass(frozen=True, slots=True)
class Fitted:
    """One quantity; ``std`` is NaN where none can be said, ``before`` where the configuration left it to be learned."""

    quantity: Quantity
    value: float
    std: float
    before: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval, symmetric in the coordinate of the search."""
        q = self.quantity
        reach = 1.959964 * self.std / q.slope(self.value)
        low, high = q.natural(q.coordinate(self.value) + np.array([-reach, reach])).tolist()
        return low, high


@dataclass(frozen=True, slots=True)
class Result:
    """A fitted twin. log L is over ``samples`` foreseen samples, ``set_aside`` others not counted; ``before`` and
    ``after`` judge the samples held out, or all when none are; ``correlation`` is in the order of ``fitted``."""

    twin: str
    model: str
    files: tuple[str, ...]
    first_ns: int
    last_ns: int
    segments: int
    samples: int
    set_aside: int
    log_likelihood: tuple[float, float]
    fitted: tuple[Fitted, ...]
    correlation: NDArray[np.float64]
    warnings: tuple[str, ...]
    held_out: bool
    before: tuple[Foresight, ...]
    after: tuple[Foresight, ...]
    iterations: int
    evaluations: int
    stop: Stop


def fit(
    config: Config,
    index: int,
    base: Path,
    options: Options,
    progress: Progress,
) -> Result:
    """Fit twin ``index``; files of the configuration are relative to ``base``.

    KeyboardInterrupt during the search gives the best so far, with ``stop`` saying so. ConfigError (located) for what
    cannot be fitted or is not bound to a recording, SourceError when a file cannot be read, FitError when the data are
    too few or the likelihood is not finite where the search would start.
    """
    findings = Findings(config)
    quantities = chosen(findings, index, options.parameters, noise=options.noise, initial=options.initial)
    engine = Engine(config)
    segments = read_segments(findings, index, engine, base, options.selection)
    instance = next(t for t in engine.instances() if t.name == config.twins[index].name)
    filters = twin_filters(engine, instance)
    complete = bounded(started(quantities, instance, segments), options.bounds)
    search = _Search(instance.name, filters, segments, complete, options, progress)
    search.run()
    return _result(search, quantities, config.twins[index].model, options)


class _Search:
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


def _result(search: _Search, asked: Sequence[Quantity], model: str, options: Options) -> Result:
    values = search.values()
    kept = [s.where(k) for s, k in zip(search.segments, search.keep, strict=True)]
    fitted = [
        Fitted(q, float(v), float(std * q.slope(float(v))), before.value)
        for q, v, std, before in zip(search.quantities, values, search.accuracy.std, asked, strict=True)
    ]
    stops = {"iterations": ("the search was still climbing when its iterations were used up",)}
    held_out = options.selection.validate > 0
    final = (search.quantities, values)
    return Result(
        twin=search.name,
        model=model,
        files=tuple(dict.fromkeys(s.file for s in search.segments)),
        first_ns=min(int(s.t_ns[0]) for s in search.segments),
        last_ns=max(int(s.t_ns[-1]) for s in search.segments),
        segments=len(search.segments),
        samples=search.likelihood.samples(),
        set_aside=sum(s.train - k.train for s, k in zip(search.segments, kept, strict=True)),
        log_likelihood=(search.before(), search.optimum.expansion.value),
        fitted=tuple(fitted),
        correlation=search.accuracy.correlation,
        warnings=(*search.warnings, *search.accuracy.warnings, *stops.get(search.optimum.stop, ())),
        held_out=held_out,
        before=tuple(foresight(search.filters, search.segments, None, held_out=held_out)),
        after=tuple(foresight(search.filters, search.segments, final, held_out=held_out)),
        iterations=search.optimum.iterations,
        evaluations=search.evaluations,
        stop=search.optimum.stop,
    )
