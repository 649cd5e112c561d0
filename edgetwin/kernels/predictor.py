"""What a coded column is expected to be next: one implementation for encoder and decoder.

Columns are integers (places on a lattice). Of several candidates the one is used that has lately been nearest:

    0  hold          q1
    1  line          2 q1 - q2
    2  adaptive      q1 + sum_j w_j d_j, the w_j learned by normalised LMS of order ORDER (Widrow and Hoff 1960; Haykin,
                     "Adaptive Filter Theory", ch. 6) from the last differences d_j
    3  half line     q1 + floor((q1 - q2) / 2)
    4  model         what the twin's own model says, where it says anything; else hold

Arithmetic is on 64-bit integers, and in the filter on IEEE doubles with + - * / alone, in the order written here. numba
without fastmath gives LLVM no licence to reorder them or to contract a * b + c.

Arrays of a column (rows of): ``whole`` int64[WHOLE], ``real`` float64[REAL]; zeros at the start.
"""

from __future__ import annotations

import math

from edgetwin.kernels.bits import Array, at
from edgetwin.kernels.jit import inlined

ORDER = 16
CANDIDATES = 5
HOLD, LINE, ADAPTIVE, HALF, MODEL = range(CANDIDATES)

Q1, Q2, Q3, K1, K2, RUN, FAST, MEDIUM, SLOW, BEST, MISSED, ENERGY = range(12)
WHOLE = 12
_ERROR, _W, _D = 0, CANDIDATES, CANDIDATES + ORDER
REAL = CANDIDATES + 2 * ORDER

STEP = 0.005
FORGET = 0.05
ERROR_MAX = 16.0
BETTER = 0.8
DIFFERENCE_MAX = 16_777_216.0
Q_MAX = 1 << 61
_FAR = float(1 << 61)


@inlined
def predict(whole: Array, real: Array, model: float, candidate: Array) -> int:
    """Fill ``candidate`` int64[CANDIDATES] and choose among them: returns the number of the best.

    ``model`` is the twin's prediction on the lattice, NaN when there is none.
    """
    q1, q2 = at(whole, Q1), at(whole, Q2)
    candidate[HOLD] = q1
    candidate[LINE] = _near(q1 + (q1 - q2))
    candidate[HALF] = _near(q1 + ((q1 - q2) >> 1))
    candidate[ADAPTIVE] = q1
    candidate[MODEL] = q1
    if at(whole, ENERGY) > 0:
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        for j in range(0, ORDER, 4):
            s0 += real[_W + j] * real[_D + j]
            s1 += real[_W + j + 1] * real[_D + j + 1]
            s2 += real[_W + j + 2] * real[_D + j + 2]
            s3 += real[_W + j + 3] * real[_D + j + 3]
        s = (s0 + s1) + (s2 + s3)
        if abs(s) < _FAR:
            candidate[ADAPTIVE] = _near(q1 + math.floor(s + 0.5))
        else:
            for j in range(ORDER):
                real[_W + j] = 0.0
    if abs(model) < _FAR:
        candidate[MODEL] = math.floor(model + 0.5)
    best = at(whole, BEST)
    for j in range(CANDIDATES):
        if real[_ERROR + j] < real[_ERROR + best] * BETTER:
            best = j
    whole[BEST] = best
    return int(best)


@inlined
def learn(whole: Array, real: Array, candidate: Array, q: int, k: int, size: float) -> None:
    """Take in the coded ``q``, ``k`` places from the prediction. size: places in a full quantisation step."""
    for j in range(CANDIDATES):
        error = min(abs(float(q - at(candidate, j))) / size, ERROR_MAX)
        real[_ERROR + j] += FORGET * (error - real[_ERROR + j])
    difference = min(max(float(q - at(whole, Q1)), -DIFFERENCE_MAX), DIFFERENCE_MAX)
    energy = at(whole, ENERGY)
    if energy > 0:
        off = min(max(float(q - at(candidate, ADAPTIVE)), -DIFFERENCE_MAX), DIFFERENCE_MAX)
        gain = STEP * off / (float(energy) + size * size)
        if gain != 0.0:
            for j in range(ORDER):
                real[_W + j] += gain * real[_D + j]
    if energy > 0 or difference != 0.0:
        last = real[_D + ORDER - 1]
        for j in range(ORDER - 1, 0, -1):
            real[_D + j] = real[_D + j - 1]
        real[_D] = difference
        whole[ENERGY] = energy + int(difference * difference) - int(last * last)
    whole[Q3], whole[Q2], whole[Q1] = at(whole, Q2), at(whole, Q1), q
    whole[K2], whole[K1] = at(whole, K1), k
    whole[RUN] = at(whole, RUN) + 1 if k == 0 else 0
    magnitude = min(abs(k), 1 << 20) << 8
    whole[FAST] += ((magnitude - at(whole, FAST)) * 77) >> 8
    whole[MEDIUM] += ((magnitude - at(whole, MEDIUM)) * 26) >> 8
    whole[SLOW] += ((magnitude - at(whole, SLOW)) * 5) >> 8


@inlined
def _near(q: int) -> int:
    """``q`` within Q_MAX."""
    return min(max(q, -Q_MAX), Q_MAX)
