"""Generate the specialised filter kernels of a linear model, as readable source.

Two functions come out, every matrix operation unrolled and structural zeros left out:

``update(rows, slot_bank, slot_place, bank, slot, t_ns, value, t_max, source, counts, history)``
    fuses a batch. Time update by Thornton's modified weighted Gram-Schmidt, measurement update by Bierman's scalar
    algorithm, both on P = U D Uᵀ, so the covariance is symmetric and non-negative by construction (Bierman,
    "Factorization Methods for Discrete Sequential Estimation", 1977, ch. V and VII).
``predict(rows, index, t_ns, mean, variance)``
    extrapolates rows to an instant without changing them.
"""

from __future__ import annotations

from edgetwin.model.layout import state_fields, upper
from edgetwin.model.ordering import UPDATE_SOURCE
from edgetwin.model.spec import LinearModel
from edgetwin.model.structural import structural_source
from edgetwin.model.unrolled import Unrolled, Writer, add, times, upper_name

_HEADER = '''"""Filter kernels of the model {name}. Generated; edits are overwritten."""

import math

from edgetwin.kernels.integrals import ramp, ramp_square
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.learning import WARMUP, noise_floor, ratio_factor, scale_factor
from edgetwin.kernels.memory import copy_row, prefetch

FUSED, LATE_FUSED, GATED, DUPLICATE, LATE_DROPPED, OUT_OF_RANGE, INVALID = range(7)
VALUE_MAX = 1e100
CHANNELS = 1
FROZEN, FREEZE_AFTER = 4, 256
'''


def _load(w: Writer, model: LinearModel) -> None:
    w(*(f'{f} = row["{f}"]' for f in [*state_fields(model.size), "r", "q"]))
    text = " ".join([*model.prelude, *model.transition.values(), *(c.variance for c in model.noise)])
    w(*(f'{f} = row["{f}"]' for f in ("tau", "dt_mean") if f in text))


def _store(w: Writer, n: int) -> None:
    w(*(f'row["{f}"] = {f}' for f in state_fields(n)))


def _restart(w: Writer, model: LinearModel) -> None:
    """Start (again) from one measurement: x = (z, 0, ...), P = diag(r, spread² r, ...)."""
    n = model.size
    with w.block("def restart(row, z, t):"):
        w('r = row["r"]')
        with w.block('if row["learn"] & 1 and row["updates"] == 0 and row["resets"] == 0:'):
            w(
                "guess = 1e-3 * abs(z)",
                'r = max(guess * guess, noise_floor(abs(z), row["quantum"]))',
                'row["r"] = r',
            )
            with w.block('if row["learn"] & 2:'):
                w('row["q"] = 0.1 * r')
        with w.block('elif row["learn"] & 3 == 2 and row["updates"] == 0 and row["resets"] == 0:'):
            w('row["q"] = 0.1 * r')
        w('spread = row["spread"]')
        w('row["x0"] = z', 'row["d0"] = r')
        for i in range(1, n):
            order = model.derivative[i]
            value = "r" + " * spread * spread" * max(order, 1)
            start = "0.0" if order else "z"
            w(f'row["x{i}"] = {start}', f'row["d{i}"] = {value}')
        for i, j in upper(n):
            w(f'row["{upper_name(i, j)}"] = 0.0')
        w(
            'row["t"] = t',
            'row["updates"] = 1',
            'row["rejects"] = 0',
            'row["nis_mean"] = 1.0',
            'row["y_prev"] = 0.0',
        )
        w('row["nis"] = 0.0', 'row["y"] = 0.0', 'row["s"] = r')
    w("", "")


def _fuse(w: Writer, model: LinearModel) -> None:
    """In-order fusion of one sample into one row."""
    a = Unrolled(model)
    h: list[str | None] = ["1.0", *[None] * (model.size - 1)]
    with w.block("def fuse(row, z, t, dt):"):
        w('updates = row["updates"]', 'learn = row["learn"]')
        _load(w, model)
        with w.block("if dt > 0.0:"):
            w('mean = row["dt_mean"]', 'row["dt_mean"] = mean + 0.05 * (dt - mean) if mean > 0.0 else dt')
            a.prelude(w)
            a.state(w)
            a.gram_schmidt(w, a.weights(w))
        g = a.projections(w, h)
        a.innovation_variance(w, g)
        w("y = z - x0", "nis = y * y / s", 'row["nis"] = nis', 'row["y"] = y', 'row["s"] = s')
        w('learning = learn & 3 != 0 and not (learn & FROZEN and row["fused"] >= FREEZE_AFTER)')
        w("settled = not learning or updates >= WARMUP")
        with w.block('if settled and not (nis <= row["gate"]):'):
            w("return GATED")
        a.bierman(w, g)
        with w.block("if learning:"):
            w("y_norm = y / math.sqrt(s)")
            with w.block("if learn & 2 and updates > 1:"):
                w('q = q * ratio_factor(y_norm, row["y_prev"], updates)')
            with w.block("if learn & 1:"):
                w("scale = scale_factor(nis, updates)", 'floor = noise_floor(abs(x0), row["quantum"])')
                with w.block("if r * scale < floor:"):
                    w("scale = floor / r")
                w("r = r * scale", 'row["r"] = r')
                with w.block("if learn & 2:"):
                    w("q = q * scale", *(f"d{i} = d{i} * scale" for i in range(model.size)))
            with w.block("if learn & 2:"):
                w("q = min(max(q, 1e-12 * r), 1e12 * r)", 'row["q"] = q')
            w('row["y_prev"] = y_norm')
        with w.block("if settled:"):
            w('row["nis_mean"] = row["nis_mean"] + 0.05 * (nis - row["nis_mean"])')
        with w.block(f"if not math.isfinite({' + '.join(f'x{i} + d{i}' for i in range(model.size))}):"):
            w('row["resets"] += 1', "restart(row, z, t)", "return FUSED")
        _store(w, model.size)
        w('row["t"] = t', 'row["updates"] = updates + 1', 'row["rejects"] = 0', "return FUSED")
    w("", "")


