"""The model ``auto`` as a bank uses it: the fields of its rows, its ring of past samples, and its kernels' source.

=============== ============ ==================================================================================
field           dtype        meaning (units: those of the signal unless said)
=============== ============ ==================================================================================
fade            f8           time in which the trend fades, s
carry           f8           share of a disturbance that follows it; see edgetwin.kernels.structural
shadow          f8[3, 5]     filters with more q, carry and fade: x0, x1, P00, P01, P11
slope, curve    f8[3], f8[6] gradient and curvature of the forecast errors in this block; ..._sum: with forgetting
pending         f8           last outsized innovation (0: none); pending_at: what it was compared with
other0, other1  f8           state had it been treated the other way
keep, advantage f8           what outsized innovations have taught; see edgetwin.kernels.auto
rejected        f8           last sample beyond the gate, less the season
season          f8[2, 10, 3] coefficient of cosine and sine, and variance, of each harmonic
period_ns       i8[2]        periods of the seasons, ns; harmonics: how many; seasons: how many are followed
worth           f8[2]        squared innovation that each season saves, over its variance
recurrent       i4           whether a table is in use (edgetwin.kernels.recurring)
phases          i4[2]        entries in use of the tables of a day and of a week
recurs          f8[2, 2]     means of innovation times entry and of entry squared, over the innovation's variance
changed, was    i4[2], f4[2] entry that the last sample changed, and what it was; changes: how often that happened
ahead           f8           what the next innovation is foreseen to be
base            f8           the past is kept relative to this; ring_start: and to this time, ns
bucket_...      f8, i4       the entry of the past being filled; decimation: samples in a full one
head, live      i8, i4       entries written to the ring so far; of them, how many are the past
block, tuned    i4           samples in this block; whether noise has been improved before
shadowed        i4           whether the shadows run; other_known, jumped: flags of the pending innovation
season_mode     i4           1: seasons are looked for
=============== ============ ==================================================================================
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.seasons import HARMONICS, LIVE, PHASES, RING, RINGS, SEASONS, TABLES
from edgetwin.model.layout import row_dtype
from edgetwin.model.ordering import UPDATE_SOURCE
from edgetwin.model.spec import LinearModel

_FLOATS = (
    "fade", "carry", "pending", "pending_at", "other0", "other1", "keep", "advantage", "rejected",
    "base", "bucket_time", "bucket_sum", "ahead",
)  # fmt: skip
_ARRAYS = (
    ("shadow", "f8", (3, 5)), ("slope", "f8", (3,)), ("curve", "f8", (6,)), ("slope_sum", "f8", (3,)),
    ("curve_sum", "f8", (6,)), ("season", "f8", (SEASONS, HARMONICS, 3)), ("period_ns", "i8", (SEASONS,)),
    ("harmonics", "i8", (SEASONS,)), ("worth", "f8", (SEASONS,)), ("recurs", "f8", (2, 2)), ("phases", "i4", (2,)),
    ("changed", "i4", (2,)), ("was", "f4", (2,)),
)  # fmt: skip
_INTS = (
    "block", "tuned", "shadowed", "other_known", "jumped", "seasons", "season_mode",
    "decimation", "bucket_n", "live", "recurrent", "changes",
)  # fmt: skip

FIELDS: tuple[tuple[Any, ...], ...] = (
    *((name, "f8") for name in _FLOATS),
    ("ring_start", "i8"),
    ("head", "i8"),
    *((name, "i4") for name in _INTS),
    *_ARRAYS,
)
"""What a row of ``auto`` has beyond that of any built-in model. No padding: the number of i4 fields
is even. What every sample touches comes first."""


def row_of(model: LinearModel) -> np.dtype[np.void]:
    """The row of a built-in model."""
    return row_dtype(model.size, FIELDS if model.structural else ())


def make_past(rows: int) -> NDArray[np.float32]:
    """The past of ``rows`` rows (edgetwin.kernels.seasons); memory that is not written to costs nothing."""
    return np.zeros((2, rows, RING, 2), np.float32)


def past_of(rows: NDArray[np.void], past: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What may be read again, row after row: entries of rings, [m, 2], oldest first; entries of tables, [k]."""
    row, place, _ = _kept(rows)
    return [past[RINGS, row, place], past[TABLES][_used(rows)]]


