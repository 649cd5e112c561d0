"""Judges the time stamps that devices put on their samples, and learns how far each device's clock is off.

The offset of a clock is known only up to the network's delay, which is never negative: arrival minus stamp is the
delay minus the offset, so its minimum over a window is the best estimate (Cristian, Probabilistic clock
synchronization, Distributed Computing 3, 1989; the clock filter of RFC 5905 §10). The minimum of the running and the
last whole window is used, so that a changed clock is followed after at most two windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.jit import kernel

CLOCK = np.dtype(
    [
        ("low", "i8"),
        ("low_before", "i8"),
        ("since", "i8"),
        ("jitter", "f8"),
        ("change", "i8"),
        ("seen", "i4"),
        ("device", "i1"),
        ("substituted", "i1"),
        ("spare", "i2"),
    ],
    align=True,
)
"""One signal's clock. ``low`` and ``low_before``: smallest arrival − stamp in ns in the running and in the last window
(NONE: no such window); ``since``: start of the running one; ``jitter``: mean excess over its minimum, ns;
``change``: how far the minimum moved at the last window's end; ``seen``: stamps used; ``device``: whether samples bring
a time; ``substituted``: whether the last one was given its time of arrival instead."""

NONE = 2**63 - 1
WINDOW_NS = 300 * 10**9
CHANGE_LEAST_NS = 10**9
CHANGE_JITTERS = 10.0
JITTER_GAIN = 1.0 / 16.0
REFUSED = -(2**63) + 1  # a stamp that every filter refuses

DEVICE, CORRECTED, ARRIVAL = range(3)
AHEAD, BEHIND, SUBSTITUTED, CHANGED = range(4)
FIGURES = 4

Array = NDArray[Any]


@kernel
def judge(
    clocks: Array,
    slot: Array,
    t_ns: Array,
    now_ns: int,
    future_ns: int,
    past_ns: int,
    bound_ns: int,
    trusted: bool,
    mode: int,
    counts: Array,
    example: Array,
) -> None:
    """Replace in ``t_ns`` what is not to be taken as it is.

    clocks CLOCK[slots]; slot int32[n], t_ns int64[n]: samples that arrived at ``now_ns``. Stamps outside of ``now_ns −
    past_ns`` to ``now_ns + future_ns`` become REFUSED, or ``now_ns`` when the gateway's own clock is not ``trusted``.
    mode: DEVICE takes the others as they are, CORRECTED adds the offset learned (with ``bound_ns`` in place of
    ``future_ns``; an offset beyond it is not applied), ARRIVAL puts ``now_ns``. counts int64[FIGURES] counts AHEAD,
    BEHIND, SUBSTITUTED and CHANGED offsets; example int64[FIGURES, 2] is slot and stamp of the last sample of each.
    """
    latest = now_ns + (max(bound_ns, future_ns) if mode == CORRECTED else future_ns)
    for k in range(slot.shape[0]):
        clock = clocks[slot[k]]
        if clock["device"] == 0:
            continue
        t = t_ns[k]
        if t > latest or t < now_ns - past_ns:
            what = AHEAD if t > latest else BEHIND
            counts[what] += 1
            example[what, 0], example[what, 1] = slot[k], t
            if trusted:
                t_ns[k] = REFUSED
            else:
                t_ns[k] = now_ns
                clock["substituted"] = 1
                counts[SUBSTITUTED] += 1
                example[SUBSTITUTED, 0], example[SUBSTITUTED, 1] = slot[k], t
            continue
        if observe(clock, now_ns - t, now_ns):
            counts[CHANGED] += 1
            example[CHANGED, 0], example[CHANGED, 1] = slot[k], t
        clock["substituted"] = 0
        if mode == ARRIVAL:
            t_ns[k] = now_ns
            clock["substituted"] = 1
        elif mode == CORRECTED:
            low = min(clock["low"], clock["low_before"])
            if -bound_ns <= low and low <= bound_ns:
                t_ns[k] = t + low
            elif t > now_ns + future_ns:
                t_ns[k] = REFUSED
                counts[AHEAD] += 1
                example[AHEAD, 0], example[AHEAD, 1] = slot[k], t


@kernel
def observe(clock: Any, delay: int, now_ns: int) -> bool:
    """Take one delay in ns into a clock; whether a window has ended whose minimum differs from the one before."""
    changed = False
    if clock["seen"] == 0:
        clock["low"] = delay
        clock["low_before"] = NONE
        clock["since"] = now_ns
    elif now_ns - clock["since"] > WINDOW_NS:
        if clock["low_before"] != NONE:
            change = clock["low"] - clock["low_before"]
            changed = abs(change) > CHANGE_LEAST_NS + CHANGE_JITTERS * clock["jitter"]
            clock["change"] = change
        clock["low_before"] = clock["low"]
        clock["low"] = delay
        clock["since"] = now_ns
    elif delay < clock["low"]:
        clock["low"] = delay
    excess = delay - clock["low"]
    clock["jitter"] += (min(excess, WINDOW_NS) - clock["jitter"]) * JITTER_GAIN
    clock["seen"] = min(clock["seen"] + 1, 1_000_000_000)
    return changed
