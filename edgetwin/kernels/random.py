"""Counter-based random numbers: each is a pure function of a seed and of where it is used.

Philox 4x32 of ten rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The
key is the seed, the counter is (draw, attempt, member, stream): who computes a number, in which order and on how many
threads does not matter. One block of 128 bits makes two normals by the ziggurat of 256 layers (Marsaglia and Tsang,
"The ziggurat method for generating random variables", J. Stat. Software 5(8), 2000), layer, sign and abscissa from
different bits; the 1.2 % that the first bits do not settle draw further blocks, told apart by ``attempt``.

``seed`` and ``stream`` are uint64 (of ``stream`` the low 32 bits count), ``member`` and ``draw`` int64 from 0 to
2**32 - 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.jit import kernel

LAYERS = 256
TAIL = 3.6541528853610088
"""Where the lowest layer ends and the tail begins."""
AREA = 0.00492867323399
"""Area of every layer, the lowest with its tail."""


def _ziggurat() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right edges x float64[257] of the layers, lowest first, and exp(-x²/2)."""
    x = np.zeros(LAYERS + 1)
    x[0], x[1] = AREA * math.exp(0.5 * TAIL * TAIL), TAIL
    for k in range(1, LAYERS - 1):
        x[k + 1] = math.sqrt(-2.0 * math.log(AREA / x[k] + math.exp(-0.5 * x[k] * x[k])))
    return x, np.exp(-0.5 * x * x)


_X, _F = _ziggurat()
_UNIT = 2.0**-53
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_WORD = np.uint64(0xFFFFFFFF)
_LAYER = np.uint64(LAYERS - 1)
_BASE, _ONE, _8, _11, _32 = (np.uint64(k) for k in (0, 1, 8, 11, 32))


@kernel
def philox(seed: Any, c0: Any, c1: Any, c2: Any, c3: Any) -> Any:
    """One block of Philox 4x32-10: four words of 32 bits, each in a uint64, as the counter c0…c3 is."""
    k0, k1 = seed & _WORD, seed >> _32
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _WORD, (p0 >> _32) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    return c0, c1, c2, c3


@kernel
def bits_pair(seed: Any, stream: Any, member: int, draw: int, attempt: int) -> Any:
    """Two times 64 random bits, as uint64."""
    words = philox(seed, np.uint64(draw) & _WORD, np.uint64(attempt), np.uint64(member), stream & _WORD)
    return words[0] | (words[1] << _32), words[2] | (words[3] << _32)


@kernel
def unit(bits: Any) -> float:
    """A number even in [0, 1), of the upper 53 bits."""
    return float(np.int64(bits >> _11)) * _UNIT


@kernel
def uniform(seed: Any, stream: Any, member: int, draw: int) -> float:
    """A number even in [0, 1)."""
    return unit(bits_pair(seed, stream, member, draw, 0)[0])


@kernel
def normal_pair(seed: Any, stream: Any, member: int, draw: int) -> Any:
    """Two independent numbers from the standard normal distribution."""
    first, second = bits_pair(seed, stream, member, draw, 0)
    a, b = candidate(first), candidate(second)
    if math.isnan(a):
        a = settle(first, seed, stream, member, draw, 0)
    if math.isnan(b):
        b = settle(second, seed, stream, member, draw, 1)
    return a, b


@kernel
def candidate(bits: Any) -> float:
    """The normal number that these bits settle at once, NaN when they do not."""
    layer = bits & _LAYER
    x = unit(bits) * float(_X[layer])
    if not (x < _X[layer + _ONE]):
        return math.nan
    return -x if (bits >> _8) & _ONE else x


@kernel
def settle(bits: Any, seed: Any, stream: Any, member: int, draw: int, lane: int) -> float:
    """The normal number of bits that :func:`candidate` leaves open; ``lane`` 0 or 1 keeps the two of a pair apart."""
    attempt = lane + 1
    while True:
        layer = bits & _LAYER
        x = unit(bits) * float(_X[layer])
        settled = x < _X[layer + _ONE]
        more, following = bits_pair(seed, stream, member, draw, attempt)
        if not settled and layer == _BASE:
            x, settled = tail(seed, stream, member, draw, attempt + 2), True
        elif not settled:
            settled = _F[layer] + unit(more) * (_F[layer + _ONE] - _F[layer]) < math.exp(-0.5 * x * x)
        if settled:
            return -x if (bits >> _8) & _ONE else x
        bits, attempt = following, attempt + 2


@kernel
def tail(seed: Any, stream: Any, member: int, draw: int, attempt: int) -> float:
    """A standard normal number given that it is above ``TAIL`` (Marsaglia, Technometrics 6(1), 1964)."""
    while True:
        first, second = bits_pair(seed, stream, member, draw, attempt)
        excess = -math.log(1.0 - unit(first)) / TAIL
        if -2.0 * math.log(1.0 - unit(second)) > excess * excess:
            return TAIL + excess
        attempt += 2


@kernel
def draw_correlated(seed: Any, stream: Any, mean: Any, factor: Any, out: Any) -> None:
    """Vectors from N(mean, L Lᵀ), one for each member.

    mean float64[n], factor L float64[n, n], out float64[members, n]. Summed in a fixed order, without BLAS.
    """
    n = mean.shape[0]
    z = np.empty(n + 1)
    for m in range(out.shape[0]):
        for j in range(0, n, 2):
            z[j], z[j + 1] = normal_pair(seed, stream, m, j // 2)
        for i in range(n):
            total = mean[i]
            for j in range(n):
                total += factor[i, j] * z[j]
            out[m, i] = total


FIXED, NORMAL, UNIFORM, LOGNORMAL, TRIANGULAR = range(5)


@kernel
def draw_parameters(seed: Any, stream: Any, kind: Any, figures: Any, out: Any) -> None:
    """One value of each parameter for each member.

    kind int64[p], figures float64[p, 3]: FIXED (value), NORMAL (mean, standard deviation), UNIFORM (low, high),
    LOGNORMAL (mean and standard deviation of the logarithm) or TRIANGULAR (low, mode, high, by the inverse of its
    distribution function). out float64[members, p]. Parameter k is draw k: what the others are does not matter.
    """
    for m in range(out.shape[0]):
        for k in range(kind.shape[0]):
            a, b, c = figures[k, 0], figures[k, 1], figures[k, 2]
            if kind[k] == NORMAL:
                out[m, k] = a + b * normal_pair(seed, stream, m, k)[0]
            elif kind[k] == LOGNORMAL:
                out[m, k] = math.exp(a + b * normal_pair(seed, stream, m, k)[0])
            elif kind[k] == UNIFORM:
                out[m, k] = a + (b - a) * uniform(seed, stream, m, k)
            elif kind[k] == TRIANGULAR:
                u = uniform(seed, stream, m, k)
                if u * (c - a) < b - a:
                    out[m, k] = a + math.sqrt(u * (c - a) * (b - a))
                else:
                    out[m, k] = c - math.sqrt((1.0 - u) * (c - a) * (c - b))
            else:
                out[m, k] = a
