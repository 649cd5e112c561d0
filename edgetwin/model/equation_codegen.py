"""Generate the extended Kalman filter of a user's equations, as readable source. Needs SymPy; used when compiling only.

Time update: fourth-order Runge-Kutta of the state together with its variational equation (the transition matrix), in
sub-steps chosen anew from the Jacobian at the start of each, so that ``h * max-row-sum |J|`` is at most 0.2, the states
measured in their initial standard deviations (which makes the choice independent of units). Process noise enters by the
trapezoidal rule over each sub-step; then Thornton's factor update. Measurement update: Bierman, one scalar at a time,
with analytic Jacobians. What is not finite afterwards starts again from the initial values.
Sources: Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.1; Bierman (1977), ch. V and VII.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import sympy

from edgetwin.config.equations import STEP, EquationModel
from edgetwin.model.layout import upper
from edgetwin.model.ordering import UPDATE_SOURCE
from edgetwin.model.spec import LinearModel, NoiseColumn
from edgetwin.model.symbolic import derivative, statements, to_sympy
from edgetwin.model.unrolled import Unrolled, Writer, add, times, upper_name

_HEADER = '''"""Extended Kalman filter of the model {name}. Generated; edits are overwritten."""

import math

from edgetwin.kernels.jit import kernel

FUSED, LATE_FUSED, GATED, DUPLICATE, LATE_DROPPED, OUT_OF_RANGE, INVALID = range(7)
VALUE_MAX = 1e100
STEPS_MAX = 10_000
STEP_RATE = 5.0  # sub-steps per time constant
CHANNELS = {channels}
'''

_ACCEPT = '''
@kernel
def accept(row, channel, raw, t, t_max):
    """Judge one sample, fuse it if it may be fused, and return its outcome."""
    if not (abs(raw) < VALUE_MAX):
        return INVALID
    if not (t >= 0 and t <= t_max):
        return INVALID
    outcome = dispatch(row, channel, raw, t)
    if outcome == FUSED:
        row["fused"] += 1
    elif outcome == GATED:
        row["gated"] += 1
    return outcome

'''


class _Symbols:
    """The model's expressions over symbols named as the locals of the generated code."""

    def __init__(self, model: EquationModel) -> None:
        self.x = [sympy.Symbol(f"x{i}", real=True) for i in range(model.size)]
        self.i = [sympy.Symbol(f"i{k}", real=True) for k in range(len(model.inputs))]
        self.p = [sympy.Symbol(f"p{k}", real=True) for k in range(len(model.parameters))]
        names = [*model.states, *model.inputs, *model.parameters]
        table = dict(zip(names, [*self.x, *self.i, *self.p], strict=True)) | {STEP: sympy.Symbol(STEP, real=True)}
        self.dynamics = [to_sympy(e, table) for e in model.dynamics]
        self.jacobian = [[derivative(f, x) for x in self.x] for f in self.dynamics]
        self.measurements = [to_sympy(e, table) for e in model.measurements.values()]
        self.gradients = [[derivative(h, x) for x in self.x] for h in self.measurements]
        self.arguments = ", ".join(str(s) for s in [*self.x, *self.i, *self.p])

    def pattern(self) -> set[tuple[int, int]]:
        """Non-zero entries of the Jacobian."""
        n = len(self.x)
        return {(i, j) for i in range(n) for j in range(n) if self.jacobian[i][j] != 0}


