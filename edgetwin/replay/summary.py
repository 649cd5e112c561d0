"""``summary.json``: what was replayed and how well it was foreseen. No figure in it depends on the machine's speed."""

from __future__ import annotations

from typing import IO

import msgspec
import numpy as np

from edgetwin.clock import NS
from edgetwin.engine import Engine
from edgetwin.engine.trace import Trace
from edgetwin.records import OUTCOMES, Outcome
from edgetwin.replay.feed import Block
from edgetwin.replay.frames import Frames
from edgetwin.replay.tables import seconds

NIS_95 = 3.841458820694124
"""95 % point of chi-squared with one degree of freedom."""


class SignalSummary(msgspec.Struct, frozen=True):
    """One signal. ``rmse``, ``coverage_95`` (share of samples inside the 95 % interval) and ``mean_nis`` are of the
    one-step-ahead prediction and None before there was one; ``rmse`` and ``coverage_95`` are over every sample that
    was compared with a prediction, rejected ones too; ``mean_nis`` over the fused ones. ``noise`` is the standard
    deviation of a measurement at the end."""

    unit: str
    samples: int
    fused: int
    gated: int
    predicted: int
    rmse: float | None
    mean_nis: float | None
    coverage_95: float | None
    noise: float


class TwinSummary(msgspec.Struct, frozen=True):
    """One twin and its signals by name."""

    model: str
    signals: dict[str, SignalSummary]


class FramesSummary(msgspec.Struct, frozen=True):
    """What is in ``frames.etf``; ``bytes`` are those of the file."""

    frames: int
    reports: int
    values: int
    bytes: int


class ReplaySummary(msgspec.Struct, frozen=True):
    """The whole run; times in seconds since the epoch, ``sources`` the ledger: received, then each outcome."""

    gateway: str
    samples: int
    first_t: float | int | None
    last_t: float | int | None
    duration_s: float
    sources: dict[str, dict[str, int]]
    twins: dict[str, TwinSummary]
    frames: FramesSummary


class Tally:
    """Sums over every sample, added in the order of the samples."""

    def __init__(self, engine: Engine) -> None:
        slots = sum(len(twin.slots) for twin in engine.instances())
        self._engine = engine
        self._samples = np.zeros(slots, np.int64)
        self._predicted = np.zeros(slots, np.int64)
        self._inside = np.zeros(slots, np.int64)
        self._fused = np.zeros(slots, np.int64)
        self._square = np.zeros(slots)
        self._nis = np.zeros(slots)
        self.first_ns: int | None = None
        self.last_ns = 0

    def add(self, block: Block, trace: Trace) -> None:
        """Count the samples of a block."""
        if self.first_ns is None:
            self.first_ns = int(block.now_ns[0])
        self.last_ns = int(block.now_ns[-1])
        np.add.at(self._samples, block.slot, 1)
        known = ~np.isnan(trace.nis)
        slot, nis = block.slot[known], trace.nis[known]
        np.add.at(self._predicted, slot, 1)
        np.add.at(self._inside, slot, nis <= NIS_95)
        np.add.at(self._square, slot, (trace.value[known] - trace.predicted[known]) ** 2)
        fused = trace.outcome[known] != Outcome.GATED
        np.add.at(self._fused, slot[fused], 1)
        np.add.at(self._nis, slot[fused], nis[fused])

    def summary(self, frames: Frames) -> ReplaySummary:
        """The figures so far."""
        ledger = self._engine.ledger
        sources = {
            name: {"received": int(ledger.received[i]), **dict(zip(OUTCOMES, ledger.counts[i].tolist(), strict=True))}
            for i, name in enumerate(self._engine.sources)
        }
        return ReplaySummary(
            gateway=self._engine.config.gateway,
            samples=int(self._samples.sum()),
            first_t=None if self.first_ns is None else _time(self.first_ns),
            last_t=None if self.first_ns is None else _time(self.last_ns),
            duration_s=0.0 if self.first_ns is None else (self.last_ns - self.first_ns) / NS,
            sources=sources,
            twins={twin: self._twin(twin) for twin in self._engine.names()},
            frames=FramesSummary(frames.frames, frames.reports, frames.values, frames.bytes),
        )

    def _twin(self, name: str) -> TwinSummary:
        twin = next(t for t in self._engine.instances() if t.name == name)
        status = self._engine.estimate(name, None, self.last_ns).signals
        signals = {}
        for signal, slot in twin.slots.items():
            predicted, fused = int(self._predicted[slot]), int(self._fused[slot])
            signals[signal] = SignalSummary(
                unit=status[signal].unit,
                samples=int(self._samples[slot]),
                fused=status[signal].fused,
                gated=status[signal].gated,
                predicted=predicted,
                rmse=float(np.sqrt(self._square[slot] / predicted)) if predicted else None,
                mean_nis=float(self._nis[slot] / fused) if fused else None,
                coverage_95=float(self._inside[slot] / predicted) if predicted else None,
                noise=status[signal].noise,
            )
        return TwinSummary(twin.spec.model, signals)


def write_summary(summary: ReplaySummary, file: IO[bytes]) -> None:
    """As indented JSON."""
    file.write(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def _time(t_ns: int) -> float | int:
    value: float | int = seconds(np.array([t_ns - t_ns % 1000], np.int64))[0]  # type: ignore[assignment]
    return value
