"""Seasons of a signal: a bounded decimated past, the search for periods in it, and the harmonics that follow them.

A season is a sum of harmonics a cos θ + b sin θ of a phase θ that is counted in absolute time, so that irregular
sampling and missing stretches need no care (the trigonometric form of Harvey, 1989, §2.3.4; De Livera, Hyndman and
Snyder, "Forecasting time series with complex seasonal patterns using exponential smoothing", JASA 106, 2011).

Coefficients are followed by a Kalman filter with one variance for each harmonic. Its regressors are the harmonics as
they appear in the innovations, that is after the level filter with its present gains (Harvey, 1989, §3.4.2: the same
filter is run over data and regressors); different harmonics are taken as uncorrelated, as they are over a whole period.

The past is a ring of (seconds, mean of ``decimation`` samples). When LIVE entries are in it, the search runs and the
ring is halved: entries are joined two by two until they are WIDTH_MAX apart, after that the older half is dropped. The
ring has room for what a rewind of HISTORY samples may read again: it needs no copy to be rewound.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgetwin.kernels.jit import kernel

LIVE = 192
HISTORY = 64
RING = LIVE + LIVE // 2 + HISTORY
WIDTH_MAX = 10_800.0
SEASONS, HARMONICS = 2, 10
DAY, WEEK = 86_400.0, 604_800.0
PHASES = 336
PERIODS_SEEN = 2.5
EVIDENCE, EVIDENCE_UNUSUAL = 8.0, 12.0
PERIODS_REMEMBERED = 30.0
WORTH_GAIN, WORTH_FIRST, WORTH_MAX = 0.003, 0.5, 9.0
TWO_PI = 2.0 * math.pi

RINGS, TABLES = 0, 1
AT, MEAN = 0, 1
"""What is kept beside rows is ``past`` float32[2, rows, RING, 2]. past[RINGS, i] is a ring of (seconds since the row's
ring_start, mean above the row's base), past[TABLES, i] is of :mod:`edgetwin.kernels.recurring`: one array, as each that
a kernel is handed costs it time."""


@kernel
def phase(t: int, period_ns: int) -> float:
    """Phase in radians of the instant ``t`` ns."""
    return TWO_PI * ((t % period_ns) / period_ns)


@kernel
def season_value(row: Any, t: int) -> tuple[float, float]:
    """Value of all seasons at ``t`` and the variance of that."""
    value, variance = 0.0, 0.0
    for n in range(row["seasons"]):
        theta = phase(t, row["period_ns"][n])
        c1, s1 = math.cos(theta), math.sin(theta)
        c, s = c1, s1
        coefficient = row["season"][n]
        for h in range(row["harmonics"][n]):
            value += coefficient[h, 0] * c + coefficient[h, 1] * s
            variance += coefficient[h, 2]
            c, s = c * c1 - s * s1, s * c1 + c * s1
    return value, variance


@kernel
def response(zr: float, zi: float, decay: float, k0: float, fk: float) -> tuple[float, float]:
    """H, the transfer function from the signal to the innovations of the level filter, at ζ = exp(i ω dt) = zr + i zi.

    H = (ζ-1)(ζ-decay) / ((ζ-1)(ζ-decay) + k0 (ζ-decay) + fk ζ), with gains k0, k1 and fk = f k1.
    """
    top_r = (zr - 1.0) * (zr - decay) - zi * zi
    top_i = zi * (2.0 * zr - 1.0 - decay)
    low_r = top_r + k0 * (zr - decay) + fk * zr
    low_i = top_i + (k0 + fk) * zi
    size = low_r * low_r + low_i * low_i
    if not (size > 1e-12):
        return 0.0, 0.0
    inverse = 1.0 / size
    return (top_r * low_r + top_i * low_i) * inverse, (top_i * low_r - top_r * low_i) * inverse


@kernel
def season_spread(row: Any, t: int, dt: float, decay: float, k0: float, fk: float) -> tuple[float, float]:
    """Value of all seasons at ``t``, and the variance that their uncertainty adds to the innovation.

    ``k0`` and ``fk``: see :func:`response`; ``dt`` s is the step that leads to ``t``.
    """
    value, spread = 0.0, 0.0
    for n in range(row["seasons"]):
        theta = phase(t, row["period_ns"][n])
        turn = TWO_PI * dt / (1e-9 * row["period_ns"][n])
        c1, s1, zr1, zi1 = math.cos(theta), math.sin(theta), math.cos(turn), math.sin(turn)
        c, s, zr, zi = c1, s1, zr1, zi1
        coefficient = row["season"][n]
        for h in range(row["harmonics"][n]):
            hr, hi = response(zr, zi, decay, k0, fk)
            value += coefficient[h, 0] * c + coefficient[h, 1] * s
            spread += coefficient[h, 2] * (hr * hr + hi * hi)
            c, s = c * c1 - s * s1, s * c1 + c * s1
            zr, zi = zr * zr1 - zi * zi1, zi * zr1 + zr * zi1
    return value, spread


@kernel
def season_update(row: Any, t: int, dt: float, decay: float, k0: float, fk: float, e: float, s2: float) -> None:
    """Correct the harmonics by an innovation ``e`` of variance ``s2``; their variances grow by what is forgotten.

    The regressors of the innovation are w = H exp(iθ). Without the season it would have been e plus the regressors
    times the coefficients: ``worth`` follows the difference of the squares, over ``s2``.
    """
    bound = 3.0 * math.sqrt(s2)
    inverse = 1.0 / s2
    gain = max(-bound, min(bound, e)) * inverse
    for n in range(row["seasons"]):
        period = 1e-9 * row["period_ns"][n]
        growth = 1.0 + min(dt / period, 1.0) / PERIODS_REMEMBERED
        theta, turn = phase(t, row["period_ns"][n]), TWO_PI * dt / period
        c1, s1, zr1, zi1 = math.cos(theta), math.sin(theta), math.cos(turn), math.sin(turn)
        c, s, zr, zi = c1, s1, zr1, zi1
        coefficient = row["season"][n]
        foreseen = 0.0
        for h in range(row["harmonics"][n]):
            hr, hi = response(zr, zi, decay, k0, fk)
            wr, wi, p = hr * c - hi * s, hr * s + hi * c, coefficient[h, 2]
            foreseen += coefficient[h, 0] * wr + coefficient[h, 1] * wi
            coefficient[h, 0] += p * wr * gain
            coefficient[h, 1] += p * wi * gain
            coefficient[h, 2] = min(p * (1.0 - 0.5 * p * (hr * hr + hi * hi) * inverse) * growth, s2)
            c, s = c * c1 - s * s1, s * c1 + c * s1
            zr, zi = zr * zr1 - zi * zi1, zi * zr1 + zr * zi1
        saved = max(-WORTH_MAX, min(WORTH_MAX, (2.0 * e + foreseen) * foreseen * inverse))
        row["worth"][n] += WORTH_GAIN * (saved - row["worth"][n])


@kernel
def drop_season(row: Any, t: int) -> bool:
    """Give up the latest season when it makes forecasts worse; the level takes over what it is now. True if it did."""
    n = row["seasons"] - 1
    if n < 0 or row["worth"][n] >= 0.0:
        return False
    before = season_value(row, t)[0]
    row["seasons"] = n
    row["x0"] += before - season_value(row, t)[0]
    return True


# ---- the past


@kernel
def remember(row: Any, past: Any, i: int, t: int, z: float) -> bool:
    """Take one sample into the ring past[RINGS, i]; True when it has LIVE entries, to be searched and halved."""
    if row["decimation"] == 0:
        row["decimation"] = 1
        row["ring_start"] = t
        row["base"] = z
    at = 1e-9 * (t - row["ring_start"])
    row["bucket_time"] += at
    row["bucket_sum"] += z - row["base"]
    row["bucket_n"] += 1
    if row["bucket_n"] < row["decimation"]:
        return False
    place = row["head"] % RING
    past[RINGS, i, place, AT] = row["bucket_time"] / row["bucket_n"]
    past[RINGS, i, place, MEAN] = row["bucket_sum"] / row["bucket_n"]
    row["bucket_time"], row["bucket_sum"], row["bucket_n"] = 0.0, 0.0, 0
    row["head"] += 1
    row["live"] += 1
    return bool(row["live"] == LIVE)


@kernel
def halve(row: Any, ring: Any) -> None:
    """Make room: join entries two by two, or drop the older half once they are wide enough."""
    first = row["head"] - LIVE
    half = LIVE // 2
    row["live"] = half
    span = ring[(row["head"] - 1) % RING, AT] - ring[first % RING, AT]
    if span >= WIDTH_MAX * (LIVE - 1):
        return
    for k in range(half):
        one, two = ring[(first + 2 * k) % RING], ring[(first + 2 * k + 1) % RING]
        entry = ring[(row["head"] + k) % RING]
        entry[AT] = np.float32(0.5) * (one[AT] + two[AT])
        entry[MEAN] = np.float32(0.5) * (one[MEAN] + two[MEAN])
    row["head"] += half
    row["decimation"] *= 2


# ---- the search


@kernel
def fill_design(at: Any, y: Any, row: Any, period: float, harmonics: int, design: Any) -> int:
    """Regression of y[k] on what was before it and on harmonics: one column after the other; returns their number.

    Columns: 1, y[k-1], y[k-2], the harmonics of seasons already known that the spacing allows, those of ``period``.
    ``at`` float64[n] is in s after ring_start; design float64[n - 2, columns].
    """
    n = at.shape[0]
    spacing = (at[n - 1] - at[0]) / (n - 1)
    columns = 3
    for k in range(2, n):
        design[k - 2, 0], design[k - 2, 1], design[k - 2, 2] = 1.0, y[k - 1], y[k - 2]
    for m in range(row["seasons"] + 1):
        new = m == row["seasons"]
        length = period if new else 1e-9 * row["period_ns"][m]
        count = harmonics if new else min(row["harmonics"][m], int(length / (2.5 * spacing)))
        start = phase(row["ring_start"], round(1e9 * length))
        for h in range(1, count + 1):
            for k in range(2, n):
                angle = h * (start + TWO_PI * at[k] / length)
                design[k - 2, columns] = math.cos(angle)
                design[k - 2, columns + 1] = math.sin(angle)
            columns += 2
    return columns


@kernel
def factor_regression(design: Any, columns: int, target: Any, lower: Any, part: Any) -> float:
    """Normal equations L Lᵀ b = Xᵀ y by Cholesky: L into ``lower``, L⁻¹ Xᵀ y into ``part``; returns yᵀ y.

    The residual sum of squares of the first m columns alone is yᵀ y less the squares of the first m of ``part``.
    """
    rows = design.shape[0]
    for i in range(columns):
        for j in range(i + 1):
            total = 0.0
            for k in range(rows):
                total += design[k, i] * design[k, j]
            for m in range(j):
                total -= lower[i, m] * lower[j, m]
            if i == j:
                lower[i, i] = math.sqrt(total) if total > 1e-9 else math.inf
            else:
                lower[i, j] = total / lower[j, j]
        total = 0.0
        for k in range(rows):
            total += design[k, i] * target[k]
        for m in range(i):
            total -= lower[i, m] * part[m]
        part[i] = total / lower[i, i]
    squares = 0.0
    for k in range(rows):
        squares += target[k] * target[k]
    return squares


@kernel
def back_substitute(lower: Any, part: Any, columns: int, solution: Any) -> None:
    """Coefficients of the first ``columns``: Lᵀ b = part."""
    for i in range(columns - 1, -1, -1):
        total = part[i]
        for m in range(i + 1, columns):
            total -= lower[m, i] * solution[m]
        solution[i] = total / lower[i, i]


@kernel
def strongest_frequency(at: Any, residual: Any) -> float:
    """Frequency in 1/s at which the residuals (of at[2:]) have most power, from PERIODS_SEEN in the span upwards."""
    n = residual.shape[0]
    span = at[n + 1] - at[0]
    step = 0.25 / span
    count = int(0.4 * n / (step * span))
    first = math.ceil(PERIODS_SEEN / (step * span))
    best, power_max = 0.0, 0.0
    wr, wi, sr, si = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for k in range(n):
        x = at[k + 2] - at[0]
        wr[k], wi[k] = math.cos(TWO_PI * first * step * x), math.sin(TWO_PI * first * step * x)
        sr[k], si[k] = math.cos(TWO_PI * step * x), math.sin(TWO_PI * step * x)
    for j in range(first, count):
        total_r, total_i = 0.0, 0.0
        for k in range(n):
            total_r += residual[k] * wr[k]
            total_i += residual[k] * wi[k]
            wr[k], wi[k] = wr[k] * sr[k] - wi[k] * si[k], wi[k] * sr[k] + wr[k] * si[k]
        power = total_r * total_r + total_i * total_i
        if power > power_max:
            power_max, best = power, j * step
    return best


@kernel
def search(row: Any, ring: Any, found: Any) -> float:
    """Look for one more season in the past; found float64[HARMONICS, 3] takes a, b and variance of its harmonics.

    Returns the period in s, 0 when there is none; harmonics not used are zero. The judge is a regression of each entry
    on the two before it and on the harmonics: a season has to foresee what the past did not. Its gain in log likelihood
    is held against Schwarz's criterion and the number of periods that were tried.
    """
    n = row["live"]
    first = row["head"] - n
    at, y = np.empty(n), np.empty(n)
    for k in range(n):
        entry = ring[(first + k) % RING]
        at[k], y[k] = entry[AT], entry[MEAN]
    spacing = (at[n - 1] - at[0]) / (n - 1)
    mean, square = 0.0, 0.0
    for k in range(n):
        mean += y[k] / n
    for k in range(n):
        square += (y[k] - mean) * (y[k] - mean) / n
    found[:] = 0.0
    if not (0.0 < square < math.inf and spacing > 0.0):
        return 0.0
    scale = math.sqrt(square)
    for k in range(n):
        y[k] = max(-4.0, min(4.0, (y[k] - mean) / scale))
    target = y[2:]
    columns_max = 3 + 2 * HARMONICS * (SEASONS + 1)
    design, lower = np.empty((n - 2, columns_max)), np.empty((columns_max, columns_max))
    part, solution = np.empty(columns_max), np.empty(columns_max)
    known = fill_design(at, y, row, 1.0, 0, design)
    factor_regression(design, known, target, lower, part)
    back_substitute(lower, part, known, solution)
    residual = np.empty(n - 2)
    for k in range(n - 2):
        residual[k] = target[k]
        for m in range(known):
            residual[k] -= solution[m] * design[k, m]
    frequency = strongest_frequency(at, residual)
    best, best_period, best_count = EVIDENCE, 0.0, 0
    for which in range(5):
        if which < 2:
            period, tried = (DAY, 2.0) if which == 0 else (WEEK, 2.0)
        else:
            period, tried = (which - 1) / frequency if frequency > 0.0 else 0.0, 0.5 * n
        if not (period >= 5.0 * spacing and PERIODS_SEEN * period <= at[n - 1] - at[0]) or is_known(row, period):
            continue
        count = harmonics_of(period, spacing)
        columns = fill_design(at, y, row, period, count, design)
        left = factor_regression(design, columns, target, lower, part)
        for m in range(known):
            left -= part[m] * part[m]
        before = left
        for h in range(count):
            left -= part[known + 2 * h] ** 2 + part[known + 2 * h + 1] ** 2
            cost = 2.0 * (h + 1) * math.log(n) + 2.0 * math.log(tried)
            if which >= 2:
                cost += EVIDENCE_UNUSUAL
            evidence = (n - 2) * math.log(before / max(left, 1e-9 * before)) - cost
            if evidence > best:
                best, best_period, best_count = evidence, period, h + 1
    if best_period > 0.0:
        columns = fill_design(at, y, row, best_period, best_count, design)
        left = factor_regression(design, columns, target, lower, part)
        for m in range(columns):
            left -= part[m] * part[m]
        back_substitute(lower, part, columns, solution)
        decimated = spacing if row["decimation"] > 1 else 0.0
        interval = row["dt_mean"] if row["dt_mean"] > 0.0 else spacing
        unfold(
            solution,
            known,
            best_count,
            best_period,
            spacing,
            decimated,
            interval,
            0.1 * row["s"],
            scale,
            max(left, 0.0) / (n - 2),
            found,
        )
    return best_period


@kernel
def harmonics_of(period: float, spacing: float) -> int:
    """How many harmonics samples so far apart can tell; those of a week stay below the day."""
    return min(6 if period == WEEK else HARMONICS, int(period / (2.5 * spacing)))


@kernel
def is_known(row: Any, period: float) -> bool:
    """Whether a season of this period, or of a multiple that has the harmonic, is followed already."""
    for m in range(row["seasons"]):
        ratio = 1e-9 * row["period_ns"][m] / period
        nearest = max(1.0, math.floor(ratio + 0.5))
        if abs(ratio / nearest - 1.0) < 0.1 and nearest <= row["harmonics"][m]:
            return True
    return False


@kernel
def unfold(
    solution: Any,
    known: int,
    count: int,
    period: float,
    spacing: float,
    width: float,
    interval: float,
    bound: float,
    scale: float,
    left: float,
    found: Any,
) -> None:
    """From coefficients of the regression to those of the season itself.

    The regression's own past answers the season too: divide by A = 1 - b1 exp(-iωΔ) - b2 exp(-2iωΔ). Averaging over
    ``width`` s has damped harmonics by sin(x)/x, x = ω width / 2. Harmonics beyond ``count`` start at zero, as
    uncertain as the regression leaves them; those that only the signal's own ``interval`` can tell as its law has it
    (1/ω²), at most ``bound``.
    """
    told = harmonics_of(period, spacing)
    for h in range(told, harmonics_of(period, interval)):
        found[h, 2] = -1.0
    for h in range(told):
        turn = TWO_PI * (h + 1) / period * spacing
        ar = 1.0 - solution[1] * math.cos(turn) - solution[2] * math.cos(2.0 * turn)
        ai = solution[1] * math.sin(turn) + solution[2] * math.sin(2.0 * turn)
        half = 0.5 * turn * width / spacing
        damped = math.sin(half) / half if half > 1e-6 else 1.0
        size = max((ar * ar + ai * ai) * damped * damped, 1e-3)
        found[h, 2] = scale * scale * left * 2.0 / (LIVE * size)
        if h >= count:
            continue
        c, s = solution[known + 2 * h], solution[known + 2 * h + 1]
        # (c - is) / (ar + i ai) = a - ib
        found[h, 0] = scale * damped * (c * ar - s * ai) / size
        found[h, 1] = scale * damped * (s * ar + c * ai) / size
    for h in range(told, HARMONICS):
        if found[h, 2] < 0.0:
            found[h, 2] = min(found[told - 1, 2] * (told / (h + 1.0)) ** 2, bound)


@kernel
def adopt_season(row: Any, period: float, found: Any) -> None:
    """Follow a season that was found."""
    n = row["seasons"]
    count = 0
    for h in range(HARMONICS):
        if found[h, 2] > 0.0:
            count = h + 1
    row["period_ns"][n] = round(period * 1e9)
    row["harmonics"][n] = count
    row["worth"][n] = WORTH_FIRST
    for h in range(count):
        for m in range(3):
            row["season"][n][h, m] = found[h, m]
    row["seasons"] = n + 1
