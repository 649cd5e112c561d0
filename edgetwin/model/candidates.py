"""Kernels that run one recording through many candidates of a filter at once, for fitting.

They are generated around a model's own ``accept``, so a candidate takes the very steps that a twin takes.
"""

from __future__ import annotations

from collections.abc import Callable

from edgetwin.model.compiler import Kernels, written_module

_SOURCE = '''"""Innovations of many candidates with the kernels of {module}. Generated; edits are overwritten."""

import math

from {module} import accept
from edgetwin.kernels.jit import kernel

FUSED, GATED = 0, 2


@kernel
def last_innovation(row, channel, fused):
    """Innovation and its variance of the sample that ``row`` has just judged; NaN when none was made."""
{read}
    return math.nan, math.nan


@kernel
def innovations(rows, channel, t_ns, value, strict, y, s):
    """Take n samples, in order of time, through every row: K candidates of one filter, each by itself.

    rows: records[K], changed, so that a recording can be given in pieces. channel int32[n] below the model's channels,
    t_ns int64[n], value float64[n] raw. strict: leave out a row once it has diverged (``resets`` > 0). y, s
    float64[n, K]: innovations and their variances; NaN where no prediction was made: a first sample, repeats, what is
    out of range, and inputs.
    """
    for k in range(channel.shape[0]):
        for c in range(rows.shape[0]):
            y[k, c] = math.nan
            s[k, c] = math.nan
            if strict and rows[c]["resets"] > 0:
                continue
            outcome = accept(rows[c], channel[k], value[k], t_ns[k], t_ns[k])
            if outcome == FUSED or outcome == GATED:
                y[k, c], s[k, c] = last_innovation(rows[c], channel[k], outcome == FUSED)
'''


def compile_candidates(name: str, kernels: Kernels, measured: int | None) -> Callable[..., None]:
    """``innovations`` for the model ``name``, compiled at its first call; its docstring is in the generated source.

    ``measured``: how many of the channels are measurements, for rows as in edgetwin.model.equation_layout; None for
    rows as in edgetwin.model.layout. ModelError when the source does not load.
    """
    if measured is None:  # the first sample starts the filter: nothing was foreseen
        read = ['    if row["updates"] > 1 or not fused:', '        return row["y"], row["s"]']
    else:
        read = [f'    if channel == {c}:\n        return row["y{c}"], row["s{c}"]' for c in range(measured)]
    source = _SOURCE.format(module=kernels.update.__module__, read="\n".join(read))
    innovations: Callable[..., None] = written_module(f"{name}_candidates", source).innovations
    return innovations
