"""Mean, standard deviation and quantiles of sorted samples, compiled."""

from __future__ import annotations

import math
from typing import Any

from edgetwin.kernels.jit import kernel


@kernel
def bands(values: Any, quantiles: Any, out: Any, at: int) -> None:
    """Figures of each row of values float64[times, outputs, members], whose members are in ascending order, NaN last.

    quantiles float64[q] in [0, 1], interpolated linearly between order statistics (Hyndman and Fan, "Sample quantiles
    in statistical packages", 1996, definition 7). Written to out float64[2 + q, outputs, columns] at columns ``at`` and
    on: mean, standard deviation (n - 1; 0 for one member), quantiles. NaN are left out; a row of nothing else is NaN.
    """
    for t in range(values.shape[0]):
        for o in range(values.shape[1]):
            row = values[t, o]
            n = row.shape[0]
            while n > 0 and math.isnan(row[n - 1]):
                n -= 1
            if n == 0:
                for k in range(out.shape[0]):
                    out[k, o, at + t] = math.nan
                continue
            total = 0.0
            for k in range(n):
                total += row[k] - row[0]
            mean = row[0] + total / n
            squares = 0.0
            for k in range(n):
                squares += (row[k] - mean) * (row[k] - mean)
            out[0, o, at + t] = mean
            out[1, o, at + t] = math.sqrt(squares / (n - 1)) if n > 1 else 0.0
            for k in range(quantiles.shape[0]):
                place = quantiles[k] * (n - 1)
                below = int(place)
                above = min(below + 1, n - 1)
                out[2 + k, o, at + t] = row[below] + (place - below) * (row[above] - row[below])
