"""Binary range coding with mixed adaptive probabilities, in integers alone: the same on every machine.

A decision (one bit) is predicted by INPUTS adaptive probabilities, each found by its own context, whose logits are
summed with weights that are learned too (logistic mixing: Mahoney, "Adaptive Weighing of Context Models for Lossless
Data Compression", Florida Tech CS-2005-16). The bit is coded by a carry-less range coder of 32 bits.
docs/frames.md specifies every step; encoder and decoder run the same function.

"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgetwin.kernels.bits import Array, at, pointer
from edgetwin.kernels.jit import inlined

INPUTS = 8
KINDS = 96
LIMIT = 255
LEARN = 5
WEIGHT_MAX = 1 << 20
LOW, HIGH, CODE, POSITION, SHORT, LENGTH = range(6)
_TOP = 0xFF000000
_ALL = 0xFFFFFFFF
_WEIGHT = 13_107
_UNKNOWN = (1 << 21) * 512
_PAST_END = 8


def _squash() -> Array:
    """int64[4096]: 65536 / (1 + exp(-(i - 2048) / 256)), rounded."""
    return np.array([round(65536 / (1 + math.exp((2048 - i) / 256))) for i in range(4096)], np.int64)


def _stretch() -> Array:
    """int64[4096]: 256 ln(p / (1 - p)) for p = (i + 1/2) / 4096, rounded and kept within 2047.

    Neither curve comes within 1e-5 of a half before it is rounded (a test looks), so any math library gives the same.
    """
    rounded = [round(256 * math.log((2 * i + 1) / (8191 - 2 * i))) for i in range(4096)]
    return np.clip(np.array(rounded, np.int64), -2047, 2047)


def _rate() -> Array:
    """int64[4096], LIMIT + 1 of them used: 65536 / (n + 3/2), rounded down, how far a probability that has seen n bits
    goes towards the next one."""
    return np.array([131_072 // (2 * min(n, LIMIT) + 3) for n in range(4096)], np.int64)


CURVES = np.stack([_squash(), _stretch(), _rate()])
_STRETCH, _RATE = 4096, 8192


class Coder(NamedTuple):
    """Everything that decisions learn and use.

    ==================================== ===========================================================================
    tables int32[INPUTS, 2**bits]        probability of a 1 in 2**-22, times 512, plus how many bits it has seen
    weights int32[KINDS, INPUTS]         in 2**-16
    context int64[INPUTS]                of the coming decisions, each in 0 .. 2**31 - 1
    range int64[6]                       low end, high end, code (decoder), position in the data, 1: data too short,
                                         length of the data
    scratch int64[2, INPUTS]             used up by each decision
    curves int64[3, 4096]                SQUASH, STRETCH and RATE
    bits int64[1]                        see tables
    ==================================== ===========================================================================
    """

    tables: Array
    weights: Array
    context: Array
    range: Array
    scratch: Array
    curves: Array
    bits: Array


def new_coder(bits: int) -> Coder:
    """A coder that has seen nothing: every probability 1/2, every weight 0.2."""
    return Coder(
        np.full((INPUTS, 1 << bits), _UNKNOWN, np.int32),
        np.full((KINDS, INPUTS), _WEIGHT, np.int32),
        np.zeros(INPUTS, np.int64),
        np.zeros(6, np.int64),
        np.zeros((2, INPUTS), np.int64),
        CURVES,
        np.array([bits], np.int64),
    )


@inlined
def pointers(coder: Coder) -> Coder:
    """The same as pointers, as the functions below take it."""
    return Coder(
        pointer(coder.tables),
        pointer(coder.weights),
        pointer(coder.context),
        pointer(coder.range),
        pointer(coder.scratch),
        pointer(coder.curves),
        pointer(coder.bits),
    )


def reset(coder: Coder) -> None:
    """Forget everything."""
    coder.tables[:] = _UNKNOWN
    coder.weights[:] = _WEIGHT


@inlined
def begin(coder: Coder, data: Array, length: int, decoding: bool) -> None:
    """Open a stream of bits in ``data`` uint8[length]."""
    state = coder.range
    state[LOW], state[HIGH], state[CODE], state[POSITION], state[SHORT], state[LENGTH] = 0, _ALL, 0, 0, 0, length
    if decoding:
        for _ in range(4):
            state[CODE] = (at(state, CODE) << 8) | _next(state, data)


@inlined
def finish(coder: Coder, data: Array) -> int:
    """Close the encoder's stream with the fewest bytes that tell it from any other; returns its length."""
    state = coder.range
    low, high = at(state, LOW), at(state, HIGH)
    for n in range(5):
        step = 1 << (32 - 8 * n)
        value = (low + step - 1) // step * step
        if value <= high:
            for i in range(n):
                _put(state, data, (value >> (24 - 8 * i)) & 255)
            break
    return at(state, POSITION)


