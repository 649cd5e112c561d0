"""One sample of a signal under ``auto``: forecast, judge, update, learn. See :mod:`edgetwin.kernels.structural`.

An innovation of more than √BIG standard deviations is outsized: either the process has jumped or the sensor errs. What
came of such innovations before tells which: ``keep`` follows the share of them that was still there one sample later,
less a half, and ``advantage`` whether a jump of the level by that share foresaw the next sample better than the plain
filter did (difference of normalised squares).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgetwin.kernels.jit import absorbed, kernel
from edgetwin.kernels.learning import WARMUP, noise_floor
from edgetwin.kernels.recurring import recurring, recurring_update, start_recurring
from edgetwin.kernels.seasons import (
    HARMONICS,
    PHASES,
    RINGS,
    SEASONS,
    adopt_season,
    drop_season,
    halve,
    remember,
    search,
    season_spread,
    season_update,
    season_value,
)
from edgetwin.kernels.structural import (
    BIG,
    FADE_INITIAL,
    KEEP_GAIN,
    LEARN_ALWAYS,
    LEARN_BURST,
    LEARN_FROM,
    LEARN_PERIOD,
    compare_shadows,
    faded,
    forget_learning,
    learn_noise,
    noise_columns,
    rescale,
    start_shadows,
)

FUSED, GATED = 0, 2
FROZEN = 4
FREEZE_AFTER = 256
OUTSIZED_SCALE = 1.16
KEEP_PRIOR = -0.1
CARRY_GIVEN = 0.3
NEXT = 2.5  # mean intervals within which a sample is the one that was expected next, or follows a gated one


@kernel
def is_learning(row: Any) -> bool:
    """Whether noise is learned now: a frozen row that knows nothing yet learns first."""
    learn = row["learn"]
    return learn & 3 != 0 and not (learn & FROZEN and row["fused"] >= FREEZE_AFTER)


@kernel
def restart(row: Any, z: float, t: int) -> None:
    """Start (again) from one measurement; what was learned of noise and seasons stays."""
    if row["updates"] == 0 and row["resets"] == 0 and row["learn"] & 3:
        if row["learn"] & 1:
            guess = 1e-3 * abs(z)
            row["r"] = max(guess * guess, noise_floor(abs(z), row["quantum"]))
        if row["learn"] & 2:
            row["q"] = 0.1 * row["r"]
    if row["carry"] == 0.0 and row["learn"] & 2 == 0:
        row["carry"] = CARRY_GIVEN
    row["x0"] = z - season_value(row, t)[0]
    row["x1"], row["u0_1"] = 0.0, 0.0
    row["d0"], row["d1"] = row["r"], 0.0
    row["t"] = t
    row["updates"], row["rejects"] = 1, 0
    row["nis_mean"], row["y_prev"], row["pending"], row["shadowed"] = 1.0, 0.0, 0.0, 0
    row["nis"], row["y"], row["s"] = 0.0, 0.0, row["r"]


@kernel
def judge_pending(row: Any, level: float, f: float, e: float, s: float) -> None:
    """Learn from the sample after an outsized innovation; ``level`` is the sample less the season."""
    share = max(0.0, min(1.0, (level - row["pending_at"]) / row["pending"]))
    row["keep"] += KEEP_GAIN * (share - 0.5 - row["keep"])
    row["pending"] = 0.0
    if row["other_known"]:
        other = level - (row["other0"] + f * row["other1"])
        better = min(other * other / s, 4.0 * BIG) - min(e * e / s, 4.0 * BIG)
        row["advantage"] += KEEP_GAIN * ((better if row["jumped"] else -better) - row["advantage"])
        row["other_known"] = 0


@kernel
def is_spike(row: Any, level: float, e: float) -> bool:
    """Whether a sample beyond the gate is taken for an error of the sensor: until jumps have been seen to last."""
    if row["rejects"] == 0:
        return bool(row["keep"] <= (KEEP_PRIOR if row["nis"] <= 4.0 * row["gate"] else 0.0))
    return bool(abs(level - row["rejected"]) > 0.5 * abs(e))


@kernel
def move_to(row: Any, level: float, t: int) -> int:
    """Two samples beyond the gate agree: the process has moved there."""
    row["x0"], row["x1"], row["u0_1"] = level, 0.0, 0.0
    row["d0"] = row["r"]
    row["t"] = t
    row["updates"] += 1
    row["rejects"] = 0
    row["resets"] += 1
    row["y_prev"], row["shadowed"] = 0.0, 0
    return FUSED


@absorbed
def fuse(row: Any, past: Any, i: int, z: float, t: int, dt: float) -> int:
    """Fuse one sample ``z`` taken ``dt`` s after the state; FUSED or GATED. Its past is past[:, i] (i < 0: none)."""
    again = row["ahead"] if 0.0 < dt < NEXT * row["dt_mean"] else 0.0
    outcome = fuse_with(row, past, i, z, t, dt, again)
    if row["recurrent"] == 1 and i >= 0:
        if dt > 0.0:
            recurring_update(row, past, i, t, again, row["y"], row["s"])
        row["ahead"] = recurring(row, past, i, t + int(1e9 * row["dt_mean"]))
    return outcome


@absorbed
def fuse_with(row: Any, past: Any, i: int, z: float, t: int, dt: float, again: float) -> int:
    """As :func:`fuse`, with ``again`` that the innovation is foreseen to be (edgetwin.kernels.recurring)."""
    updates, learning = row["updates"], is_learning(row)
    x0, x1, d0, d1, u = row["x0"], row["x1"], row["d0"], row["d1"], row["u0_1"]
    r, mean = row["r"], row["dt_mean"]
    f, decay = 0.0, 1.0
    if dt > 0.0:
        mean = mean + 0.05 * (dt - mean) if mean > 0.0 else dt
        if row["fade"] == 0.0 or (updates < LEARN_FROM and row["tuned"] == 0):
            row["fade"] = FADE_INITIAL * mean
        if updates == 1:
            d1 = 4.0 * r / (dt * dt)
        f, decay, c, v1, v0 = noise_columns(dt, row["q"], row["fade"], row["carry"])
        x0, x1 = x0 + f * x1, decay * x1
        u, w, old0, old1 = 0.0, u + f, d0, d1
        d1 = decay * decay * old1 + v1
        if d1 > 0.0:
            u = (w * decay * old1 + c * v1) / d1
        d0 = old0 + old1 * (w - u * decay) ** 2 + v1 * (c - u) ** 2 + v0
    p00 = d0 + u * u * d1
    season, k0, fk = 0.0, 0.0, 0.0
    if row["seasons"] > 0:
        inverse = 1.0 / (p00 + r)
        k0, fk = p00 * inverse, f * u * d1 * inverse
        season, spread = season_spread(row, t, dt, decay, k0, fk)
        r = r + spread
    s = p00 + r
    e = z - season - x0 - again
    inverse = 1.0 / s
    nis = e * e * inverse
    row["nis"], row["y"], row["s"] = nis, e, s
    settled = updates >= WARMUP or not learning
    if row["pending"] != 0.0:
        judge_pending(row, z - season - again, f, e, s)
    jump, plain, gain0 = 0.0, p00 * inverse, u * d1 * inverse
    x0, x1 = x0 + plain * again, x1 + gain0 * again
    if settled and not (nis <= BIG):
        row["pending"], row["pending_at"] = e, x0
        jump = min(row["keep"] + 0.5, 0.999)
        if not (nis <= row["gate"]):
            if learning and row["learn"] & 1:
                rescale(row, OUTSIZED_SCALE, s)
            if is_spike(row, z - season, e):
                row["rejected"] = z - season
                return GATED
            if row["rejects"] > 0:
                row["dt_mean"] = mean
                return move_to(row, z - season, t)
    if learning and row["learn"] & 2 and row["shadowed"] == 1 and dt > 0.0:
        compare_shadows(row, z - season, dt, r, e, again, s)
    jumps = jump > plain and (row["advantage"] > 0.0 or not (nis <= row["gate"]))
    if jump > plain:
        row["other0"], row["other1"] = (x0 + plain * e, x1 + gain0 * e) if jumps else (x0 + jump * e, x1)
        row["other_known"], row["jumped"] = 1, 1 if jumps else 0
    # Bierman's update, written out for two states; a jump is more variance of the level, and leaves the trend alone
    gain1 = gain0
    if jumps:
        more = (jump * s - p00) / (1.0 - jump)
        d0, inverse, plain, gain1 = d0 + more, 1.0 / (s + more), jump, 0.0
    alpha = r + d0
    part = 1.0 / alpha
    u, d0, d1 = u - d0 * u * part, d0 * (r * part), d1 * (alpha * inverse)
    x0, x1 = x0 + plain * e, x1 + gain1 * e
    if not math.isfinite(x0 + x1 + d0 + d1):
        row["resets"] += 1
        row["seasons"] = 0
        restart(row, z, t)
        return FUSED
    row["x0"], row["x1"], row["d0"], row["d1"], row["u0_1"] = x0, x1, d0, d1, u
    row["dt_mean"], row["t"], row["rejects"] = mean, t, 0
    if row["seasons"] > 0 and jump == 0.0:
        season_update(row, t, dt, decay, k0, fk, e + again, s)
        if drop_season(row, t):
            row["shadowed"] = 0
    if settled:
        row["nis_mean"] += 0.05 * (nis - row["nis_mean"])
    if not learning:
        row["shadowed"] = 0
    elif jumps:
        if row["learn"] & 1:
            rescale(row, OUTSIZED_SCALE, s)
        row["y_prev"] = 0.0
        if row["shadowed"] == 1:
            start_shadows(row)
    else:
        learn_noise(row, dt, s, e * math.sqrt(inverse))
        if row["learn"] & 2 and row["shadowed"] == 0 and updates >= LEARN_FROM:
            if updates < LEARN_ALWAYS or updates % LEARN_PERIOD < LEARN_BURST - 1:
                start_shadows(row)
                row["shadowed"] = 1
    row["updates"] = updates + 1
    if row["season_mode"] == 1 and i >= 0 and remember(row, past, i, t, z):
        look_for_season(row, past[RINGS, i], z, t)
    return FUSED


@kernel
def look_for_season(row: Any, ring: Any, z: float, t: int) -> None:
    """Search the past for one more season, and make room in it.

    Level and trend had followed the season until now: they start again from the last sample, and so does what was
    learned of their dynamics.
    """
    if row["seasons"] < SEASONS and is_learning(row):
        found = np.zeros((HARMONICS, 3))
        period = search(row, ring, found)
        if period > 0.0:
            adopt_season(row, period, found)
            row["x0"], row["x1"], row["u0_1"] = z - season_value(row, t)[0], 0.0, 0.0
            row["d0"] = row["r"]
            row["y_prev"], row["pending"] = 0.0, 0.0
            if row["learn"] & 2:
                row["carry"], row["fade"] = 0.0, FADE_INITIAL * row["dt_mean"]
            forget_learning(row)
        if row["recurrent"] == 0:
            start_recurring(row)
    halve(row, ring)


@kernel
def predict(rows: Any, index: Any, t_ns: int, mean: Any, variance: Any) -> None:
    """Means and variances of the rows ``index`` int64[m] at ``t_ns``, into float64[m, 2].

    A row newer than ``t_ns`` is given at its own time; a row without a sample is NaN. The first state is the signal
    with its seasons, the second the rate of the trend. Of what recurs, a row knows the next interval
    (:func:`predict_recurring` knows the rest).
    """
    for k in range(index.shape[0]):
        row = rows[index[k]]
        if row["updates"] == 0:
            mean[k, 0], mean[k, 1], variance[k, 0], variance[k, 1] = math.nan, math.nan, math.nan, math.nan
            continue
        at = max(t_ns, row["t"])
        dt = 1e-9 * (at - row["t"])
        x0, x1, d0, d1, u = row["x0"], row["x1"], row["d0"], row["d1"], row["u0_1"]
        if dt > 0.0:
            fade = row["fade"] if row["fade"] > 0.0 else FADE_INITIAL * dt
            f, decay, c, v1, v0 = noise_columns(dt, row["q"], fade, row["carry"])
        else:
            f, decay, c, v1, v0 = 0.0, 1.0, 0.0, 0.0, 0.0
        season, spread = season_value(row, at)
        if row["ahead"] != 0.0 and dt > 0.0:
            season += row["ahead"] * min(dt / row["dt_mean"], row["dt_mean"] / dt)
        mean[k, 0], mean[k, 1] = x0 + f * x1 + season, decay * x1
        variance[k, 0] = d0 + (u + f) * (u + f) * d1 + c * c * v1 + v0 + spread
        variance[k, 1] = decay * decay * d1 + v1


@kernel
def predict_recurring(rows: Any, index: Any, t_ns: int, past: Any, mean: Any) -> None:
    """Means of the signal beyond the next sample, where something recurs, into float64[m, 2] after :func:`predict`.

    The filter is run ahead from sample to sample, each as foreseen; between two, what recurs is interpolated.
    ``past``: edgetwin.kernels.seasons.
    """
    for k in range(index.shape[0]):
        row = rows[index[k]]
        interval = row["dt_mean"]
        dt = 1e-9 * (t_ns - row["t"])
        if row["updates"] < 2 or row["recurrent"] == 0 or not (dt > interval > 0.0):
            continue
        f, decay, c, v1, v0 = noise_columns(interval, row["q"], row["fade"], row["carry"])
        x0, x1, d0, d1, u = row["x0"], row["x1"], row["d0"], row["d1"], row["u0_1"]
        p00 = d0 + (u + f) * (u + f) * d1 + c * c * v1 + v0
        inverse = 1.0 / (p00 + row["r"])
        gain0, gain1 = p00 * inverse, (decay * (u + f) * d1 + c * v1) * inverse
        steps = min(int(dt / interval), 2 * PHASES)
        again = 0.0
        for j in range(1, steps + 1):
            again = recurring(row, past, index[k], row["t"] + int(1e9 * interval * j))
            x0, x1 = x0 + f * x1 + gain0 * again, decay * x1 + gain1 * again
        rest = max(dt - steps * interval, 0.0)
        part = min(rest / interval, 1.0)
        following = recurring(row, past, index[k], row["t"] + int(1e9 * interval * (steps + 1)))
        f = row["fade"] * faded(rest / row["fade"])
        level = x0 + f * x1 + (1.0 - part) * (1.0 - gain0) * again + part * following
        mean[k, 0] = level + season_value(row, t_ns)[0]
