"""Random numbers of many independent streams, the same on every machine and for any number of threads.

Each stream is a xoshiro256++ generator (Blackman and Vigna, "Scrambled linear pseudorandom number generators", ACM
TOMS 47(4), 2021), seeded from (seed, purpose, number of the stream) through splitmix64. Normals come from the ziggurat
of 256 layers (Marsaglia and Tsang, "The ziggurat method for generating random variables", J. Stat. Software 5(8),
2000), its layer and its abscissa taken from different bits of one 64-bit number.

A stream is a row of ``streams`` uint64[n, 4]; drawing from it changes that row only.
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
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_LOW = np.uint64(LAYERS - 1)
_ONE, _8, _11, _17, _19 = np.uint64(1), np.uint64(8), np.uint64(11), np.uint64(17), np.uint64(19)
_23, _27, _30, _31, _41, _45 = (np.uint64(k) for k in (23, 27, 30, 31, 41, 45))


@kernel
def mix(z: Any) -> Any:
    """The output function of splitmix64, a bijection of uint64."""
    z = (z ^ (z >> _30)) * _MIX1
    z = (z ^ (z >> _27)) * _MIX2
    return z ^ (z >> _31)


@kernel
def seed_streams(seed: Any, purpose: Any, streams: Any) -> None:
    """Start every stream: uint64 ``seed`` of the whole, uint64 ``purpose`` that keeps sets of streams apart."""
    root = mix(mix(seed + _GOLDEN) + purpose * _GOLDEN)
    for m in range(streams.shape[0]):
        z = mix(root + np.uint64(m))
        for k in range(4):
            z += _GOLDEN
            streams[m, k] = mix(z)


@kernel
def next_bits(streams: Any, m: int) -> Any:
    """64 random bits of stream ``m``, as uint64."""
    s0, s1, s2, s3 = streams[m, 0], streams[m, 1], streams[m, 2], streams[m, 3]
    total = s0 + s3
    result = ((total << _23) | (total >> _41)) + s0
    shifted = s1 << _17
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    streams[m, 0] = s0
    streams[m, 1] = s1
    streams[m, 2] = s2
    streams[m, 3] = (s3 << _45) | (s3 >> _19)
    return result


@kernel
def uniform(streams: Any, m: int) -> float:
    """A number of stream ``m``, even in [0, 1)."""
    return float(np.int64(next_bits(streams, m) >> _11)) * _UNIT


@kernel
def normal(streams: Any, m: int) -> float:
    """A number of stream ``m`` from the standard normal distribution."""
    while True:
        bits = next_bits(streams, m)
        layer = np.int64(bits & _LOW)
        sign = -1.0 if (bits >> _8) & _ONE else 1.0
        x = float(np.int64(bits >> _11)) * _UNIT * float(_X[layer])
        if x < _X[layer + 1]:
            return sign * x
        if layer == 0:
            return sign * tail(streams, m)
        if _F[layer] + uniform(streams, m) * (_F[layer + 1] - _F[layer]) < math.exp(-0.5 * x * x):
            return sign * x


@kernel
def tail(streams: Any, m: int) -> float:
    """A standard normal number given that it is above ``TAIL`` (Marsaglia, Technometrics 6(1), 1964)."""
    while True:
        x = -math.log(1.0 - uniform(streams, m)) / TAIL
        if -2.0 * math.log(1.0 - uniform(streams, m)) > x * x:
            return TAIL + x


@kernel
def draw_correlated(streams: Any, mean: Any, factor: Any, out: Any) -> None:
    """Vectors from N(mean, L Lᵀ), one of each stream.

    mean float64[n], factor L float64[n, n], out float64[streams, n]. Summed in a fixed order, without BLAS.
    """
    n = mean.shape[0]
    z = np.empty(n)
    for m in range(streams.shape[0]):
        for j in range(n):
            z[j] = normal(streams, m)
        for i in range(n):
            total = mean[i]
            for j in range(n):
                total += factor[i, j] * z[j]
            out[m, i] = total


FIXED, NORMAL, UNIFORM = 0, 1, 2


@kernel
def draw_parameters(streams: Any, kind: Any, first: Any, second: Any, out: Any) -> None:
    """One value of each parameter for each stream.

    kind int64[p]: FIXED (``first``), NORMAL (mean ``first``, standard deviation ``second``) or UNIFORM (from ``first``
    to ``second``), float64[p] both; out float64[streams, p]. A fixed parameter takes nothing from the stream.
    """
    for m in range(streams.shape[0]):
        for k in range(kind.shape[0]):
            if kind[k] == NORMAL:
                out[m, k] = first[k] + second[k] * normal(streams, m)
            elif kind[k] == UNIFORM:
                out[m, k] = first[k] + (second[k] - first[k]) * uniform(streams, m)
            else:
                out[m, k] = first[k]
