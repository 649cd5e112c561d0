"""The part of every generated kernel that takes batches and keeps samples in the order of their measurement.

A twin with ``lateness`` has a history: its last samples, and its row as it was before each of them. A sample that
comes late is put where it belongs: the row goes back to what it was before the first sample that should have come
after, and those samples are fused again. The result is that of the samples in order, bit for bit, whatever the order
in which they came, as long as they are late by no more than ``lateness`` and the history holds them. Samples of one
instant are ordered by channel and value. When the outcome of a sample changes by this, the ledger's count moves with
it.

What a report has told of such a twin may then be wrong: ``used[h, LATE]`` keeps the earliest time from which the past
has changed, for whoever corrects it (edgetwin.engine.corrections).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ENTRY = np.dtype(
    [("t", "i8"), ("raw", "f8"), ("channel", "i8"), ("source", "i8"), ("outcome", "i8")],
    align=True,
)
"""One remembered sample: measurement time in ns, raw value, channel of its row, ledger row and outcome."""

COUNT, FORGOTTEN, LATE = range(3)
UNCHANGED = 2**63 - 1


class History(NamedTuple):
    """Histories of the rows that have one; row["history"] - 1 is the first index of each array.

    ``before`` rows[h, k]: the row before sample k; ``samples`` ENTRY[h, k] in order of (t, channel, raw); ``used``
    int64[h, 3]: number of samples remembered, whether older ones have been forgotten, and the time from which the past
    has changed since that was last looked at (UNCHANGED: it has not). ``past``: what the model
    ``auto`` keeps beside every row (edgetwin.kernels.seasons); empty for other models.
    """

    before: NDArray[np.void]
    samples: NDArray[np.void]
    used: NDArray[np.int64]
    past: NDArray[np.float32]


def make_history(row: np.dtype[Any], histories: int, length: int) -> History:
    """Empty histories; at least one, so that the kernel's types do not depend on the configuration."""
    n = max(histories, 1)
    used = np.zeros((n, 3), np.int64)
    used[:, LATE] = UNCHANGED
    past = np.zeros((2, 0, 1, 2), np.float32)
    return History(np.zeros((n, length), row), np.zeros((n, length), ENTRY), used, past)


