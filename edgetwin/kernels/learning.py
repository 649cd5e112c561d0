"""Learning of noise from innovations, shared by the filter kernels.

The two statistics of a consistent filter are used, one for each unknown: the normalised innovation squared
has mean 1 (sets the scale of all variances), and successive normalised innovations are uncorrelated (sets
the ratio of process to measurement noise). Source: Mehra, "On the identification of variances and adaptive
Kalman filtering", IEEE TAC 15(2), 1970; here as two stochastic approximations with bounded steps.
"""

from __future__ import annotations

import math

from edgetwin.kernels.jit import kernel

GAIN_MIN = 0.02
RATIO_STEP = 0.03
WARMUP = 10


@kernel
def scale_factor(nis: float, updates: int) -> float:
    """Factor by which variances are to grow, from one ``nis``; ``updates`` counts samples before it (>= 1).

    The first innovations may be off by orders of magnitude and set the scale outright; later ones are
    clipped at 9 and weigh 2 %.
    """
    gain = GAIN_MIN if updates > 1.0 / GAIN_MIN else 1.0 / updates
    limit = 1e12 if updates < 3 else 9.0
    if not (nis < limit):
        nis = limit
    return max(1.0 + gain * (nis - 1.0), 1e-3)


@kernel
def ratio_factor(y: float, y_prev: float, updates: int) -> float:
    """Factor of the process noise from two successive innovations, each over its standard deviation.

    Positively correlated innovations mean that the filter lags: more process noise; and the reverse.
    """
    product = max(-4.0, min(4.0, y * y_prev))
    step = max(RATIO_STEP, 0.3 / (1.0 + 0.1 * updates))
    return math.exp(step * product)


@kernel
def noise_floor(level: float, quantum: float) -> float:
    """Least variance worth believing: the sensor's resolution, or one millionth of the level."""
    relative = 1e-6 * level
    return max(quantum * quantum / 12.0, relative * relative, 1e-24)
