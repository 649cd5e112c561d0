"""How unusual a normalised innovation is among those of its signal, compiled."""

from __future__ import annotations

import math

from edgetwin.kernels.bits import Array
from edgetwin.kernels.jit import kernel


@kernel
def rank_scores(slot: Array, nis: Array, recent: Array, seen: Array, score: Array) -> None:
    """Score each of a batch of innovations, in order, against the latest ones of the same slot.

    With m earlier innovations in the window, ``a`` of them with a NIS at least as large, and ``u`` in [0, 1],

        p = (a + u) / (m + 1),   score = 1 - p.

    This is the smoothed conformal p-value (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005,
    §2.2) with a falling function of the NIS in place of the random number u that breaks ties: the chi-squared(1) tail
    probability, but above all of the window (a = 0, m > 0) the largest NIS in it over this one, which orders what is
    without precedent and does not run out of digits. slot int32[n], nis float64[n]
    (dimensionless; NaN scores 0 and is not remembered), recent float64[slots, window] and seen int64[slots] (the
    memory, updated), score float64[n] (written). While ``seen`` is negative it counts up, and innovations score 0 and
    are not remembered either: those of a filter that does not know its noise yet.
    """
    window = recent.shape[1]
    for k in range(slot.shape[0]):
        v = nis[k]
        if not (v >= 0.0):
            score[k] = 0.0
            continue
        s = slot[k]
        if seen[s] < 0:
            seen[s] += 1
            score[k] = 0.0
            continue
        m = min(seen[s], window)
        above = 0
        largest = 0.0
        for i in range(m):
            above += recent[s, i] >= v
            largest = max(largest, recent[s, i])
        tie = largest / v if above == 0 and m > 0 else math.erfc(math.sqrt(0.5 * v))
        score[k] = 1.0 - (above + tie) / (m + 1)
        recent[s, seen[s] % window] = v
        seen[s] += 1
