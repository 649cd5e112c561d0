"""Would one changed parameter explain what a twin sees? Gauss-Newton on the innovations, one parameter at a time.

For each parameter a copy of the row runs over the remembered samples with the parameter as it is, and one with it moved
a little; the difference of their innovations is the sensitivity g. With y the innovation, s its variance, the move δ =
-Σ(y g/s) / Σ(g²/s) makes Σ(y + δ g)²/s least; this is repeated with the parameter moved (the generalised likelihood
ratio test of Willsky, Jones, IEEE Transactions on Automatic Control 21(1), 1976, for a change of known direction and
unknown size).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels import health as kernel

ROUNDS = 5
NUDGE = 0.01
"""Relative move for the sensitivity."""
FACTOR_MAX = 5.0
"""How far a parameter may go from what it was."""
Sample = tuple[int, int, float]
"""Channel, time in ns, raw value."""
Feed = Callable[[NDArray[np.void], Sample], None]
"""Fuses one sample into every row."""


def explaining(
    row: NDArray[np.void], samples: Sequence[Sample], channels: Sequence[int], count: int, feed: Feed
) -> list[tuple[int, float]]:
    """(parameter, factor) of each parameter that, so changed, makes the filter consistent with all samples.

    ``row`` records[1] as it was before the first sample; ``channels`` those that count; ``count`` parameters p0, p1….
    """
    first = np.array([float(row[f"p{k}"][0]) for k in range(count)])
    free = np.flatnonzero(first != 0.0)
    value = first.copy()
    found: dict[int, float] = {}
    for _ in range(ROUNDS):
        if not len(free):
            break
        move, nis, n = _linearised(row, samples, channels, value, free, feed)
        if n < kernel.SAMPLES_LEAST:
            break
        for k, mean in zip(free.tolist(), nis, strict=True):
            if kernel.nis_deviation(float(mean), n) < kernel.DEVIATIONS:
                found[k] = value[k] / first[k]
        moved = np.clip((value[free] + move) / first[free], 1.0 / FACTOR_MAX, FACTOR_MAX) * first[free]
        settled = np.abs(moved - value[free]) < 1e-3 * np.abs(first[free])
        value[free] = moved
        free = free[~settled & ~np.isin(free, list(found))]
    return sorted(found.items())


def _linearised(
    row: NDArray[np.void],
    samples: Sequence[Sample],
    channels: Sequence[int],
    value: NDArray[np.float64],
    free: NDArray[np.int64],
    feed: Feed,
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Best move of each free parameter, the mean NIS with its value as it is, float64[free], and the number of
    innovations."""
    count = len(free)
    rows = np.repeat(row, 2 * count)
    nudge = NUDGE * value[free]
    for k, parameter in enumerate(free.tolist()):
        rows[f"p{parameter}"][[k, count + k]] = value[parameter], value[parameter] + nudge[k]
    slope, square, total = np.zeros(count), np.zeros(count), np.zeros(count)
    n = 0
    for sample in samples:
        feed(rows, sample)
        c = sample[0]
        if c not in channels:
            continue
        y, s = rows[f"y{c}"], rows[f"s{c}"][:count]
        g = (y[count:] - y[:count]) / nudge
        with np.errstate(all="ignore"):
            slope += np.nan_to_num(y[:count] * g / s)
            square += np.nan_to_num(g * g / s)
            total += np.nan_to_num(np.minimum(y[:count] ** 2 / s, kernel.CLIP**4))
        n += 1
    move = np.divide(-slope, square, out=np.zeros(count), where=square > 0)
    return move, total / max(n, 1), n
