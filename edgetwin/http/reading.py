"""The daemon's figures at one instant, copied from its arrays for a scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.control.controller import Controller
from edgetwin.engine import Engine
from edgetwin.http.view import DaemonView, Polled, SourceView, Timed, UplinkView
from edgetwin.instruments import LATENCY_BOUNDS_S, Histogram
from edgetwin.journal import Stats
from edgetwin.uplink.account import FrameAccount

Columns = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class HistogramReading:
    """``counts`` int64[len(bounds) + 1] per bucket, the last above every bound; ``sum`` of all values."""

    bounds: tuple[float, ...]
    counts: NDArray[np.int64]
    sum: float


@dataclass(frozen=True, slots=True)
class UnitReading:
    """A polled device's figures; ``outcomes`` of its requests."""

    unit: int
    up: bool
    requests: HistogramReading
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PolledReading:
    """What only sources have that poll: devices, polls left out, registers refused now."""

    units: tuple[UnitReading, ...]
    overruns: int
    refused: int


@dataclass(frozen=True, slots=True)
class SourceReading:
    """A source's figures."""

    name: str
    up: bool
    messages: int
    polled: PolledReading | None


@dataclass(frozen=True, slots=True)
class UplinkReading:
    """The uplink's figures; ``frames`` by outcome, ``errors`` and ``acks_ignored`` by reason."""

    up: bool
    frames: Mapping[str, int]
    errors: Mapping[str, int]
    acks_ignored: Mapping[str, int]
    bytes_total: int
    backlog_bytes: int
    backlog_age_s: float
    ack_latency: HistogramReading


@dataclass(frozen=True, slots=True)
class JournalReading:
    """The journal's figures."""

    stats: Stats
    sync_seconds: HistogramReading


@dataclass(frozen=True, slots=True)
class StateReading:
    """States of twins of one model, for series of their own.

    ``columns[i]`` is (twin, state, unit) of each state of row i; ``mean`` and ``std`` float64[rows, states].
    """

    columns: list[Columns]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def __iter__(self) -> Iterator[tuple[str, str, float, float]]:
        """Twin, state, mean, standard deviation."""
        for columns, means, stds in zip(self.columns, self.mean.tolist(), self.std.tolist(), strict=True):
            for (twin, state, _), mean, std in zip(columns, means, stds, strict=True):
                yield twin, state, mean, std


@dataclass(frozen=True, slots=True)
class ControlReading:
    """Outputs: ``commands`` by outcome, ``fallbacks`` written, ``outputs`` by what is true of them."""

    commands: dict[str, int]
    fallbacks: int
    outputs: dict[str, int]


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything a scrape tells. ``samples`` int64[source, outcome], ``quality`` int64[3] twins by Quality;
    ``health`` signals by finding; ``clock_offsets`` float64[source] in seconds, ``clock_stamps`` int64[source, FIGURES]
    as counted by the engine."""

    version: str
    source_names: tuple[str, ...]
    samples: NDArray[np.int64]
    sources: tuple[SourceReading, ...]
    latency: HistogramReading
    loop_lag: HistogramReading
    quality: NDArray[np.int64]
    nis: HistogramReading
    health: Mapping[str, int]
    clock_trusted: bool
    clock_offsets: NDArray[np.float64]
    clock_stamps: NDArray[np.int64]
    frames: FrameAccount
    uplink: UplinkReading | None
    journal: JournalReading | None
    states: tuple[StateReading, ...]
    control: ControlReading | None

    @property
    def series_of_twins(self) -> int:
        """How many series the twins have of their own."""
        return sum(2 * s.mean.size for s in self.states)


def take_reading(view: DaemonView) -> Reading:
    """Read the arrays; on the event loop. Vectorised over twins, so that it takes no time to speak of."""
    engine, now_ns = view.engine, view.clock.wall_ns()
    bounds, counts, total = engine.nis_histogram()
    uplink, journal = view.uplink, view.journal
    return Reading(
        version=view.version,
        source_names=engine.sources,
        samples=engine.ledger.counts.copy(),
        sources=tuple(_source(s) for s in view.sources),
        latency=_sum([s.latency for s in view.sources if isinstance(s, Timed)]),
        loop_lag=_copy(view.loop_lag),
        quality=engine.quality_counts(now_ns),
        nis=HistogramReading(bounds, counts, total),
        health=engine.health.counts(),
        clock_trusted=engine.clocks.trusted,
        clock_offsets=engine.clocks.worst_offsets(),
        clock_stamps=engine.clocks.counts.copy(),
        frames=view.outbox.account,
        uplink=None if uplink is None else _uplink(uplink),
        journal=None if journal is None else JournalReading(journal.stats(), _copy(journal.sync_seconds)),
        states=tuple(_states(engine, now_ns)),
        control=None if view.acting is None else _control(view.acting.controller, now_ns),
    )


def _source(source: SourceView) -> SourceReading:
    if not isinstance(source, Polled):
        return SourceReading(source.name, source.up, source.messages, None)
    units = tuple(UnitReading(n, u.up, _copy(u.requests), dict(u.outcomes)) for n, u in source.units.items())
    polled = PolledReading(units, source.overruns, len(source.refused()))
    return SourceReading(source.name, source.up, source.messages, polled)


def _uplink(uplink: UplinkView) -> UplinkReading:
    return UplinkReading(
        up=uplink.up,
        frames=dict(uplink.frames),
        errors=dict(uplink.errors),
        acks_ignored=dict(uplink.acks_ignored),
        bytes_total=uplink.bytes_total,
        backlog_bytes=uplink.backlog_bytes,
        backlog_age_s=uplink.backlog_age_s,
        ack_latency=_copy(uplink.ack_latency),
    )


def _control(controller: Controller, now_ns: int) -> ControlReading:
    outputs = controller.outputs.values()
    states = {
        "armed": sum(o.armed for o in outputs),
        "held": sum(o.held(now_ns) for o in outputs),
        "faulty": sum(bool(o.fault) for o in outputs),
        "all": len(outputs),
    }
    return ControlReading(dict(controller.counts), controller.fallbacks, states)


def _copy(histogram: Histogram) -> HistogramReading:
    return HistogramReading(histogram.bounds, histogram.counts.copy(), float(histogram.sum))


def _sum(histograms: list[Histogram]) -> HistogramReading:
    """Histograms of the same bounds as one."""
    bounds = histograms[0].bounds if histograms else LATENCY_BOUNDS_S
    counts = np.zeros(len(bounds) + 1, np.int64)
    for histogram in histograms:
        assert histogram.bounds == bounds
        counts += histogram.counts
    return HistogramReading(bounds, counts, float(sum(h.sum for h in histograms)))


def _states(engine: Engine, now_ns: int) -> Iterator[StateReading]:
    """States as of now of the first ``limits.metric_twins`` twins that have had a sample."""
    twins_max = engine.config.limits.metric_twins
    for bank in engine.banks if twins_max else ():
        rows = bank.rows
        index = np.flatnonzero((rows["twin"] < twins_max) & (rows["updates"] > 0))
        mean, std = bank.predict(index, now_ns)
        yield StateReading([bank.columns[i] for i in index.tolist()], mean, std)
