"""Reports to bits and back: means by the closed loop of prediction and quantisation, deviations and qualities beside.

A report holds values of columns. Everything that a column has learned lives in the row of its number in
:class:`Columns`; encoder and decoder run the same function. Means, deviations and qualities are three sets of adaptive
probabilities over one stream of bits.

The model's prediction of a mean is x_i + (b_i + D_i0 x_0 + ... ), summed from the left, with what the decoder had of
all states of the group one interval before. IEEE doubles, + and * alone, in this order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from edgetwin.kernels.bits import Array, at, offset, pointer
from edgetwin.kernels.entropy import INPUTS, SHORT, Coder, begin, decide, finish, pointers, raw
from edgetwin.kernels.jit import inlined, kernel
from edgetwin.kernels.predictor import Q1, REAL, WHOLE
from edgetwin.kernels.residuals import LATTICE, Law, code_run, place

LAW_WHOLE, LAW_REAL = 7, 4
STEP = 1

LINK = 4
GROUP, SIZE, COEFFICIENTS, INTERVAL = range(LINK)

_QUALITY_BITS = 2
_ALIKE, _CHANGED = 4, 5


class Columns(NamedTuple):
    """What both sides know of each column; all arrays have a row for each.

    ================================= =================================================================================
    law int64[n, 7], real[n, 4]       the law of the mean (edgetwin.kernels.residuals.Law)
    whole int64[n, WHOLE]             predictor of the mean, and ``steps`` float64[n, REAL]
    spread int64[n, WHOLE]            predictor of the deviation, and ``spreads`` float64[n, REAL]
    quality int64[n]                  last quality
    mean float64[n], t_ns int64[n]    last mean as decoded, and its time
    link int64[n, LINK]               model: first column of the group, states in it (0: no model), where in
                                      ``coefficients`` b_i, D_i0, D_i1 ... stand, and the interval in ns
    ================================= =================================================================================
    """

    law: Array
    real: Array
    whole: Array
    steps: Array
    spread: Array
    spreads: Array
    quality: Array
    mean: Array
    t_ns: Array
    link: Array


class Coders(NamedTuple):
    """Probabilities of means, deviations and qualities; the range coder and the contexts are those of ``mean``."""

    mean: Coder
    spread: Coder
    quality: Coder


class Rows(NamedTuple):
    """The values of one report: ``column`` int32[n]; ``mean`` float64[n] and ``bits`` int64[n] of the same memory,
    ``spread`` int64[n] (see edgetwin.codec.spreads), ``quality`` uint8[n]: read by the encoder, written by the decoder.
    ``model`` float64[n]: scratch. The encoder's ``mean`` is replaced by what the decoder finds."""

    column: Array
    mean: Array
    bits: Array
    spread: Array
    quality: Array
    model: Array


@kernel
def open_stream(coder: Coder, data: Array, decoding: bool) -> None:
    """Begin the bits of a frame in ``data`` uint8[n]."""
    begin(pointers(coder), pointer(data), data.shape[0], decoding)


@kernel
def close_stream(coder: Coder, data: Array) -> int:
    """End the encoder's bits; returns their bytes, -1 when ``data`` was too short."""
    n = finish(pointers(coder), pointer(data))
    return -1 if coder.range[SHORT] else n