class _Generator:
    def __init__(self, model: EquationModel) -> None:
        self.model = model
        self.n = model.size
        self.symbols = _Symbols(model)
        self.entries = sorted(self.symbols.pattern())
        closed = _closure(set(self.entries), self.n) if model.continuous else _with_diagonal(self.entries, self.n)
        self.algebra = Unrolled(_as_linear(model, closed))
        self.closed = closed

    def source(self) -> str:
        w = Writer()
        w(*_HEADER.format(name=self.model.name, channels=len(self.model.channels)).splitlines(), "", "")
        parts: list[Callable[[Writer], None]] = [self.field, self.propagate, self.widen, self.restart, self.is_finite]
        parts += [partial(self.measure, c=c) for c in range(len(self.model.measurements))]
        parts += [partial(self.take, c=c) for c in range(len(self.model.channels))]
        parts += [self.dispatch]
        for part in parts:
            w("@kernel")
            part(w)
            w("", "")
        w(*_ACCEPT.strip().splitlines(), "", "", *UPDATE_SOURCE.strip().splitlines())
        self.predict(w)
        return "\n".join(w.lines) + "\n"

    # ---- equations

    def field(self, w: Writer) -> None:
        """Dynamics and the non-zero entries of their Jacobian."""
        s = self.symbols
        outputs = [(f"v{i}", f) for i, f in enumerate(s.dynamics)]
        outputs += [(f"j{i}_{j}", s.jacobian[i][j]) for i, j in self.entries]
        step = "" if self.model.continuous else f", {STEP}"
        with w.block(f"def field({s.arguments}{step}):"):
            w(*statements(outputs, "c"))
            w(f"return ({', '.join(name for name, _ in outputs)},)")

    def measure(self, w: Writer, c: int) -> None:
        """Measurement c and the entries of its gradient that are not constant."""
        h = self.symbols.measurements[c]
        outputs = [("z", h)] + [(f"h{j}", entry) for j, entry in enumerate(self.symbols.gradients[c])]
        kept = outputs[:1] + [(name, e) for name, e in outputs[1:] if not e.is_number]
        with w.block(f"def measure_{c}({self.symbols.arguments}):"):
            w(*statements(kept, "c"))
            w(f"return ({', '.join(name for name, _ in kept)},)")

    def call_field(self, w: Writer, states: list[str], suffix: str) -> None:
        arguments = ", ".join([*states, *(str(s) for s in [*self.symbols.i, *self.symbols.p])])
        step = "" if self.model.continuous else f", {STEP}"
        names = [f"v{i}{suffix}" for i in range(self.n)] + [f"j{i}_{j}{suffix}" for i, j in self.entries]
        w(f"({', '.join(names)},) = field({arguments}{step})")

    # ---- time

    def propagate(self, w: Writer) -> None:
        """State and factors over dt seconds."""
        with w.block("def propagate(row, dt):"):
            self.load(w)
            if self.model.continuous:
                w("remaining = dt")
                with w.block("for count in range(STEPS_MAX):"):
                    self.call_field(w, [f"x{i}" for i in range(self.n)], "_1")
                    self.sub_step(w)
                    self.runge_kutta(w)
                    self.factors(w)
                    with w.block("if h >= remaining:"):
                        w("break")
                    w("remaining = remaining - h")
            else:
                self.call_field(w, [f"x{i}" for i in range(self.n)], "")
                w(
                    "h = dt",
                    *(f"f{i}_{j} = {f'j{i}_{j}' if (i, j) in self.entries else '0.0'}" for i, j in sorted(self.closed)),
                    *(f"x{i} = v{i}" for i in range(self.n)),
                )
                self.factors(w)
            self.store(w)

    def sub_step(self, w: Writer) -> None:
        """h: an equal part of the time that remains, by the Jacobian of stage 1; all of it when that is not finite."""
        scale = self.model.stds
        w("rate = 0.0")
        for i in range(self.n):
            row = [times(f"abs(j{i}_{j}_1)", repr(scale[j] / scale[i])) for k, j in self.entries if k == i]
            if row:
                w(f"rate = max(rate, {add(row)})")
        w("parts = STEP_RATE * rate * remaining", "left = STEPS_MAX - count", "h = remaining")
        with w.block("if parts >= left:"):
            w("h = remaining / left")
        with w.block("elif parts >= 1.0:"):
            w("h = remaining / (math.floor(parts) + 1)")

    def runge_kutta(self, w: Writer) -> None:
        """x and F over one sub-step h; stage 1 has been evaluated."""
        n, pattern = self.n, sorted(self.closed)
        for stage in range(1, 5):
            states = [f"y{i}" for i in range(n)]
            if stage > 1:
                self.call_field(w, states, f"_{stage}")
            for i, j in pattern:
                terms = [times(f"j{i}_{k}_{stage}", self.phi(k, j, stage)) for m, k in self.entries if m == i]
                w(f"g{i}_{j}_{stage} = {add(terms) or '0.0'}")
            if stage < 4:
                step = "0.5 * h" if stage < 3 else "h"
                w(*(f"y{i} = x{i} + {step} * v{i}_{stage}" for i in range(n)))
                w(*(f"m{i}_{j} = {'1.0 + ' if i == j else ''}{step} * g{i}_{j}_{stage}" for i, j in pattern))
        w("sixth = h / 6.0")
        w(*(f"x{i} = x{i} + sixth * (v{i}_1 + 2.0 * (v{i}_2 + v{i}_3) + v{i}_4)" for i in range(n)))
        for i, j in pattern:
            g = f"g{i}_{j}"
            w(f"f{i}_{j} = {'1.0 + ' if i == j else ''}sixth * ({g}_1 + 2.0 * ({g}_2 + {g}_3) + {g}_4)")

    def phi(self, i: int, j: int, stage: int) -> str | None:
        """Entry of the transition matrix at which a stage evaluates the variational equation."""
        if stage == 1:
            return "1.0" if i == j else None
        return f"m{i}_{j}" if (i, j) in self.closed else None

    def factors(self, w: Writer) -> None:
        names = self.algebra.weights(w)
        self.algebra.gram_schmidt(w, names)
        self.clamp(w)

    def clamp(self, w: Writer) -> None:
        for i, state in enumerate(self.model.states.values()):
            if state.min is not None:
                w(f"x{i} = max(x{i}, {state.min!r})")
            if state.max is not None:
                w(f"x{i} = min(x{i}, {state.max!r})")

    def widen(self, w: Writer) -> None:
        """Forget what the filter believes of its accuracy."""
        with w.block("def widen(row):"):
            w(*(f'row["d{i}"] = row["d0_{i}"]' for i in range(self.n)))
            w(*(f'row["{upper_name(i, j)}"] = 0.0' for i, j in upper(self.n)))
            w('row["resets"] += 1', 'row["updates"] = 0', 'row["nis_mean"] = 1.0')

    def restart(self, w: Writer) -> None:
        """Begin again from the initial values: the filter has diverged."""
        with w.block("def restart(row):"):
            w(*(f'row["x{i}"] = row["x0_{i}"]' for i in range(self.n)), "widen(row)")

    def is_finite(self, w: Writer) -> None:
        with w.block("def is_finite(row):"):
            fields = [*(f"x{i}" for i in range(self.n)), *(f"d{i}" for i in range(self.n))]
            fields += [upper_name(i, j) for i, j in upper(self.n)]
            w("return math.isfinite(" + " + ".join(f'row["{f}"]' for f in fields) + ")")

    # ---- samples

    def take(self, w: Writer, c: int) -> None:
        """One sample of channel c."""
        with w.block(f"def take_{c}(row, raw, t):"):
            w(f'z = row["scale{c}"] * raw + row["offset{c}"]')
            with w.block(f'if not (z >= row["lo{c}"] and z <= row["hi{c}"]):'):
                w("return OUT_OF_RANGE")
            with w.block(f'if row["seen_of{c}"] and t == row["t_seen{c}"] and z == row["z{c}"]:'):
                w("return DUPLICATE")
            with w.block('if row["t"] == 0 and row["updates"] == 0:'):
                w('row["t"] = t')
            w('age = row["t"] - t')
            with w.block("if age > 0:"):
                w("return LATE_DROPPED")
            w(f'row["seen_of{c}"] = 1', f'row["t_seen{c}"] = t', f'row["z{c}"] = z')
            with w.block("if age < 0:"):
                w("dt = -1e-9 * age", 'mean = row["dt_mean"]')
                w('row["dt_mean"] = mean + 0.05 * (dt - mean) if mean > 0.0 else dt')
                w("propagate(row, dt)", 'row["t"] = t')
                with w.block("if not is_finite(row):"):
                    w("restart(row)")
            if c >= len(self.model.measurements):
                w(f'row["i{c - len(self.model.measurements)}"] = z', f'row["fused_of{c}"] += 1')
                w('row["updates"] += 1')
                w("return FUSED")
            else:
                self.fuse(w, c)

    def fuse(self, w: Writer, c: int) -> None:
        self.load(w)
        h = self.gradient(c)
        names = ", ".join(["zh", *(name for name in h if name is not None and name.startswith("h"))])
        w(f"({names},) = measure_{c}({self.symbols.arguments})", f'r = row["r{c}"]', "y = z - zh")
        with w.block(f'if row["learn_of{c}"] and row["fused_of{c}"] == 0:'):
            w("r = max(1e-6 * z * z, 1e-12)")
        g = self.algebra.projections(w, h)
        self.algebra.innovation_variance(w, g)
        w("nis = y * y / s")
        with w.block("if not math.isfinite(nis):"):
            w("restart(row)", f'row["gated_of{c}"] += 1', "return GATED")
        w(f'row["nis{c}"] = nis', f'row["y{c}"] = y', f'row["s{c}"] = s')
        w(f'settled = row["learn_of{c}"] == 0 or row["fused_of{c}"] >= 10')
        with w.block('if settled and not (nis <= row["gate"]):'):
            w(f'row["gated_of{c}"] += 1', f'row["rejects_of{c}"] += 1')
            w(f'row["rejects"] = max(row["rejects"], row["rejects_of{c}"])')
            with w.block(f'if row["rejects_of{c}"] < row["reject_max"]:'):
                w("return GATED")
            w("widen(row)")
            self.load(w)
            w(f"({names},) = measure_{c}({self.symbols.arguments})", "y = z - zh")
            g = self.algebra.projections(w, h)
            self.algebra.innovation_variance(w, g)
            w("nis = y * y / s")
        self.algebra.bierman(w, g)
        self.clamp(w)
        self.learn(w, c)
        with w.block("if settled:"):
            w('row["nis_mean"] = row["nis_mean"] + 0.05 * (min(nis, 1e6) - row["nis_mean"])')
        w(f'row["fused_of{c}"] += 1', f'row["rejects_of{c}"] = 0', 'row["updates"] += 1')
        w(
            "rejects = 0",
            *(f'rejects = max(rejects, row["rejects_of{k}"])' for k in range(len(self.model.measurements))),
        )
        w('row["rejects"] = rejects')
        self.store(w)
        with w.block("if not is_finite(row):"):
            w("restart(row)")
        w("return FUSED")

    def learn(self, w: Writer, c: int) -> None:
        """Measurement variance from innovations: E y² = s, of which s - r is the state's part."""
        with w.block(f'if row["learn_of{c}"]:'):
            w(f'gain = max(1.0 / (row["fused_of{c}"] + 1.0), 0.02)')
            w("seen = min(y * y, 9.0 * s) if settled else y * y")
            w(f'row["r{c}"] = max(r + gain * (max(seen - (s - r), 0.01 * r) - r), 1e-12 * z * z + 1e-24)')

    def gradient(self, c: int) -> list[str | None]:
        """Entries of the gradient: None for 0, a number, or the name that measure returns."""
        row: list[str | None] = []
        for j, entry in enumerate(self.symbols.gradients[c]):
            row.append((None if entry == 0 else repr(float(entry))) if entry.is_number else f"h{j}")
        return row

    def dispatch(self, w: Writer) -> None:
        with w.block("def dispatch(row, channel, raw, t):"):
            for c in range(len(self.model.channels)):
                with w.block(f"if channel == {c}:"):
                    w(f"return take_{c}(row, raw, t)")
            w("return INVALID")

    def predict(self, w: Writer) -> None:
        w("", "", "@kernel")
        with w.block("def predict(rows, index, t_ns, mean, variance):"):
            w(
                '"""Means and variances of the rows ``index`` int64[m] at ``t_ns``, into float64[m, states].',
                "",
                "Inputs are held. A row newer than ``t_ns`` is given at its own time; one without a sample, or that",
                "diverges on the way, is NaN.",
                '"""',
                "scratch = rows[:1].copy()",
            )
            with w.block("for k in range(index.shape[0]):"):
                w("scratch[0] = rows[index[k]]", "row = scratch[0]")
                with w.block('if row["updates"] == 0:'):
                    w(*(f"mean[k, {i}] = math.nan" for i in range(self.n)))
                    w(*(f"variance[k, {i}] = math.nan" for i in range(self.n)), "continue")
                w('dt = 1e-9 * max(t_ns - row["t"], 0)')
                with w.block("if dt > 0.0:"):
                    w("propagate(row, dt)")
                with w.block("if not is_finite(row):"):
                    w(*(f"mean[k, {i}] = math.nan" for i in range(self.n)))
                    w(*(f"variance[k, {i}] = math.nan" for i in range(self.n)), "continue")
                for i in range(self.n):
                    parts = [f'row["d{i}"]']
                    parts += [f'row["{upper_name(i, j)}"] ** 2 * row["d{j}"]' for j in range(i + 1, self.n)]
                    w(f'mean[k, {i}] = row["x{i}"]', f"variance[k, {i}] = {' + '.join(parts)}")

    # ---- rows

    def load(self, w: Writer) -> None:
        fields = [*(f"x{i}" for i in range(self.n)), *(f"d{i}" for i in range(self.n))]
        fields += [upper_name(i, j) for i, j in upper(self.n)]
        fields += [str(s) for s in [*self.symbols.i, *self.symbols.p]]
        fields += [f"q{i}" for i, q in enumerate(self.model.process_noise) if q > 0]
        w(*(f'{f} = row["{f}"]' for f in fields))

    def store(self, w: Writer) -> None:
        fields = [*(f"x{i}" for i in range(self.n)), *(f"d{i}" for i in range(self.n))]
        w(*(f'row["{f}"] = {f}' for f in [*fields, *(upper_name(i, j) for i, j in upper(self.n))]))


