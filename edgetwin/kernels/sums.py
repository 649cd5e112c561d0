"""Count, extremes, mean and duration of the raw samples of each signal.

The sum is compensated (Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", ZAMM 54,
1974), so the mean is right to the last bit or two however many samples there are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.jit import kernel

SUM = np.dtype(
    [
        ("scale", "f8"),
        ("offset", "f8"),
        ("lo", "f8"),
        ("hi", "f8"),
        ("last", "f8"),
        ("last_t", "i8"),
        ("count", "i8"),
        ("low", "f8"),
        ("high", "f8"),
        ("total", "f8"),
        ("error", "f8"),
        ("duration", "i8"),
    ],
    align=True,
)
"""One signal. ``scale`` to ``hi``: of the configuration; ``last``, ``last_t``: newest sample (scaled) and its time, 0:
none yet; since they were last taken: ``count``, ``low`` and ``high``, ``total`` plus ``error`` the sum, ``duration`` in
ns from the newest sample before to the newest one now."""

Array = NDArray[Any]


@kernel
def accumulate(sums: Array, slot: Array, t_ns: Array, value: Array, t_max: int) -> None:
    """Enter samples: sums SUM[slots], slot int32[n], t_ns int64[n], value float64[n] (raw).

    Left out is what is no reading: a value that is not finite or outside of the range, a time that is not positive or
    beyond ``t_max``, and the newest sample over again. A late sample counts but adds no duration.
    """
    for k in range(slot.shape[0]):
        own = sums[slot[k]]
        t = t_ns[k]
        x = own["scale"] * value[k] + own["offset"]
        if not (own["lo"] <= x <= own["hi"]) or not math.isfinite(x) or not 0 < t <= t_max:
            continue
        last_t = own["last_t"]
        if t == last_t and x == own["last"]:
            continue
        if t > last_t:
            if last_t > 0:
                own["duration"] += t - last_t
            own["last_t"], own["last"] = t, x
        own["low"] = x if own["count"] == 0 else min(own["low"], x)
        own["high"] = x if own["count"] == 0 else max(own["high"], x)
        own["count"] += 1
        total = own["total"] + x
        if abs(own["total"]) >= abs(x):
            own["error"] += (own["total"] - total) + x
        else:
            own["error"] += (x - total) + own["total"]
        own["total"] = total
