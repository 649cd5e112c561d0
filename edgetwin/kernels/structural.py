"""The filter of ``auto``: level and damped trend driven by one disturbance, with noise learned from its own forecasts.

Model (Harvey, "Forecasting, Structural Time Series Models and the Kalman Filter", 1989, ch. 2 and 4; Durbin and
Koopman, "Time Series Analysis by State Space Methods", 2012, ch. 3), in continuous time so that any interval is exact:

    d level = trend dt + dW        d trend = -trend/fade dt + (carry/fade) dW        z = level + season + noise

W has intensity q, the measurement noise variance r. A disturbance ends at 1 + carry times its size: carry > 0 is
momentum, 0 a random walk, towards -1 the level returns to where it was. This is the structural form of every
ARIMA(1,1,2), of which exponential smoothing with damped trend is the part with carry >= 0.

Legend: x state, P = U D Uᵀ with ``u`` the entry of U, K gain, s innovation variance, e innovation.
"""

from __future__ import annotations

import math
from typing import Any

from edgetwin.kernels.jit import kernel
from edgetwin.kernels.learning import noise_floor, ratio_factor, scale_factor

LEARN_FROM = 24
LEARN_ALWAYS = 2_048
LEARN_PERIOD, LEARN_BURST = 1_024, 128
BLOCK = 8
MEMORY = 0.9975
STEP_MAX = 1.5
DELTA = (0.4, 0.3, 0.4)
PRIOR = (2.0, 3.0, 2.0)
FADE_INITIAL = 12.0
CARRY_MIN, CARRY_MAX = -0.98, 1e3
CLIP = 3.0
BIG = 12.0
KEEP_GAIN = 0.1


@kernel
def faded(h: float) -> float:
    """1 - exp(-h) for h >= 0, to 1e-13 of it: a Padé approximant of exp where h is small, as it mostly is."""
    if not (h < 0.5):
        return -math.expm1(-h)
    square = h * h
    odd = h * (15_120.0 + square * (420.0 + square))
    even = 30_240.0 + square * (3_360.0 + 30.0 * square)
    return 2.0 * odd / (even + odd)


@kernel
def noise_columns(dt: float, q: float, fade: float, k: float) -> tuple[float, float, float, float, float]:
    """Exact step of ``dt`` s: (f, decay, c, v_trend, v_level).

    ``k`` is carry. F = [[1, f], [0, decay]]; Q = v_trend (c, 1)(c, 1)ᵀ + v_level (1, 0)(1, 0)ᵀ, the integral of what
    dW does.
    """
    rate = 1.0 / fade
    gone = faded(dt * rate)
    decay = 1.0 - gone
    m1 = fade * gone
    m2 = 0.5 * m1 * (1.0 + decay)
    a, b = 1.0 + k, k * rate
    level = q * (a * a * dt - 2.0 * k * a * m1 + k * k * m2)
    cross = q * b * (a * m1 - k * m2)
    trend = q * b * b * m2
    c = cross / trend if trend > 0.0 else 0.0
    return m1, decay, c, trend, max(level - c * cross, 0.0)


@kernel
def shadow_step(shadow: Any, z: float, r: float, f: float, decay: float, c: float, v1: float, v0: float) -> Any:
    """One step of a filter float64[5] (x0, x1, P00, P01, P11) with other noise; returns its innovation."""
    x0 = shadow[0] + f * shadow[1]
    x1 = decay * shadow[1]
    p00 = shadow[2] + f * (2.0 * shadow[3] + f * shadow[4]) + c * c * v1 + v0
    p01 = decay * (shadow[3] + f * shadow[4]) + c * v1
    p11 = decay * decay * shadow[4] + v1
    e = z - x0
    inverse = 1.0 / (p00 + r)
    shadow[0] = x0 + p00 * inverse * e
    shadow[1] = x1 + p01 * inverse * e
    shadow[2] = p00 * r * inverse
    shadow[3] = p01 * r * inverse
    shadow[4] = max(p11 - p01 * p01 * inverse, 0.0)
    return e


@kernel
def start_shadows(row: Any) -> None:
    """Put the shadows where the filter is."""
    u, d1 = row["u0_1"], row["d1"]
    for j in range(3):
        shadow = row["shadow"][j]
        shadow[0], shadow[1] = row["x0"], row["x1"]
        shadow[2], shadow[3], shadow[4] = row["d0"] + u * u * d1, u * d1, d1


@kernel
def compare_shadows(row: Any, z: float, dt: float, r: float, e: float, again: float, s: float) -> None:
    """Take what the shadows would have forecast into the gradient and curvature of this block, e clipped at 3 std.

    ``again``: what the forecast had from elsewhere than the level filter (edgetwin.kernels.recurring).
    """
    plain = e + again
    q, fade, carry = row["q"], row["fade"], row["carry"]
    f, decay, c, v1, v0 = noise_columns(dt, q, fade, carry)
    raised = math.exp(DELTA[0])
    p0 = (shadow_step(row["shadow"][0], z, r, f, decay, c, raised * v1, raised * v0) - plain) / DELTA[0]
    f, decay, c, v1, v0 = noise_columns(dt, q, fade, (1.0 + carry) * math.exp(DELTA[1]) - 1.0)
    p1 = (shadow_step(row["shadow"][1], z, r, f, decay, c, v1, v0) - plain) / DELTA[1]
    f, decay, c, v1, v0 = noise_columns(dt, q, fade * math.exp(DELTA[2]), carry)
    p2 = (shadow_step(row["shadow"][2], z, r, f, decay, c, v1, v0) - plain) / DELTA[2]
    bound = CLIP * math.sqrt(s)
    clipped = max(-bound, min(bound, e))
    inverse = 1.0 / s
    slope, curve = row["slope"], row["curve"]
    slope[0] -= p0 * clipped * inverse
    slope[1] -= p1 * clipped * inverse
    slope[2] -= p2 * clipped * inverse
    curve[0] += p0 * p0 * inverse
    curve[1] += p0 * p1 * inverse
    curve[2] += p1 * p1 * inverse
    curve[3] += p0 * p2 * inverse
    curve[4] += p1 * p2 * inverse
    curve[5] += p2 * p2 * inverse