def restore_past(
    past: NDArray[np.float32],
    saved: list[NDArray[np.float32]],
    old: NDArray[np.void],
    to: NDArray[np.int64],
    source: NDArray[np.int64],
) -> None:
    """Put what is of ``old[source]`` into rows ``to`` of ``past``; ``saved`` is :func:`past_of` of all of ``old``.

    Raises ValueError when it is of another length.
    """
    row, place, valid = _kept(old)
    at, phase, k = _used(old)
    if not valid or [len(entries) for entries in saved] != [len(row), len(at)]:
        raise ValueError("the past of the signals does not fit their rows")
    now = np.full(len(old), -1)
    now[source] = to
    wanted = now[row] >= 0
    past[RINGS, now[row[wanted]], place[wanted]] = saved[0][wanted]
    wanted = now[at] >= 0
    past[TABLES, now[at[wanted]], phase[wanted], k[wanted]] = saved[1][wanted]


def _used(rows: NDArray[np.void]) -> tuple[NDArray[np.int64], ...]:
    """Row, phase and table, int64[k], of the entries of tables in use."""
    return np.nonzero(np.arange(PHASES)[:, None] < rows["phases"][:, None, :])


def _kept(rows: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Row and place in its ring, int64[m], of each entry that may be read again, and whether rows make sense.

    These are the live ones; all there are, where a late sample may put the row back.
    """
    head, live = rows["head"], rows["live"].astype(np.int64)
    n = np.clip(np.where(rows["history"] > 0, np.minimum(head, RING), live), 0, RING)
    row = np.repeat(np.arange(len(rows)), n)
    first = np.repeat(head - n - np.cumsum(n) + n, n)
    place = (first + np.arange(len(row))) % RING
    return row, place, bool(((live >= 0) & (live <= LIVE) & (live <= head)).all())


_HEADER = '''"""Filter kernels of the model {name}. Generated; edits are overwritten."""

import math

import numpy as np

from edgetwin.kernels.auto import fuse, predict, restart
from edgetwin.kernels.jit import absorbed, kernel
from edgetwin.kernels.learning import WARMUP, noise_floor
from edgetwin.kernels.memory import copy_row, prefetch
from edgetwin.kernels.recurring import rewind

FUSED, LATE_FUSED, GATED, DUPLICATE, LATE_DROPPED, OUT_OF_RANGE, INVALID = range(7)
VALUE_MAX = 1e100
CHANNELS = 1
'''


_ALONE = '''

@kernel
def accept(row, channel, raw, t, t_max):
    """As other models have it, for a row without a past: no seasons are looked for."""
    return accept_past(row, np.empty((2, 0, 1, 2), np.float32), -1, channel, raw, t, t_max)
'''


def structural_source(name: str, accept: str) -> str:
    """The module of kernels, around ``accept`` as other built-in models have it."""
    accept = _once(r"@kernel\ndef accept\(row, ", "@absorbed\ndef accept_past(row, past, i, ", accept)
    accept = _once(r"fuse\(row, z, t, 1e-9 \* -age\)", "fuse(row, past, i, z, t, 1e-9 * -age)", accept)
    here = "slot_place[where] // CHANNELS"
    update = _once(r"accept\(row, channel", f"accept_past(row, past, {here}, channel", UPDATE_SOURCE)
    update = _once(r"def place\(row, history", "def place(row, i, history", update)
    update = _once(r"= place\(row, history", f"= place(row, {here}, history", update)
    back = "rewind(row, before, h, p, n, history.past, i)"
    update = _once(r"copy_row\(row, before\[h, p\]\)", f"{back}\n        copy_row(row, before[h, p])", update)
    past = "    past = history.past\n"
    update = _once(r"    for k in range\(slot", f"{past}    for k in range(slot", update)
    parts = (_HEADER.format(name=name).strip(), accept.strip() + _ALONE.rstrip(), update.strip())
    return "\n\n\n".join(parts) + "\n"


def _once(pattern: str, new: str, text: str) -> str:
    text, count = re.subn(pattern, new, text)
    assert count == 1, pattern
    return text
