"""How unusual a normalised innovation is among those of its signal, compiled."""

from __future__ import annotations

import math

from edgetwin.kernels.bits import Array
from edgetwin.kernels.jit import kernel


@kernel
def rank_scores(slot: Array, nis: Array, recent: Array, seen: Array, score: Array) -> None:
    """Score each of a batch of innovations, in order, against the latest ones of the same slot.

    With m earlier innovations in the window and ``tail`` the chi-squared(1) tail probability of ``nis``,

        p = (number of them with a NIS at least as large + tail) / (m + 1),   score = 1 - p.

    This is the smoothed conformal p-value (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005,
    §2.2) with the filter's own p-value in place of the random number that breaks ties. slot int32[n], nis float64[n]
    (dimensionless; NaN scores 0 and is not remembered), recent float64[slots, window] and seen int64[slots] (the
    memory, updated), score float64[n] (written).
    """
    window = recent.shape[1]
    for k in range(slot.shape[0]):
        v = nis[k]
        if not (v >= 0.0):
            score[k] = 0.0
            continue
        s = slot[k]
        m = min(seen[s], window)
        above = 0
        for i in range(m):
            above += recent[s, i] >= v
        score[k] = 1.0 - (above + math.erfc(math.sqrt(0.5 * v))) / (m + 1)
        recent[s, seen[s] % window] = v
        seen[s] += 1
