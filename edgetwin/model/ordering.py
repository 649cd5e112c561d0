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

from edgetwin.kernels.seasons import BUCKET

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
    has changed since that was last looked at (UNCHANGED: it has not). ``rings`` BUCKET[rows, RING]: the past that the
    model ``auto`` keeps of every row (edgetwin.kernels.seasons); empty for other models.
    """

    before: NDArray[np.void]
    samples: NDArray[np.void]
    used: NDArray[np.int64]
    rings: NDArray[np.void]


def make_history(row: np.dtype[Any], histories: int, length: int) -> History:
    """Empty histories; at least one, so that the kernel's types do not depend on the configuration."""
    n = max(histories, 1)
    used = np.zeros((n, 3), np.int64)
    used[:, LATE] = UNCHANGED
    rings = np.zeros((0, 1), BUCKET)
    return History(np.zeros((n, length), row), np.zeros((n, length), ENTRY), used, rings)


UPDATE_SOURCE = '''
@kernel
def is_after(entry, t, channel, raw):
    """Whether a remembered sample belongs after (t, channel, raw)."""
    if entry["t"] != t:
        return entry["t"] > t
    if entry["channel"] != channel:
        return entry["channel"] > channel
    return entry["raw"] > raw


@kernel
def make_room(before, samples, used, h):
    """Forget the older half of a full history."""
    half = samples.shape[1] // 2
    for k in range(half, samples.shape[1]):
        before[h, k - half] = before[h, k]
        samples[h, k - half] = samples[h, k]
    used[h, 0] -= half
    used[h, 1] = 1
    return half


@kernel
def accept_in_order(rows, i, history, channel, raw, t, t_max, source, counts):
    """Fuse one sample where it belongs; see edgetwin.model.ordering."""
    before, samples, used = history.before, history.samples, history.used
    h = rows[i]["history"] - 1
    if not (abs(raw) < VALUE_MAX) or not (t >= 0 and t <= t_max):
        counts[source, INVALID] += 1
        return
    n = used[h, 0]
    p = n
    while p > 0 and is_after(samples[h, p - 1], t, channel, raw):
        p -= 1
    if p > 0:
        last = samples[h, p - 1]
        if last["t"] == t and last["channel"] == channel and last["raw"] == raw:
            counts[source, DUPLICATE] += 1
            return
    late = p < n
    if late:
        too_late = samples[h, n - 1]["t"] - t > rows[i]["late_ns"]
        if too_late or (p == 0 and used[h, 1] == 1) or (n == samples.shape[1] and p <= n // 2):
            counts[source, LATE_DROPPED] += 1
            return
        reported = rows[i]["reported"]  # not of the filter: the past does not change what was told
        rows[i] = before[h, p]
        rows[i]["reported"] = reported
        used[h, 2] = min(used[h, 2], t)
    if n == samples.shape[1]:
        half = make_room(before, samples, used, h)
        n -= half
        p -= half
    for k in range(n, p, -1):
        samples[h, k] = samples[h, k - 1]
    entry = samples[h, p]
    entry["t"] = t
    entry["raw"] = raw
    entry["channel"] = channel
    entry["source"] = source
    used[h, 0] = n + 1
    for k in range(p, n + 1):
        before[h, k] = rows[i]
        entry = samples[h, k]
        latest = max(t_max, entry["t"])  # what was accepted once is not refused when it is fused again
        outcome = accept(rows[i], entry["channel"], entry["raw"], entry["t"], latest)
        if k == p:
            if late and outcome == FUSED:
                outcome = LATE_FUSED
        else:
            if entry["outcome"] == LATE_FUSED and outcome == FUSED:
                outcome = LATE_FUSED
            counts[entry["source"], entry["outcome"]] -= 1
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
    for k in range(slot.shape[0]):
        where = slot[k]
        if slot_bank[where] == bank:
            i = slot_place[where] // CHANNELS
            channel = slot_place[where] % CHANNELS
            if rows[i]["history"] > 0:
                accept_in_order(rows, i, history, channel, value[k], t_ns[k], t_max, source, counts)
            else:
                counts[source, accept(rows[i], channel, value[k], t_ns[k], t_max)] += 1
'''
