"""The row in which one twin with equations keeps everything; see :mod:`edgetwin.model.layout` for the shared fields.

States ``x{i}``, factors ``d{i}`` and ``u{i}_{j}``, inputs ``i{k}``, parameters ``p{k}``, noise intensities ``q{i}``
(variance per second), initial values ``x0_{i}`` and variances ``d0_{i}``. For each channel c, measurements first, then
inputs: ``r{c}`` measurement variance; ``lo{c} hi{c} scale{c} offset{c}`` as configured; ``z{c} t_seen{c}`` last sample
and ``seen_of{c}`` whether there is one; ``nis{c} y{c} s{c}`` last innovation; ``fused_of{c} gated_of{c} rejects_of{c}``
counters; ``learn_of{c}`` whether r is learned. ``nis_mean`` is over all channels, ``rejects`` the most of any channel.

A linear model of few states keeps its last transition: ``f{i}_{j}``, ``gamma{i}_{j}``, ``qu{i}_{j}``, ``qd{i}`` are
pure functions of the ``key`` fields beside them (:mod:`edgetwin.model.equation_exact`).

What every sample touches stands in front, then one block for each channel, then what is seldom read: a sample touches
as few cache lines as it can.
"""

from __future__ import annotations

import numpy as np

from edgetwin.config.equations import EquationModel
from edgetwin.model.layout import state_fields
from edgetwin.model.structure import CACHED_STATES_MAX, Linear, linear_structure

CHANNEL = np.dtype(
    [(name, "f8") for name in ("scale", "offset", "lo", "hi", "r", "z", "nis", "y", "s")]
    + [(name, "i8") for name in ("t_seen", "fused_of", "gated_of")]
    + [(name, "i4") for name in ("rejects_of", "learn_of", "seen_of", "spare")],
    align=True,
)
"""The block of one channel; in the row, each field's name has the channel's number behind."""


def equation_row_dtype(model: EquationModel) -> np.dtype[np.void]:
    """The row of a twin of ``model``. It has no padding: rows are compared and stored as bytes."""
    n, noise = model.size, list(enumerate(model.process_noise))
    hot = [*state_fields(n), *(f"i{k}" for k in range(len(model.inputs)))]
    hot += [*(f"p{k}" for k in range(len(model.parameters))), *(f"q{i}" for i, q in noise if q > 0)]
    fields = [("t", "i8"), ("history", "i4"), ("updates", "i4"), ("rejects", "i4"), ("reject_max", "i4")]
    fields += [("fused", "i8"), ("gated", "i8")]
    fields += [(name, "f8") for name in ("dt_mean", "nis_mean", "gate", *hot)]
    linear = linear_structure(model)
    if linear is not None and is_cached(n):
        fields += [(name, "f8") for name in (*cache_keys(model, linear), *cache_fields(linear))]
    for c in range(len(model.channels)):
        fields += [(f"{name}{c}", CHANNEL[name].str) for name in CHANNEL.names or ()]
    cold = [*(f"q{i}" for i, q in noise if not q > 0), *(f"x0_{i}" for i in range(n)), *(f"d0_{i}" for i in range(n))]
    fields += [(name, "f8") for name in cold]
    fields += [(name, "i8") for name in ("late_ns", "stale_ns", "reported")] + [("resets", "i4"), ("twin", "i4")]
    return np.dtype(fields, align=True)


def is_cached(n: int) -> bool:
    """Whether rows of a linear model of n states keep their last transition."""
    return n <= CACHED_STATES_MAX


def cache_fields(linear: Linear) -> list[str]:
    """The last transition: F, the integral of exp(A t), and the factors of the added covariance."""
    names = [f"f{i}_{j}" for i, j in linear.closed] + [f"gamma{i}_{j}" for i, j in linear.closed]
    return [*names, *(f"qu{i}_{j}" for i, j in linear.noise_pairs), *(f"qd{i}" for i in linear.noisy)]


def cache_keys(model: EquationModel, linear: Linear) -> list[str]:
    """What the last transition was computed for: ``key`` (the interval) and ``key_<field>``."""
    return ["key", *(f"key_{name}" for name in transition_arguments(model, linear))]


def transition_arguments(model: EquationModel, linear: Linear) -> list[str]:
    """Row fields that the transition of a linear model depends on."""
    names = [f"i{k}" for k, name in enumerate(model.inputs) if name in linear.coefficients]
    names += [f"p{k}" for k, name in enumerate(model.parameters) if name in linear.coefficients]
    return names + [f"q{i}" for i in linear.driven]


def kept_fields(dtype: np.dtype[np.void]) -> frozenset[str]:
    """The last transition and what it was computed for, in a row: never taken over from another model's."""
    names = dtype.names or ()
    start = names.index("key") if "key" in names else len(names)
    return frozenset(names[start : names.index("scale0")])


def channels_start(dtype: np.dtype[np.void]) -> int:
    """Bytes of a row in front of the first channel's block; the others follow without a gap."""
    fields = dtype.fields
    assert fields is not None
    first = int(fields["scale0"][1])
    assert fields["spare0"][1] + 4 - first == CHANNEL.itemsize
    return first
