"""How well a twin foresees its next samples: as configured, and with what was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.fit.filters import Filter
from edgetwin.fit.quantities import Quantity
from edgetwin.fit.samples import Segment


@dataclass(frozen=True, slots=True)
class Foresight:
    """One signal: one-step RMSE over ``samples``, in its unit, gated ones too; mean NIS over those within the gate (1
    when the filter tells the truth about its errors). NaN where there is none."""

    signal: str
    samples: int
    rmse: float
    nis: float


def foresight(
    filters: Sequence[Filter],
    segments: Sequence[Segment],
    fitted: tuple[Sequence[Quantity], NDArray[np.float64]] | None,
    *,
    held_out: bool,
) -> list[Foresight]:
    """Run whole segments through the twin as it would run: its gate on, and, without ``fitted`` values float64[p],
    learning what the configuration leaves to be learned. Judged are the samples held out, or the others."""
    found: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64], float]]] = {}
    for f in filters:
        for segment in segments:
            samples = f.samples(segment)
            rows = f.row.copy() if fitted is None else f.rows(fitted[0], fitted[1][None])
            gate = float(rows["gate"][0])
            for piece in f.run(rows, samples, len(samples), strict=False):
                place = piece.first + np.arange(len(piece.channel))
                judged = (place >= samples.train) == held_out
                for channel, signal in f.signals.items():
                    mine = judged & (piece.channel == channel) & ~np.isnan(piece.s[:, 0])
                    found.setdefault(signal, []).append((piece.y[mine, 0], piece.s[mine, 0], gate))
    return [_summed(signal, parts) for signal, parts in found.items()]


def _summed(signal: str, parts: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], float]]) -> Foresight:
    y, s = np.concatenate([y for y, _, _ in parts]), np.concatenate([s for _, s, _ in parts])
    with np.errstate(all="ignore"):
        nis = y * y / s
        inside = nis <= parts[0][2]
        rmse = float(np.sqrt(np.mean(y * y))) if len(y) else np.nan
        return Foresight(signal, len(y), rmse, float(np.mean(nis[inside])) if inside.any() else np.nan)


def within_gate(
    filters: Sequence[Filter],
    segments: Sequence[Segment],
    quantities: Sequence[Quantity],
    values: NDArray[np.float64],
) -> list[NDArray[np.bool_]]:
    """For each segment bool[n]: whether the twin with these values would let the sample through its gate."""
    made = []
    for segment in segments:
        keep = np.ones(len(segment), np.bool_)
        for f in filters:
            samples = f.samples(segment)
            at = np.flatnonzero(np.isin(segment.slot, np.array(list(f.channel_of), np.int32)))
            rows = f.rows(quantities, values[None])
            gate = float(rows["gate"][0])
            for piece in f.run(rows, samples, len(samples), strict=False):
                with np.errstate(all="ignore"):
                    outside = piece.y[:, 0] ** 2 / piece.s[:, 0] > gate
                keep[at[piece.first : piece.first + len(outside)][outside]] = False
        made.append(keep)
    return made
