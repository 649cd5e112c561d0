"""Integrals of an exponential relaxation, free of cancellation for small arguments.

They are the entries of the exact process-noise covariance of a first-order lag driven by a random walk
(Van Loan, "Computing integrals involving the matrix exponential", IEEE TAC 23(3), 1978).
With ``h = dt / tau``; below 0.1 the Taylor series is used, above it the closed form (both to 1e-12).
"""

from __future__ import annotations

import math

from edgetwin.kernels.jit import kernel


@kernel
def ramp(h: float) -> float:
    """Mean of ``1 - exp(-s)`` over ``s`` in [0, h]; dimensionless, 0 at ``h = 0``."""
    if h < 0.1:
        return h * (1 / 2 - h * (1 / 6 - h * (1 / 24 - h * (1 / 120 - h * (1 / 720 - h * (1 / 5040 - h / 40320))))))
    return 1.0 + math.expm1(-h) / h


@kernel
def ramp_square(h: float) -> float:
    """Mean of ``(1 - exp(-s))**2`` over ``s`` in [0, h]; dimensionless, 0 at ``h = 0``."""
    if h < 0.1:
        # sum over k >= 3 of (-1)**k (2 - 2**(k-1)) h**(k-1) / k!
        total = 0.0
        power = h * h
        factorial = 6.0
        two = 4.0
        sign = -1.0
        for k in range(3, 13):
            total += sign * (2.0 - two) * power / factorial
            power *= h
            factorial *= k + 1
            two *= 2.0
            sign = -sign
        return total
    return 1.0 + (2.0 * math.expm1(-h) - 0.5 * math.expm1(-2.0 * h)) / h
