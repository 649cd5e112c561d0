"""Other ways to learn the noise of the model of ``auto``, measured beside its own.

Each runs the filter of level and damped trend (edgetwin.kernels.structural) without seasons, jumps or gate:

* ``variational_r``: the measurement variance by variational Bayes, Särkkä and Nummenmaa, "Recursive noise adaptive
  Kalman filtering by variational Bayesian approximations", IEEE TAC 54(3), 2009. Process noise is nominal.
* ``variational_pr``: predicted covariance and measurement variance, Huang, Zhang, Wu, Li, Chambers, "A novel adaptive
  Kalman filter with inaccurate process and measurement noise covariance matrices", IEEE TAC 63(2), 2018.
* ``average``: a Bayesian average over a grid of (q/r, carry, fade), each with its own scale (multiple model adaptive
  estimation, Magill, 1965) and forgetting, innovations clipped as ``auto`` does.

The nominal variances are those of the first 24 differences.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.jit import kernel
from edgetwin.kernels.structural import FADE_INITIAL, noise_columns

START = 24
ROUNDS = 10  # of the fixed point, as both papers have it
RHO = 1.0 - math.exp(-4.0)
TAU = 3.0
KEPT = 0.998  # of the evidence, at each sample
SCALE_GAIN = 0.02
GRID = np.array(
    list(itertools.product(np.exp(np.arange(-6.0, 7.0, 2.0)), (-0.8, -0.4, 0.0, 1.0, 5.0, 20.0), (3.0, 12.0, 60.0)))
)
"""q interval / r, carry, fade / interval."""


@kernel
def variational(dt: Any, z: Any, r: float, learn_p: bool, mean: Any, variance: Any) -> None:
    """One-step means and variances float64[n] of either variational filter; ``dt`` s float64[n] between samples."""
    interval = dt[1]
    q, fade = 0.1 * r / interval, FADE_INITIAL * interval
    x0, x1, p00, p01, p11 = z[0], 0.0, r, 0.0, 4.0 * r / (interval * interval)
    alpha, beta = 1.0, r
    for k in range(1, z.shape[0]):
        f, decay, c, v1, v0 = noise_columns(dt[k], q, fade, 0.3)
        y0, y1 = x0 + f * x1, decay * x1
        n00 = p00 + f * (2.0 * p01 + f * p11) + c * c * v1 + v0
        n01 = decay * (p01 + f * p11) + c * v1
        n11 = decay * decay * p11 + v1
        alpha, beta = RHO * alpha, RHO * beta
        mean[k], variance[k] = y0, n00 + beta / alpha
        alpha += 0.5
        r, left = beta / alpha, beta
        m00, m01, m11 = n00, n01, n11
        for _ in range(ROUNDS):
            s = m00 + r
            g0, g1, e = m00 / s, m01 / s, z[k] - y0
            x0, x1 = y0 + g0 * e, y1 + g1 * e
            p00, p01, p11 = m00 * r / s, m01 * r / s, m11 - m01 * m01 / s
            left = beta + 0.5 * (z[k] - x0) * (z[k] - x0) + 0.5 * p00
            r = left / alpha
            if learn_p:
                share = 1.0 / (TAU + 1.0)
                m00 = (TAU * n00 + p00 + (x0 - y0) * (x0 - y0)) * share
                m01 = (TAU * n01 + p01 + (x0 - y0) * (x1 - y1)) * share
                m11 = (TAU * n11 + p11 + (x1 - y1) * (x1 - y1)) * share
        beta = left


@kernel
def average(dt: Any, z: Any, r: float, grid: Any, mean: Any, variance: Any) -> None:
    """As :func:`variational`, of the average over ``grid`` float64[m, 3]."""
    m, interval = grid.shape[0], dt[1]
    x, p = np.zeros((m, 2)), np.zeros((m, 3))
    scale, evidence, weight = np.full(m, r), np.zeros(m), np.zeros(m)
    ahead, spread = np.zeros(m), np.zeros(m)
    for j in range(m):
        x[j, 0], p[j, 0], p[j, 2] = z[0], 1.0, 4.0 / (interval * interval)
    for k in range(1, z.shape[0]):
        best, total = evidence.max(), 0.0
        for j in range(m):
            weight[j] = math.exp(evidence[j] - best)
            total += weight[j]
        for j in range(m):
            f, decay, c, v1, v0 = noise_columns(dt[k], grid[j, 0] / interval, grid[j, 2] * interval, grid[j, 1])
            x[j, 0], x[j, 1] = x[j, 0] + f * x[j, 1], decay * x[j, 1]
            p00 = p[j, 0] + f * (2.0 * p[j, 1] + f * p[j, 2]) + c * c * v1 + v0
            p01, p11 = decay * (p[j, 1] + f * p[j, 2]) + c * v1, decay * decay * p[j, 2] + v1
            s, e = p00 + 1.0, z[k] - x[j, 0]
            ahead[j], spread[j] = x[j, 0], s * scale[j]
            nis = min(e * e / spread[j], 9.0)
            evidence[j] = KEPT * evidence[j] - 0.5 * (math.log(spread[j]) + nis)
            scale[j] *= 1.0 + max(SCALE_GAIN, 1.0 / k) * (nis - 1.0) if k > 1 else 1.0
            scale[j] = max(scale[j], 1e-9 * r)
            x[j, 0], x[j, 1] = x[j, 0] + p00 / s * e, x[j, 1] + p01 / s * e
            p[j, 0], p[j, 1], p[j, 2] = p00 / s, p01 / s, p11 - p01 * p01 / s
        for j in range(m):
            mean[k] += weight[j] / total * ahead[j]
        for j in range(m):
            variance[k] += weight[j] / total * (spread[j] + (ahead[j] - mean[k]) * (ahead[j] - mean[k]))


LEARNERS: dict[str, Callable[..., None]] = {
    "variational_r": lambda dt, z, r, m, v: variational(dt, z, r, False, m, v),
    "variational_pr": lambda dt, z, r, m, v: variational(dt, z, r, True, m, v),
    "average": lambda dt, z, r, m, v: average(dt, z, r, GRID, m, v),
}


def learn(name: str, t_ns: NDArray[np.int64], z: NDArray[np.float64]) -> tuple[NDArray[np.float64], Any, float]:
    """One-step means and standard deviations float64[n] of a learner, and its nanoseconds per sample."""
    dt = np.r_[0.0, 1e-9 * np.diff(t_ns)]
    r = float(np.mean(np.diff(z[:START]) ** 2)) / 2 or float(np.mean(np.diff(z) ** 2)) / 2
    LEARNERS[name](dt[:3], z[:3], r, np.zeros(3), np.zeros(3))  # compiled before it is timed
    mean, variance = np.zeros(len(z)), np.zeros(len(z))
    start = time.thread_time()
    LEARNERS[name](dt, z, r, mean, variance)
    return mean, np.sqrt(variance), (time.thread_time() - start) / len(z) * 1e9