_SOURCE = '''
PENDING = -1  # no outcome: the sample has a place in the history
AHEAD = 6  # samples; rows are asked for that long before they are needed


@kernel
def is_after(entry, t, channel, raw):
    """Whether a remembered sample belongs after (t, channel, raw)."""
    if entry["t"] != t:
        return entry["t"] > t
    if entry["channel"] != channel:
        return entry["channel"] > channel
    return entry["raw"] > raw


@kernel
def place(row, history, channel, raw, t, t_max, source):
    """Put a sample where it belongs and the row back to what it was before; see edgetwin.model.ordering.

    Returns (outcome, first, end): with PENDING, the samples [first, end) of the history are to be fused.
    """
    before, samples, used = history.before, history.samples, history.used
    h = row["history"] - 1
    if not (abs(raw) < VALUE_MAX) or not (t >= 0 and t <= t_max):
        return INVALID, 0, 0
    n = used[h, 0]
    p = n
    while p > 0 and is_after(samples[h, p - 1], t, channel, raw):
        p -= 1
    if p > 0:
        last = samples[h, p - 1]
        if last["t"] == t and last["channel"] == channel and last["raw"] == raw:
            return DUPLICATE, 0, 0
    if p < n:
        too_late = samples[h, n - 1]["t"] - t > row["late_ns"]
        if too_late or (p == 0 and used[h, 1] == 1) or (n == samples.shape[1] and p <= n // 2):
            return LATE_DROPPED, 0, 0
        reported = row["reported"]  # not of the filter: the past does not change what was told
        copy_row(row, before[h, p])
        row["reported"] = reported
        used[h, 2] = min(used[h, 2], t)
    if n == samples.shape[1]:  # forget the older half
        half = n // 2
        for k in range(half, n):
            copy_row(before[h, k - half], before[h, k])
            copy_row(samples[h, k - half], samples[h, k])
        n -= half
        p -= half
        used[h, 1] = 1
    for k in range(n, p, -1):
        copy_row(samples[h, k], samples[h, k - 1])
    entry = samples[h, p]
    entry["t"] = t
    entry["raw"] = raw
    entry["channel"] = channel
    entry["source"] = source
    entry["outcome"] = PENDING
    used[h, 0] = n + 1
    return PENDING, p, n + 1


@kernel
def settle(entry, outcome, late, counts):
    """Enter what became of a remembered sample; when it changes, the count moves with it."""
    previous = entry["outcome"]
    if outcome == FUSED and (previous == LATE_FUSED or (previous == PENDING and late)):
        outcome = LATE_FUSED
    if previous != PENDING:
        counts[entry["source"], previous] -= 1
    entry["outcome"] = outcome
    counts[entry["source"], outcome] += 1


@kernel
def update(rows, slot_bank, slot_place, bank, slot, t_ns, value, t_max, source, counts, history):
    """Fuse a batch.

    rows: records of this model. slot_bank int16[], slot_place int32[]: where each slot lives, place = row * CHANNELS +
    channel; samples of other banks are passed over. slot int32[n], t_ns int64[n], value float64[n]: the batch, in order
    of arrival. t_max int64: later stamps are invalid. counts int64[source, outcome]. history: edgetwin.model.ordering.
    NaN, infinities and values beyond 1e100 are INVALID.
    """
    before, samples, used = history.before, history.samples, history.used
    for k in range(slot.shape[0]):
        if k + AHEAD < slot.shape[0]:
            ahead = slot[k + AHEAD]
            if slot_bank[ahead] == bank:
                soon = rows[slot_place[ahead] // CHANNELS]
{prefetch}
        where = slot[k]
        if slot_bank[where] != bank:
            continue
        row = rows[slot_place[where] // CHANNELS]
        channel = slot_place[where] % CHANNELS
        raw, t, latest = value[k], t_ns[k], t_max
        h = row["history"] - 1
        m, end = 0, 1
        if h >= 0:
            outcome, m, end = place(row, history, channel, raw, t, t_max, source)
            if outcome != PENDING:
                counts[source, outcome] += 1
        first = m
        while m < end:
            if h >= 0:
                copy_row(before[h, m], row)
                entry = samples[h, m]
                raw, t, channel = entry["raw"], entry["t"], entry["channel"]
                latest = max(t_max, t)  # what was accepted once is not refused when it is fused again
            outcome = accept(row, channel, raw, t, latest)
            if h >= 0:
                settle(samples[h, m], outcome, first + 1 < end, counts)
            else:
                counts[source, outcome] += 1
            m += 1
'''


def update_source(hot: int = 256, block: tuple[int, int] | None = None) -> str:
    """The kernel ``update`` and what it needs, around a model's own ``accept``.

    ``hot``: bytes at the start of a row that every sample touches; ``block``: first byte and size of the first
    channel's block, when each channel has one. They are asked for some samples ahead, which changes no result.
    The module must have ``kernel``, ``copy_row``, ``prefetch``, CHANNELS, VALUE_MAX and the outcomes.
    """
    lines = [f"prefetch(soon, {byte})" for byte in range(0, hot, 64)]
    if block is not None:
        first, size = block
        lines.append(f"start = {first} + {size} * (slot_place[ahead] % CHANNELS)")
        lines += [f"prefetch(soon, start + {min(byte, size - 1)})" for byte in range(0, size + 64, 64)]
    return _SOURCE.replace("{prefetch}", "\n".join(" " * 16 + line for line in lines))


UPDATE_SOURCE = update_source()
"""For the built-in models, whose rows are short."""