@kernel
def improve(row: Any) -> None:
    """One recursive Gauss-Newton step over (ln q, ln(1 + carry), ln fade), at the end of a block.

    Recursive prediction error method (Ljung and Söderström, "Theory and Practice of Recursive Identification", 1983,
    §3.7) with forgetting; a Gaussian prior holds what the data do not determine.
    """
    slope, curve, block_slope, block_curve = row["slope_sum"], row["curve_sum"], row["slope"], row["curve"]
    for k in range(3):
        slope[k] = MEMORY * slope[k] + block_slope[k]
        block_slope[k] = 0.0
    for k in range(6):
        curve[k] = MEMORY * curve[k] + block_curve[k]
        block_curve[k] = 0.0
    interval = row["dt_mean"]
    a00, a11, a22 = curve[0] + PRIOR[0], curve[2] + PRIOR[1], curve[5] + PRIOR[2]
    a01, a02, a12 = curve[1], curve[3], curve[4]
    b0 = slope[0]
    b1 = slope[1] - PRIOR[1] * math.log1p(row["carry"])
    b2 = slope[2] - PRIOR[2] * math.log(row["fade"] / (FADE_INITIAL * interval))
    l10, l20 = a01 / a00, a02 / a00
    d1 = a11 - l10 * a01
    l21 = (a12 - l10 * a02) / d1
    d2 = a22 - l20 * a02 - l21 * l21 * d1
    y1 = b1 - l10 * b0
    y2 = b2 - l20 * b0 - l21 * y1
    s2 = y2 / d2
    s1 = y1 / d1 - l21 * s2
    s0 = b0 / a00 - l10 * s1 - l20 * s2
    longest = max(abs(s0), abs(s1), abs(s2))
    if not (longest < 1e9):
        forget_learning(row)
        return
    if longest > STEP_MAX:
        shrink = STEP_MAX / longest
        s0, s1, s2 = s0 * shrink, s1 * shrink, s2 * shrink
    row["tuned"] = 1
    slope[0] -= curve[0] * s0 + curve[1] * s1 + curve[3] * s2
    slope[1] -= curve[1] * s0 + curve[2] * s1 + curve[4] * s2
    slope[2] -= curve[3] * s0 + curve[4] * s1 + curve[5] * s2
    row["q"] = row["q"] * math.exp(s0)
    row["carry"] = min(max((1.0 + row["carry"]) * math.exp(s1) - 1.0, CARRY_MIN), CARRY_MAX)
    row["fade"] = min(max(row["fade"] * math.exp(s2), 0.3 * interval), 3e3 * interval)


@kernel
def forget_learning(row: Any) -> None:
    """Empty the sums of the search for better noise."""
    for k in range(3):
        row["slope"][k] = 0.0
        row["slope_sum"][k] = 0.0
    for k in range(6):
        row["curve"][k] = 0.0
        row["curve_sum"][k] = 0.0
    row["block"] = 0
    row["shadowed"] = 0


@kernel
def learn_noise(row: Any, dt: float, s: float, y_norm: float) -> None:
    """Learn from one fused sample: the dynamics (q, carry, fade) if dt > 0, then the scale of all variances."""
    updates, learn = row["updates"], row["learn"]
    if learn & 2 and updates > 1:
        if updates < LEARN_FROM:
            row["q"] = row["q"] * ratio_factor(y_norm, row["y_prev"], updates)
        elif updates < LEARN_ALWAYS or updates % LEARN_PERIOD < LEARN_BURST:
            if row["shadowed"] == 1 and dt > 0.0:
                row["block"] += 1
                if row["block"] == BLOCK:
                    row["block"] = 0
                    improve(row)
        else:
            row["shadowed"] = 0
    row["y_prev"] = y_norm
    if learn & 1:
        rescale(row, scale_factor(y_norm * y_norm, updates), s)
    if learn & 2:
        r, interval = row["r"], row["dt_mean"] if row["dt_mean"] > 0.0 else 1.0
        row["q"] = min(max(row["q"], 1e-6 * r / interval), 1e3 * r / interval)


@kernel
def rescale(row: Any, factor: float, s: float) -> None:
    """Multiply all variances; the innovation variance ``s`` stays above the floor of the sensor."""
    floor = noise_floor(abs(row["x0"]), row["quantum"])
    if not (s * factor >= floor):
        factor = floor / s
    row["r"] = row["r"] * factor
    if row["learn"] & 2:
        row["q"] = row["q"] * factor
        row["d0"] = row["d0"] * factor
        row["d1"] = row["d1"] * factor
        if row["shadowed"] == 1:
            for j in range(3):
                shadow = row["shadow"][j]
                shadow[2], shadow[3], shadow[4] = shadow[2] * factor, shadow[3] * factor, shadow[4] * factor