_ACCEPT = '''
@kernel
def accept(row, channel, raw, t, t_max):
    """Judge one sample, fuse it if it may be fused, and return its outcome."""
    if not (abs(raw) < VALUE_MAX):
        return INVALID
    z = row["scale"] * raw + row["offset"]
    if not (t >= 0 and t <= t_max):
        return INVALID
    if not (z >= row["lo"] and z <= row["hi"]):
        return OUT_OF_RANGE
    if row["updates"] == 0:
        row["t_seen"] = t
        row["z"] = z
        restart(row, z, t)
        row["fused"] += 1
        return FUSED
    if t == row["t_seen"] and z == row["z"]:
        return DUPLICATE
    age = row["t"] - t
    if age > 0:
        return LATE_DROPPED
    first_change = False
    if row["learn"] & 1:
        change = abs(z - row["z"])
        if change > 0.0 and not (row["quantum"] <= change and row["quantum"] > 0.0):
            first_change = row["quantum"] == 0.0 and row["updates"] >= WARMUP
            row["quantum"] = change
    row["t_seen"] = t
    row["z"] = z
    if first_change:
        # A signal that had never moved has taught nothing about its noise: begin again from here.
        row["r"] = max(row["r"], noise_floor(abs(z), row["quantum"]))
        if row["learn"] & 2:
            row["q"] = 0.1 * row["r"]
        row["resets"] += 1
        restart(row, z, t)
        row["fused"] += 1
        return FUSED
    outcome = fuse(row, z, t, 1e-9 * -age)
    if outcome == FUSED:
        row["fused"] += 1
        return FUSED
    row["gated"] += 1
    row["rejects"] += 1
    if row["rejects"] >= row["reject_max"]:
        row["resets"] += 1
        y, s, nis = row["y"], row["s"], row["nis"]
        restart(row, z, t)
        row["y"], row["s"], row["nis"] = y, s, nis  # the innovation that made it restart is still the last one
    return GATED

'''


def _predict(w: Writer, model: LinearModel) -> None:
    a = Unrolled(model)
    w("", "", "@kernel")
    with w.block("def predict(rows, index, t_ns, mean, variance):"):
        w(
            '"""Means and variances of the rows ``index`` int64[m] at ``t_ns``, into float64[m, states].',
            "",
            "A row newer than ``t_ns`` is given at its own time; a row without a sample is NaN.",
            '"""',
        )
        with w.block("for k in range(index.shape[0]):"):
            w("row = rows[index[k]]")
            with w.block('if row["updates"] == 0:'):
                w(
                    *(f"mean[k, {i}] = math.nan" for i in range(a.n)),
                    *(f"variance[k, {i}] = math.nan" for i in range(a.n)),
                )
                w("continue")
            w('dt = 1e-9 * max(t_ns - row["t"], 0)')
            _load(w, model)
            a.prelude(w)
            a.state(w)
            names = a.weights(w)
            for i in range(a.n):
                terms = [times(names.get((i, k)), names.get((i, k)), a.variance_name(k)) for k in range(a.columns)]
                w(f"mean[k, {i}] = x{i}", f"variance[k, {i}] = {add(terms)}")


def generate(model: LinearModel) -> str:
    """Source text of a module with ``update`` and ``predict`` for ``model``."""
    if model.structural:
        return structural_source(model.name, _ACCEPT)
    w = Writer()
    w(*_HEADER.format(name=model.name).splitlines(), "", "")
    for part in (_restart, _fuse):
        w("@kernel")
        part(w, model)
    w(*_ACCEPT.strip().splitlines(), "", "", *UPDATE_SOURCE.strip().splitlines())
    _predict(w, model)
    return "\n".join(w.lines) + "\n"
