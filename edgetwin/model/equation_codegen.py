"""Generate the filter of a user's equations, as readable source. Needs SymPy; used when compiling only.

One kernel, ``accept``, judges and fuses a sample: it brings the row's state into locals, takes them over the time since
the last sample (:mod:`equation_time`, :mod:`equation_exact` or :mod:`equation_unscented`), fuses the measurement
(:mod:`equation_fusion`) and writes them back. What is not finite starts again from the initial values.
"""

from __future__ import annotations

from collections.abc import Callable

from edgetwin.config.equations import EquationModel
from edgetwin.model.equation_exact import ExactStep
from edgetwin.model.equation_fusion import Fusion
from edgetwin.model.equation_layout import CHANNEL, channels_start, equation_row_dtype
from edgetwin.model.equation_symbols import Symbols
from edgetwin.model.equation_time import DiscreteStep, ExtendedSteps, TimeUpdate
from edgetwin.model.equation_unscented import UnscentedDiscreteStep, UnscentedSteps
from edgetwin.model.layout import state_fields, upper
from edgetwin.model.ordering import update_source
from edgetwin.model.unrolled import Writer, upper_name

_HEADER = '''"""{kind} Kalman filter of the model {name}. Generated; edits are overwritten."""

import math

from edgetwin.kernels.jit import absorbed, kernel
from edgetwin.kernels.memory import block, copy_row, prefetch
from edgetwin.model.equation_layout import CHANNEL

FUSED, LATE_FUSED, GATED, DUPLICATE, LATE_DROPPED, OUT_OF_RANGE, INVALID = range(7)
VALUE_MAX = 1e100
STEPS_MAX, POINT_STEPS_MAX = 10_000, 16
STEP_RATE = 5.0  # sub-steps per time constant
SHORT = 0.02  # of a time constant: what the midpoint rule may take at once
CHANNELS, MEASUREMENTS = {channels}, {measurements}
FIRST = {first}  # byte of a row at which its channels start
'''


