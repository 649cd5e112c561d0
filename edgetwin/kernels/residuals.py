"""A run of values of one column to bits and back: the closed loop of prediction, quantisation and coding.

A value stands on a lattice at the integer q. What is coded is k = q - p, the distance from the prediction p, by binary
decisions: is it zero; has it escaped; its sign; its magnitude. Decoder and encoder run the same function, and both
predict from what the decoder knows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgetwin.kernels.bits import Array, at, pointer
from edgetwin.kernels.entropy import SHORT, Coder, begin, decide, finish, pointers, raw
from edgetwin.kernels.jit import inlined, kernel
from edgetwin.kernels.predictor import (
    ADAPTIVE,
    FAST,
    HOLD,
    K1,
    K2,
    LINE,
    MEDIUM,
    MISSED,
    Q1,
    Q2,
    Q3,
    Q_MAX,
    RUN,
    SLOW,
    learn,
    predict,
)

LATTICE, DECIMAL, WHOLE_NUMBER = range(3)
"""How q stands for a value: origin + q * step; (origin + q * step) / divisor on integers; a 64-bit integer."""

MISSING = 0x7FF8000000000000
"""Bits of the NaN that stands for no value."""

_LOOK = 32
_K_MAX = 1 << 58
_UNARY = 8
_EVEN, _LARGE = 41, 24 << 8
_ZERO, _ESCAPE, _SIGN, _ODD, _ABSENT, _COUNT, _CLASS, _BITS = 0, 1, 2, 3, 4, 8, 128, 512
_CLASS_MAX = 60


class Law(NamedTuple):
    """How a column stands on its lattice. ``whole`` int64[7]: form, half (1: q is in half quantisation steps), missing
    (1: values may be absent), tail (low bits of a WHOLE_NUMBER that are not predicted), origin and step of a DECIMAL,
    identity (of the column among those that share a coder). ``real`` float64[4]: origin and step of a LATTICE, divisor
    of a DECIMAL, tolerance (the encoder's)."""

    whole: Array
    real: Array


FORM, HALVED, ABSENT, TAIL, ORIGIN, STRIDE, IDENTITY = range(7)
R_ORIGIN, R_STEP, R_DIVISOR, R_TOLERANCE = range(4)


def _levels() -> Array:
    """int64[4096]: half octaves of a magnitude in 1/256, 0 below 5/256."""
    table = np.zeros(4096, np.int64)
    for v in range(5, 4096):
        octave = (v // 5).bit_length() - 1
        table[v] = 1 + 2 * octave + (2 * v >= 3 * (5 << octave))
    return table


_LEVELS = _levels()


@inlined
def code_run(
    n: int,
    values: Array,
    bits: Array,
    model: Array,
    foreseen: bool,
    decoding: bool,
    law: Law,
    whole: Array,
    real: Array,
    coder: Coder,
    data: Array,
    candidate: Array,
) -> int:
    """Code a run of n values, or find them; returns how many escaped. All arrays are pointers.

    values float64[n] and bits int64[n] are views of the same memory (of a WHOLE_NUMBER only ``bits`` counts); when
    decoding they are written. model float64[n]: the twin's predictions on the lattice, read if ``foreseen``. whole,
    real: the column's state (edgetwin.kernels.predictor). After a decoder met what no encoder writes,
    ``at(coder.range, SHORT)`` is 1 and the rest of the values is undefined.
    """
    form, missing = at(law.whole, FORM), at(law.whole, ABSENT)
    size = 2.0 if at(law.whole, HALVED) else 1.0
    escapes = 0
    for t in range(n):
        if missing:
            absent = _code_absence(1 if (not decoding and at(bits, t) == MISSING) else 0, decoding, whole, coder, data)
            if absent:
                if decoding:
                    bits[t] = MISSING
                continue
        best = predict(whole, real, model[t] if foreseen else math.nan, candidate)
        p = at(candidate, best)
        k, escape = 0, 0
        if not decoding:
            k, escape = _quantise(values, bits, t, n, p, law, whole)
        _contexts(coder.context, whole, candidate, best, p, law)
        k, escape = _code_distance(k, escape, decoding, law, whole, best, coder, data)
        if escape:
            high = raw((at(bits, t) >> 32) & 0xFFFFFFFF, 32, decoding, coder, data)
            low = raw(at(bits, t) & 0xFFFFFFFF, 32, decoding, coder, data)
            if decoding:
                bits[t] = ((high - (1 << 32) if high >= (1 << 31) else high) << 32) | low
            escapes += 1
            continue
        q = p + k
        if not -Q_MAX <= q <= Q_MAX:
            coder.range[SHORT] = 1
        if at(coder.range, SHORT):
            return escapes
        learn(whole, real, candidate, q, k, size)
        tail = 0
        if at(law.whole, TAIL):
            tail = raw(at(bits, t) & ((1 << at(law.whole, TAIL)) - 1), at(law.whole, TAIL), decoding, coder, data)
        if decoding:
            if form == WHOLE_NUMBER:
                bits[t] = (q << at(law.whole, TAIL)) | tail
            else:
                values[t] = place(q, law)
    return escapes


@inlined
def place(q: int, law: Law) -> float:
    """The value at ``q`` of a LATTICE or DECIMAL."""
    if at(law.whole, FORM) == LATTICE:
        return float(law.real[R_ORIGIN] + float(q) * law.real[R_STEP])
    return float(at(law.whole, ORIGIN) + q * at(law.whole, STRIDE)) / float(law.real[R_DIVISOR])


@inlined
def within(a: float, b: float, tolerance: float) -> bool:
    """Whether |a - b| <= tolerance exactly, not only after rounding (Dekker's difference and its error)."""
    d = a - b
    size = abs(d)
    if size != tolerance:
        return size < tolerance
    back = d - a
    error = (a - (d - back)) + (-b - back)
    return error == 0.0 or (error < 0.0) == (d > 0.0)


@inlined
def _quantise(values: Array, bits: Array, t: int, n: int, p: int, law: Law, whole: Array) -> tuple[int, int]:
    """The encoder's choice of k, and 1 when the value has to escape."""
    form = at(law.whole, FORM)
    if form == WHOLE_NUMBER:
        q = at(bits, t) >> at(law.whole, TAIL)
        if -Q_MAX <= q <= Q_MAX and abs(q - p) < _K_MAX:
            return q - p, 0
        return 0, 1
    x = values[t]
    if form == LATTICE:
        origin, step = law.real[R_ORIGIN], law.real[R_STEP]
    else:
        origin, step = at(law.whole, ORIGIN) / law.real[R_DIVISOR], at(law.whole, STRIDE) / law.real[R_DIVISOR]
    y = (x - origin) / step
    e = y - p
    if not abs(y) < 1e15 or not abs(e) < 1e15:
        return 0, 1
    tolerance = law.real[R_TOLERANCE]
    reach = tolerance / step
    if abs(e) <= reach:
        k = 0
    elif not at(law.whole, HALVED):
        k = math.floor(e + 0.5)
    elif at(whole, MEDIUM) > _LARGE:
        k = 2 * math.floor(0.5 * e + 0.5)
    else:
        k = _look_ahead(values, t, n, e, p, reach, origin, step)
    if form == DECIMAL and not abs(at(law.whole, ORIGIN) + (p + k) * float(at(law.whole, STRIDE))) < 9e15:
        return 0, 1
    r = place(p + k, law)
    if not within(r, x, tolerance):
        return 0, 1
    if tolerance == 0.0 and x == 0.0 and at(bits, t) != 0:
        return 0, 1
    return k, 0


@inlined
def _look_ahead(values: Array, t: int, n: int, e: float, p: int, reach: float, origin: float, step: float) -> int:
    """Of the places within reach the one that will do longest; whole steps are cheaper than half ones."""
    k = 2 * math.floor(0.5 * e + 0.5)
    most = -1 << 30
    for trial in range(math.ceil(e - reach), math.floor(e + reach) + 1):
        u = t + 1
        while u < n and u <= t + _LOOK and abs((values[u] - origin) / step - (p + trial)) <= reach:
            u += 1
        score = 10 * (u - t) - 2 * abs(trial) + (_EVEN if (trial & 1) == 0 else 0)
        if score > most:
            most = score
            k = trial
    return k


@inlined
def _code_absence(absent: int, decoding: bool, whole: Array, coder: Coder, data: Array) -> int:
    past = at(whole, MISSED)
    c = coder.context
    c[0], c[1], c[2], c[3] = past & 1, past & 3, past & 0xFF, past & 0xFFFF
    c[4], c[5], c[6], c[7] = past & 0xF, past & 0xFFF, past & 0xFFFFFF, past & 0x7FFFFFFF
    absent = decide(absent, decoding, _ABSENT, 8, coder, data)
    whole[MISSED] = ((past << 1) | absent) & 0x7FFFFFFF
    return absent


@inlined
def _contexts(c: Array, whole: Array, candidate: Array, best: int, p: int, law: Law) -> None:
    """Contexts of the decision whether k is zero."""
    k1, k2, run = abs(at(whole, K1)), abs(at(whole, K2)), at(whole, RUN)
    fast, medium, slow = _level(at(whole, FAST)), _level(at(whole, MEDIUM)), _level(at(whole, SLOW))
    a = _beside(at(candidate, HOLD) if best == ADAPTIVE else at(candidate, ADAPTIVE), p, law)
    b = _beside(at(candidate, HOLD) if best == LINE else at(candidate, LINE), p, law)
    own = at(law.whole, IDENTITY) & 0xFFFF
    q1, q2, q3 = at(whole, Q1) & 0xFFFF, at(whole, Q2) & 0xFFFF, at(whole, Q3) & 0xFFFF
    c[0] = ((min(k1, 3) * 4 + min(k2, 3)) * 8 + _run(run)) * 8 + best
    c[1] = fast * 32 + slow
    c[2] = (a * 16 + b) * 8 + best
    c[3] = (medium * 16 + a) * 4 + min(k1, 3)
    c[4] = (((p & 0xFFFF) * 8 + best) + own * 0x61C89) & 0x7FFFFFFF
    c[5] = best
    c[6] = (q1 * 40503 + q2 * 10007 + best * 77 + own * 0x3FD31) & 0x7FFFFFFF
    c[7] = (q1 * 40503 + q2 * 10007 + q3 * 5003 + best * 77 + own * 0x3FD31) & 0x7FFFFFFF


@inlined
def _code_distance(
    k: int,
    escape: int,
    decoding: bool,
    law: Law,
    whole: Array,
    best: int,
    coder: Coder,
    data: Array,
) -> tuple[int, int]:
    """Code k, or that the value escapes."""
    run = _run(at(whole, RUN))
    if not decide(1 if (k != 0 or escape) else 0, decoding, _ZERO, run, coder, data):
        return 0, 0
    if decide(escape, decoding, _ESCAPE, 8, coder, data):
        return 0, 1
    c = coder.context
    k1, k2 = at(whole, K1), at(whole, K2)
    signs = _sign(k1) * 3 + _sign(k2)
    pair = at(c, 2)
    a, b = pair >> 7, (pair >> 3) & 15
    c[0] = signs * 8 + best
    c[1] = a * 9 + signs
    c[3] = min(max(k1, -7), 7) + 7
    up = decide(1 if k > 0 else 0, decoding, _SIGN, 9, coder, data)
    if not up:
        a, b = 14 - a, 14 - b
    c[0] = min(abs(k1), 7) * 8 + min(abs(k2), 7)
    c[1] = _level(at(whole, FAST)) * 32 + _level(at(whole, SLOW))
    c[2] = (a * 16 + b) * 8 + best
    c[3] = _level(at(whole, MEDIUM)) * 16 + a
    c[4] = (at(c, 4) * 2 + up) & 0x7FFFFFFF
    c[5] = up
    c[6] = at(c, 6) ^ up
    c[7] = at(c, 7) ^ up
    magnitude = _code_magnitude(abs(k), decoding, at(law.whole, HALVED), at(whole, MEDIUM), coder, data)
    return magnitude if up else -magnitude, 0


@inlined
def _code_magnitude(m: int, decoding: bool, half: int, medium: int, coder: Coder, data: Array) -> int:
    """Code m >= 1."""
    if medium > _LARGE:
        expected = 1
        while (medium >> (7 + expected + half)) > 1 and expected < 40:
            expected += 1
        v = _code_class(m >> half, expected, 3, decoding, coder, data)
        return v << half
    odd = 0
    if half:
        odd = decide(m & 1, decoding, _ODD, 10, coder, data)
        h = (m >> 1) - 1 + odd
    else:
        h = m - 1
    u = 0
    while u < _UNARY:
        more = decide(1 if h > u else 0, decoding, _COUNT + _UNARY * odd + u, 11 + u, coder, data)
        if not more:
            break
        u += 1
    if u == _UNARY:
        u += _code_class(h - _UNARY + 1, 1, 6, decoding, coder, data) - 1
    return ((u + 1 - odd) << 1) + odd if half else u + 1


@inlined
def _code_class(v: int, expected: int, modelled: int, decoding: bool, coder: Coder, data: Array) -> int:
    """Code v >= 1 by the number of its bits, counted from the expected one, and the bits below the highest."""
    size = 0
    while (v >> size) > 0:
        size += 1
    c = expected
    if decide(1 if size > c else 0, decoding, _CLASS + 4 * c, 20 + min(c, 15), coder, data):
        c += 1
        while c < _CLASS_MAX:
            if not decide(1 if size > c else 0, decoding, _CLASS + 4 * c + 1, 36, coder, data):
                break
            c += 1
    else:
        while c > 1:
            if not decide(1 if size < c else 0, decoding, _CLASS + 4 * c + 2, 37, coder, data):
                break
            c -= 1
    node = 1
    deep = min(c - 1, modelled)
    for i in range(deep):
        bit = decide((v >> (c - 2 - i)) & 1, decoding, _BITS + c * 64 + node, 38 + i, coder, data)
        node = node * 2 + bit
    rest = c - 1 - deep
    return (node << rest) | raw(v, rest, decoding, coder, data)


@inlined
def _level(magnitude: int) -> int:
    return int(_LEVELS[min(magnitude, 4095)])


@inlined
def _run(run: int) -> int:
    """Classes of a run of zeros: 0, 1, 2-3, 4-7, 8-15, 16-63, 64 and more."""
    if run < 4:
        return int(run if run < 3 else 2)
    if run < 16:
        return 3 if run < 8 else 4
    return 5 if run < 64 else 6


@inlined
def _beside(other: int, p: int, law: Law) -> int:
    """Distance of another candidate in half steps, -7 to 7, plus 7."""
    distance = other - p if at(law.whole, HALVED) else 2 * (other - p)
    return int(min(max(distance, -7), 7) + 7)


@inlined
def _sign(k: int) -> int:
    return 0 if k == 0 else (1 if k > 0 else 2)


@kernel
def encode_column(
    values: Array, bits: Array, law: Law, whole: Array, real: Array, coder: Coder, data: Array, candidate: Array
) -> int:
    """Code a whole column into ``data``; returns the bytes written, -1 when ``data`` is too short."""
    c, d = pointers(coder), pointer(data)
    begin(c, d, data.shape[0], False)
    _column(values, bits, False, law, whole, real, c, d, candidate)
    n = finish(c, d)
    return -1 if coder.range[SHORT] else n


@kernel
def decode_column(
    values: Array, bits: Array, law: Law, whole: Array, real: Array, coder: Coder, data: Array, candidate: Array
) -> bool:
    """The reverse; False when ``data`` is not what an encoder writes."""
    c, d = pointers(coder), pointer(data)
    begin(c, d, data.shape[0], True)
    _column(values, bits, True, law, whole, real, c, d, candidate)
    return bool(coder.range[SHORT] == 0)


@inlined
def _column(
    values: Array,
    bits: Array,
    decoding: bool,
    law: Law,
    whole: Array,
    real: Array,
    coder: Coder,
    data: Array,
    candidate: Array,
) -> None:
    code_run(
        bits.shape[0],
        pointer(values),
        pointer(bits),
        pointer(real),
        False,
        decoding,
        Law(pointer(law.whole), pointer(law.real)),
        pointer(whole),
        pointer(real),
        coder,
        data,
        pointer(candidate),
    )