@inlined
def decide(bit: int, decoding: bool, kind: int, which: int, coder: Coder, data: Array) -> int:
    """Code one bit, or find it when ``decoding``; learns from it and returns it.

    kind: tells decisions apart that share contexts; which: row of the weights.
    """
    tables, weights, context, scratch, curves = (
        coder.tables,
        coder.weights,
        coder.context,
        coder.scratch,
        coder.curves,
    )
    bits = at(coder.bits, 0)
    shift = 32 - bits
    dot = 0
    salt = (kind * 0x3C6EF35F) & 0x7FFFFFFF
    row = which * INPUTS
    for i in range(INPUTS):
        place = (i << bits) + ((((at(context, i) ^ salt) * 0x9E3779B1) & _ALL) >> shift)
        logit = at(curves, _STRETCH + (at(tables, place) >> 19))
        scratch[i] = place
        scratch[INPUTS + i] = logit
        dot += at(weights, row + i) * logit
    p = at(curves, min(max(dot >> 16, -2047), 2047) + 2048)
    bit = _code(bit, decoding, p, coder.range, data)
    error = ((bit << 16) - p) * LEARN
    aim = bit << 22
    for i in range(INPUTS):
        weight = at(weights, row + i) + ((at(scratch, INPUTS + i) * error + (1 << 17)) >> 18)
        weights[row + i] = min(max(weight, -WEIGHT_MAX), WEIGHT_MAX)
        place = at(scratch, i)
        state = at(tables, place)
        p22, n = state >> 9, state & 511
        p22 += ((aim - p22) * at(curves, _RATE + n)) >> 16
        tables[place] = (p22 << 9) | min(n + 1, LIMIT)
    return bit


@inlined
def raw(value: int, bits: int, decoding: bool, coder: Coder, data: Array) -> int:
    """Code the ``bits`` low bits of ``value``, highest first, as they are."""
    out = 0
    for i in range(bits - 1, -1, -1):
        out = (out << 1) | _code((value >> i) & 1, decoding, 32768, coder.range, data)
    return out


@inlined
def _code(bit: int, decoding: bool, p: int, state: Array, data: Array) -> int:
    """Code a bit that is 1 with probability p / 65536."""
    low, high = at(state, LOW), at(state, HIGH)
    middle = low + (((high - low) * p) >> 16)
    if decoding:
        bit = 1 if at(state, CODE) <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while ((low ^ high) & _TOP) == 0:
        if decoding:
            state[CODE] = ((at(state, CODE) << 8) & _ALL) | _next(state, data)
        else:
            _put(state, data, high >> 24)
        low = (low << 8) & _ALL
        high = ((high << 8) & _ALL) | 255
    state[LOW], state[HIGH] = low, high
    return bit


@inlined
def _next(state: Array, data: Array) -> int:
    """The next byte; zeros follow the end, as :func:`finish` leaves them out."""
    i = at(state, POSITION)
    state[POSITION] = i + 1
    if i < at(state, LENGTH):
        return at(data, i)
    if i > at(state, LENGTH) + _PAST_END:
        state[SHORT] = 1
    return 0


@inlined
def _put(state: Array, data: Array, byte: int) -> None:
    i = at(state, POSITION)
    if i < at(state, LENGTH):
        data[i] = byte
    else:
        state[SHORT] = 1
    state[POSITION] = i + 1