def generate_equations(model: EquationModel) -> str:
    """Source text of a module with ``update`` and ``predict`` for ``model``."""
    return _Generator(model).source()


def _closure(pattern: set[tuple[int, int]], n: int) -> set[tuple[int, int]]:
    """Entries of exp(J h) that may be non-zero: the reflexive transitive closure."""
    closed = _with_diagonal(pattern, n)
    while True:
        more = closed | {(i, j) for i, k in closed for m, j in closed if k == m}
        if more == closed:
            return closed
        closed = more


def _with_diagonal(entries: Iterable[tuple[int, int]], n: int) -> set[tuple[int, int]]:
    return {*entries, *((i, i) for i in range(n))}


def _as_linear(model: EquationModel, transition: set[tuple[int, int]]) -> LinearModel:
    """The sub-step as a linear model: F by its entries f{i}_{j}, noise by the trapezoidal rule (F q Fᵀ + q) h / 2."""
    noise = []
    for j, q in enumerate(model.process_noise):
        if q > 0:
            column = {i: f"f{i}_{j}" for i in range(model.size) if (i, j) in transition}
            noise.append(NoiseColumn(column, f"0.5 * h * q{j}"))
            noise.append(NoiseColumn({j: "1.0"}, f"0.5 * h * q{j}"))
    names = tuple(model.states)
    entries: dict[tuple[int, int], Any] = {(i, j): f"f{i}_{j}" for i, j in sorted(transition)}
    return LinearModel(model.name, names, (0,) * len(names), entries, tuple(noise))
