"""What a filter has learned, read from its row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Season:
    """A season being followed: ``period_s``, number of ``harmonics``, and half the swing of its first one."""

    period_s: float
    harmonics: int
    amplitude: float


@dataclass(frozen=True, slots=True)
class SignalNoise:
    """Noise of one signal.

    ``noise`` is the standard deviation of a measurement; ``process_noise`` what the driven state gains per square-root
    second, None where the model has several; ``learned`` tells which of the two are learned. ``carry`` and ``fade_s``
    are the dynamics of ``auto``: the share of a disturbance that follows it, and how fast; None for other models.
    """

    noise: float
    process_noise: float | None
    learned: tuple[str, ...]
    carry: float | None
    fade_s: float | None
    seasons: tuple[Season, ...]


def row_noise(row: np.void) -> SignalNoise:
    """Noise of a row of a built-in model."""
    learned = tuple(what for bit, what in ((1, "noise"), (2, "process_noise")) if row["learn"] & bit)
    names = row.dtype.names or ()
    structural = "carry" in names
    seasons = []
    for n in range(row["seasons"] if structural else 0):
        first = row["season"][n][0]
        amplitude = float(np.hypot(first[0], first[1]))
        seasons.append(Season(1e-9 * int(row["period_ns"][n]), int(row["harmonics"][n]), amplitude))
    return SignalNoise(
        noise=float(np.sqrt(row["r"])),
        process_noise=float(np.sqrt(row["q"])),
        learned=learned,
        carry=float(row["carry"]) if structural else None,
        fade_s=float(row["fade"]) if structural else None,
        seasons=tuple(seasons),
    )
