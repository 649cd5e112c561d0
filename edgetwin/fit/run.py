"""A fit from the files to the result, wired in data order.

::

    files ─segments─▶ likelihood ─▶ maximise ─▶ samples beyond the gate set aside, again ─▶ accuracy ─▶ foresight
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.findings import Findings
from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.fit.filters import twin_filters
from edgetwin.fit.foresight import Foresight, foresight
from edgetwin.fit.quantities import Quantity, bounded, chosen
from edgetwin.fit.samples import read_segments
from edgetwin.fit.scoring import Stop
from edgetwin.fit.search import Options, Progress, Search
from edgetwin.fit.start import started


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
    search = Search(instance.name, filters, segments, complete, options, progress)
    search.run()
    return _result(search, quantities, config.twins[index].model, options)


def _result(search: Search, asked: Sequence[Quantity], model: str, options: Options) -> Result:
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
