"""The row in which one twin with equations keeps everything; see :mod:`edgetwin.model.layout` for the shared fields.

States ``x{i}``, factors ``d{i}`` and ``u{i}_{j}``, inputs ``i{k}``, parameters ``p{k}``, noise intensities ``q{i}``
(variance per second), initial values ``x0_{i}`` and variances ``d0_{i}``. For each channel c, measurements first, then
inputs: ``r{c}`` measurement variance; ``lo{c} hi{c} scale{c} offset{c}`` as configured; ``z{c} t_seen{c}`` last sample
and ``seen_of{c}`` whether there is one; ``nis{c} y{c} s{c}`` last innovation; ``fused_of{c} gated_of{c} rejects_of{c}``
counters; ``learn_of{c}`` whether r is learned. ``nis_mean`` is over all channels, ``rejects`` the most of any channel.
"""

from __future__ import annotations

import numpy as np

from edgetwin.config.equations import EquationModel
from edgetwin.model.layout import upper

CHANNEL_FLOATS = ("r", "lo", "hi", "scale", "offset", "z", "nis", "y", "s")
CHANNEL_LONGS = ("t_seen", "fused_of", "gated_of")
CHANNEL_INTS = ("rejects_of", "learn_of", "seen_of")


def equation_row_dtype(model: EquationModel) -> np.dtype[np.void]:
    """The row of a twin of ``model``."""
    n, channels = model.size, range(len(model.channels))
    floats = [*(f"x{i}" for i in range(n)), *(f"d{i}" for i in range(n)), *(f"u{i}_{j}" for i, j in upper(n))]
    floats += [f"i{k}" for k in range(len(model.inputs))] + [f"p{k}" for k in range(len(model.parameters))]
    floats += [f"q{i}" for i in range(n)] + [f"x0_{i}" for i in range(n)] + [f"d0_{i}" for i in range(n)]
    floats += ["dt_mean", "nis_mean", "gate"] + [f"{name}{c}" for name in CHANNEL_FLOATS for c in channels]
    longs = ["late_ns", "stale_ns", "fused", "gated", "reported"] + [
        f"{name}{c}" for name in CHANNEL_LONGS for c in channels
    ]
    ints = ["updates", "rejects", "reject_max", "resets", "twin", "history"] + [
        f"{name}{c}" for name in CHANNEL_INTS for c in channels
    ]
    ints += ["spare"] * (len(ints) % 2)  # no padding: rows are compared and stored as bytes
    return np.dtype(
        [("t", "i8")] + [(f, "f8") for f in floats] + [(f, "i8") for f in longs] + [(f, "i4") for f in ints], align=True
    )