@kernel
def code_report(
    t_ns: int,
    rows: Rows,
    columns: Columns,
    coefficients: Array,
    spread_law: Law,
    coders: Coders,
    data: Array,
    candidate: Array,
    decoding: bool,
) -> bool:
    """Code one report, or find it. False when the data is too short (encoder) or damaged (decoder).

    coefficients float64[m]; spread_law: the law of all deviations; candidate int64[CANDIDATES]: scratch.
    """
    n = rows.column.shape[0]
    _foresee(t_ns, rows, columns, coefficients)
    share = coders.mean
    spread = Coder(coders.spread.tables, coders.spread.weights, share.context, share.range, *_common(coders.spread))
    quality = Coder(coders.quality.tables, coders.quality.weights, share.context, share.range, *_common(coders.quality))
    means, spreads, qualities = pointers(share), pointers(spread), pointers(quality)
    out, tried = pointer(data), pointer(candidate)
    mean, bits, model, spread_q = pointer(rows.mean), pointer(rows.bits), pointer(rows.model), pointer(rows.spread)
    law, real, whole, steps = (
        pointer(columns.law),
        pointer(columns.real),
        pointer(columns.whole),
        pointer(columns.steps),
    )
    spread_whole, spread_real = pointer(columns.spread), pointer(columns.spreads)
    wide, wide_real = pointer(spread_law.whole), pointer(spread_law.real)
    for k in range(n):
        c = rows.column[k]
        own = Law(offset(law, c * LAW_WHOLE), offset(real, c * LAW_REAL))
        state = offset(whole, c * WHOLE)
        exact = at(own.whole, 0) != LATTICE
        if exact and not decoding:
            rows.bits[k] = _ordered(at(bits, k))
        escapes = code_run(
            1, offset(mean, k), offset(bits, k), offset(model, k), True, decoding, own, state,
            offset(steps, c * REAL), means, out, tried,
        )  # fmt: skip
        if exact:
            rows.bits[k] = _ordered(at(bits, k))
        elif not decoding and escapes == 0:
            rows.mean[k] = place(at(state, Q1), own)
        columns.mean[c] = rows.mean[k]
        columns.t_ns[c] = t_ns
        wide[LAW_WHOLE - 1] = c
        code_run(
            1, offset(mean, k), offset(spread_q, k), offset(model, k), False, decoding, Law(wide, wide_real),
            offset(spread_whole, c * WHOLE), offset(spread_real, c * REAL), spreads, out, tried,
        )  # fmt: skip
        if at(means.range, SHORT):
            return False
    _qualities(rows, columns, decoding, qualities, out)
    return at(means.range, SHORT) == 0


@inlined
def _ordered(bits: int) -> int:
    """The bits of a double as an integer in the order of the doubles; its own reverse."""
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


@inlined
def _common(coder: Coder) -> tuple[Array, Array, Array]:
    return coder.scratch, coder.curves, coder.bits


@inlined
def ahead(own: float, step: float, coefficients: Array, means: Array, size: int) -> float:
    """Where a state that was ``own`` will be, on a lattice of ``step``, by b, D_0 ... and the means of the group."""
    change = coefficients[0]
    for j in range(size):
        change += coefficients[1 + j] * means[j]
    return float((own + change) / step)


@inlined
def _foresee(t_ns: int, rows: Rows, columns: Columns, coefficients: Array) -> None:
    """The model's prediction of each row on the lattice of its column; NaN where there is none."""
    link, law, told = pointer(columns.link), pointer(columns.law), pointer(columns.t_ns)
    for k in range(rows.column.shape[0]):
        c = rows.column[k]
        rows.model[k] = math.nan
        first, size = at(link, c * LINK + GROUP), at(link, c * LINK + SIZE)
        if size == 0 or at(law, c * LAW_WHOLE) != LATTICE:
            continue
        at_once = True
        for j in range(first, first + size):
            at_once = at_once and at(told, j) + at(link, c * LINK + INTERVAL) == t_ns
        if not at_once:
            continue
        row = offset(pointer(coefficients), at(link, c * LINK + COEFFICIENTS))
        together = offset(pointer(columns.mean), first)
        rows.model[k] = ahead(columns.mean[c], columns.real[c, STEP], row, together, size)


@inlined
def _qualities(rows: Rows, columns: Columns, decoding: bool, coder: Coder, data: Array) -> None:
    """One decision when every quality is that of the column's last report; else one each, and two bits if it is not."""
    n = rows.column.shape[0]
    alike = 1
    if not decoding:
        for k in range(n):
            if rows.quality[k] != columns.quality[rows.column[k]]:
                alike = 0
    c = coder.context
    for i in range(INPUTS):
        c[i] = 0
    alike = decide(alike, decoding, _ALIKE, 0, coder, data)
    before = 0
    for k in range(n):
        last = columns.quality[rows.column[k]]
        if alike:
            rows.quality[k] = last
            continue
        for i in range(INPUTS):
            c[i] = 0
        c[0], c[1], c[2], c[3] = before, before * 4 + last, last, rows.column[k]
        changed = 0 if decoding else (1 if rows.quality[k] != last else 0)
        before = decide(changed, decoding, _CHANGED, 1, coder, data)
        found = last
        if before:
            found = raw(at(pointer(rows.quality), k), _QUALITY_BITS, decoding, coder, data)
        rows.quality[k] = found
        columns.quality[rows.column[k]] = found
