"""The record in which one filter keeps everything it needs: one row, one or two cache lines apart.

========== ====== ==============================================================================
field      dtype  meaning (units: those of the signal unless said)
========== ====== ==============================================================================
t          i8     time of the state, ns since the epoch
x0..       f8     state mean
d0..       f8     diagonal of the covariance factor D; P = U D Uᵀ
u0_1..     f8     strictly upper entries of the unit factor U
r          f8     measurement noise variance
q          f8     process noise intensity (variance per second at the highest derivative)
tau        f8     time constant, s (first_order)
spread     f8     initial standard deviation of each higher derivative, in noise std per s**k
dt_mean    f8     exponentially weighted mean sampling interval, s
z, t_seen  f8, i8 last finite sample (scaled) and its time, for recognising repeats
nis, y, s  f8     last normalised innovation squared, innovation and its variance
nis_mean   f8     exponentially weighted mean of ``nis`` (1 when the filter is consistent)
y_prev     f8     previous innovation divided by its standard deviation
quantum    f8     smallest change seen between successive samples: the sensor's resolution
lo, hi     f8     accepted range; scale, offset: value = scale * raw + offset
gate       f8     limit of ``nis``; a sample above it is rejected
late_ns    i8     lateness accepted, ns (twins with a history)
stale_ns   i8     age after which the twin is stale, ns; 0: ten mean intervals plus 5 s
fused...   i8     samples by outcome: fused, gated
updates    i4     updates since the filter last (re)started; 0: no sample yet
rejects    i4     rejections in a row; reject_max: restart when this many are reached
resets     i4     restarts after rejections or divergence
learn      i4     bit 0: r is learned, bit 1: q is learned, bit 2: frozen once 256 samples are fused
reported   i8     ``fused`` at the last report; -1: to be reported whatever it is
history    i4     0: none; else one more than the index of the row's history (edgetwin.model.ordering)
========== ====== ==============================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LEARN_R = 1
LEARN_Q = 2
FROZEN = 4

CONFIGURED = (
    "tau",
    "spread",
    "lo",
    "hi",
    "scale",
    "offset",
    "gate",
    "late_ns",
    "stale_ns",
    "reject_max",
    "learn",
    "history",
)
"""Fields that come from the configuration and are not restored from a snapshot."""


def upper(n: int) -> list[tuple[int, int]]:
    """Index pairs (i, j), i < j, of the strictly upper triangle, by column."""
    return [(i, j) for j in range(n) for i in range(j)]


def state_fields(n: int) -> list[str]:
    """Mean and factors of the covariance."""
    names = [*(f"x{i}" for i in range(n)), *(f"d{i}" for i in range(n))]
    return [*names, *(f"u{i}_{j}" for i, j in upper(n))]


def row_dtype(n: int, extra: Sequence[tuple[Any, ...]] = ()) -> np.dtype[np.void]:
    """The row of a filter with ``n`` states; ``extra`` fields come last."""
    floats = [
        *state_fields(n),
        "r",
        "q",
        "tau",
        "spread",
        "dt_mean",
        "z",
        "nis",
        "y",
        "s",
        "nis_mean",
        "y_prev",
        "quantum",
    ]
    floats += ["lo", "hi", "scale", "offset", "gate"]
    longs = ["t", "t_seen", "late_ns", "stale_ns", "fused", "gated", "reported"]
    ints = ["updates", "rejects", "reject_max", "resets", "learn", "twin", "history"]
    ints += ["spare"] * (len(ints) % 2)  # no padding: rows are compared and stored as bytes
    return np.dtype(
        [(f, "i8") for f in longs[:2]]
        + [(f, "f8") for f in floats]
        + [(f, "i8") for f in longs[2:]]
        + [(f, "i4") for f in ints]
        + list(extra),
        align=True,
    )
