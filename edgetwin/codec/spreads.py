"""Standard deviations on a coarse lattice: the leading bits of a double.

A deviation is sent as q, the upper 17 bits of its 64 (sign, exponent and 5 bits of the fraction), and stands for the
double whose other bits are zero. It stays where it was told while that is no further than one q, so it differs by no
more than 1 part in 32 (below 2**-1022, by no more than 2**-1027). Infinity and NaN stay what they are; a negative
deviation, which is none, becomes NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHIFT = 47
RELATIVE = 2.0**-5
_NAN = 0x7FF8000000000000 >> SHIFT
_INFINITE = 0x7FF0000000000000 >> SHIFT


def quantise(std: NDArray[np.float64], told: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n] for deviations float64[n] of which the last ones told were ``told`` int64[n]."""
    bits = (np.ascontiguousarray(std, np.float64) + 0.0).view(np.int64)  # no negative zero
    nearest = np.minimum((bits >> SHIFT) + ((bits >> (SHIFT - 1)) & 1), _INFINITE - 1)
    kept = (np.abs((bits >> 1) - (told << (SHIFT - 1))) <= 1 << (SHIFT - 1)) & (told < _INFINITE)
    q = np.where(kept, told, nearest)
    q = np.where(std == np.inf, _INFINITE, q)
    found: NDArray[np.int64] = np.where(std >= 0, q, _NAN)
    return found


def value(q: NDArray[np.int64]) -> NDArray[np.float64]:
    """The deviations float64[n] that q int64[n] stand for."""
    return (q << SHIFT).view(np.float64)