class _Generator:
    def __init__(self, model: EquationModel) -> None:
        self.model = model
        self.n = model.size
        self.symbols = Symbols(model)
        self.fields = state_fields(self.n)
        self.time = _time_update(self.symbols)
        self.held = self.time.held
        self.fusion = Fusion(self.symbols, self.time.algebra(set(), []), self.fields)
        self.first = channels_start(equation_row_dtype(model))

    def source(self) -> str:
        w = Writer()
        kind = "Unscented" if self.model.filter == "ukf" else "Extended"
        numbers = {"channels": len(self.model.channels), "measurements": len(self.model.measurements)}
        w(*_HEADER.format(kind=kind, name=self.model.name, first=self.first, **numbers).splitlines(), "", "")
        self.time.functions(w)
        self.fusion.functions(w)
        parts: list[Callable[[Writer], None]] = [self.widen, self.restart, self.accept]
        for part in parts:
            w("@absorbed" if part == self.accept else "@kernel")
            part(w)
            w("", "")
        update = update_source(min(self.first, 512), (self.first, CHANNEL.itemsize))
        w(*update.strip().splitlines(), "", "", "@kernel")
        self.predict(w)
        return "\n".join(w.lines) + "\n"

    # ---- rows

    def load(self, w: Writer, fields: list[str]) -> None:
        w(*(f'{f} = row["{f}"]' for f in fields))

    def finite(self) -> str:
        """Whether all locals are finite: sums with an infinity or a NaN are not."""
        return f"math.isfinite({' + '.join(self.fields)})"

    def widen(self, w: Writer) -> None:
        with w.block("def widen(row):"):
            w('"""Forget what the filter believes of its accuracy."""')
            w(*(f'row["d{i}"] = row["d0_{i}"]' for i in range(self.n)))
            w(*(f'row["{upper_name(i, j)}"] = 0.0' for i, j in upper(self.n)))
            w('row["resets"] += 1', 'row["updates"] = 0', 'row["nis_mean"] = 1.0')

    def restart(self, w: Writer) -> None:
        with w.block("def restart(row):"):
            w('"""Begin again from the initial values: the filter has diverged."""')
            w(*(f'row["x{i}"] = row["x0_{i}"]' for i in range(self.n)), "widen(row)")

    # ---- samples

    def accept(self, w: Writer) -> None:
        with w.block("def accept(row, channel, raw, t, t_max):"):
            w('"""Judge one sample, fuse it if it may be fused, and return its outcome."""')
            with w.block("if not (abs(raw) < VALUE_MAX) or not (t >= 0 and t <= t_max):"):
                w("return INVALID")
            w("own = block(row, FIRST, channel, CHANNEL)", 'z = own["scale"] * raw + own["offset"]')
            self.judge(w)
            w('own["seen_of"] = 1', 'own["t_seen"] = t', 'own["z"] = z')
            self.load(w, [*self.fields, *self.held])
            with w.block("if age < 0:"):
                self.advance(w)
            if self.model.inputs:
                with w.block("if channel >= MEASUREMENTS:"):
                    for k in range(len(self.model.inputs)):
                        with w.block(f"{'el' if k else ''}if channel == MEASUREMENTS + {k}:"):
                            w(f'row["i{k}"] = z')
                with w.block("else:"):
                    self.fusion.write(w)
            else:
                self.fusion.write(w)
            w('own["fused_of"] += 1', 'row["updates"] += 1', 'row["fused"] += 1')
            w(*(f'row["{f}"] = {f}' for f in self.fields))
            with w.block(f"if not {self.finite()}:"):
                w("restart(row)")
            w("return FUSED")

    def judge(self, w: Writer) -> None:
        with w.block('if not (z >= own["lo"] and z <= own["hi"]):'):
            w("return OUT_OF_RANGE")
        with w.block('if own["seen_of"] != 0 and t == own["t_seen"] and z == own["z"]:'):
            w("return DUPLICATE")
        with w.block('if row["t"] == 0 and row["updates"] == 0:'):
            w('row["t"] = t')
        w('age = row["t"] - t')
        with w.block("if age > 0:"):
            w("return LATE_DROPPED")

    def advance(self, w: Writer) -> None:
        """The locals to the time of the sample."""
        w("dt = -1e-9 * age", 'mean = row["dt_mean"]', 'row["t"] = t')
        w('row["dt_mean"] = mean + 0.05 * (dt - mean) if mean > 0.0 else dt')
        self.time.step(w, keep=True)
        with w.block(f"if not {self.finite()}:"):
            w("restart(row)")
            self.load(w, self.fields)

    # ---- forecasts

    def predict(self, w: Writer) -> None:
        with w.block("def predict(rows, index, t_ns, mean, variance):"):
            w(
                '"""Means and variances of the rows ``index`` int64[m] at ``t_ns``, into float64[m, states].',
                "",
                "Inputs are held. A row newer than ``t_ns`` is given at its own time; one without a sample, or that",
                "diverges on the way, is NaN.",
                '"""',
            )
            with w.block("for k in range(index.shape[0]):"):
                w("row = rows[index[k]]", 'dt = 1e-9 * max(t_ns - row["t"], 0)')
                self.load(w, [*self.fields, *self.held])
                with w.block("if dt > 0.0:"):
                    self.time.step(w, keep=False)
                with w.block(f'if row["updates"] == 0 or not {self.finite()}:'):
                    w(*(f"mean[k, {i}] = math.nan" for i in range(self.n)))
                    w(*(f"variance[k, {i}] = math.nan" for i in range(self.n)), "continue")
                for i in range(self.n):
                    parts = [f"d{i}", *(f"{upper_name(i, j)} ** 2 * d{j}" for j in range(i + 1, self.n))]
                    w(f"mean[k, {i}] = x{i}", f"variance[k, {i}] = {' + '.join(parts)}")


def _time_update(symbols: Symbols) -> TimeUpdate:
    unscented = symbols.model.filter == "ukf"
    if symbols.linear is not None:
        return ExactStep(symbols, symbols.linear)  # of which the unscented transform is exact too
    if symbols.model.continuous:
        return UnscentedSteps(symbols) if unscented else ExtendedSteps(symbols)
    return UnscentedDiscreteStep(symbols) if unscented else DiscreteStep(symbols)


def generate_equations(model: EquationModel) -> str:
    """Source text of a module with ``update`` and ``predict`` for ``model``."""
    return _Generator(model).source()
