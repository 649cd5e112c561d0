"""Generate the ensemble kernel of a user's equations; see :mod:`edgetwin.model.ensemble` for what it does.

Needs SymPy; used when compiling only. Sub-steps h are chosen as the filter's time update chooses them, at most
``limit`` of them a segment. Over each, half of the noise increment sqrt(q h) ε enters before the fourth-order
Runge-Kutta step and half after it: Euler-Maruyama made symmetric, whose covariance differs from the exact one by terms
of order (J h)² only. A discrete model takes one update for each segment, with independent halves, as its filter has it.
Bounds are kept after every part of a step.
Source: Kloeden and Platen, "Numerical Solution of Stochastic Differential Equations" (1992), ch. 10.
"""

from __future__ import annotations

from typing import Any

import sympy

from edgetwin.config.equations import STEP, EquationModel
from edgetwin.model.ensemble_linear import HEADER, SIGNATURE, draw, load, lose, save, write
from edgetwin.model.equation_symbols import clamp
from edgetwin.model.symbolic import derivative, statements, to_sympy
from edgetwin.model.unrolled import Writer


class _Generator:
    """``skipped`` are measurements that need no column."""

    def __init__(self, model: EquationModel, skipped: tuple[str, ...]) -> None:
        self.model = model
        self.n = model.size
        self.states = [f"x{i}" for i in range(self.n)]
        self.inputs = [f"i{k}" for k in range(len(model.inputs))]
        self.parameters = [f"p{k}" for k in range(len(model.parameters))]
        self.locals = [*self.states, *self.inputs, *self.parameters]
        self.symbols = {name: sympy.Symbol(name, real=True) for name in [*self.locals, STEP]}
        named = dict(zip([*model.states, *model.inputs, *model.parameters], self.locals, strict=True))
        table = {name: self.symbols[local] for name, local in named.items()} | {STEP: self.symbols[STEP]}
        self.dynamics = [to_sympy(e, table) for e in model.dynamics]
        self.measured = {n: to_sympy(e, table) for n, e in model.measurements.items() if n not in skipped}
        self.noisy = [i for i, q in enumerate(model.process_noise) if q > 0]

    def source(self) -> str:
        w = Writer()
        w(*HEADER.format(name=self.model.name).splitlines())
        step = [] if self.model.continuous else [STEP]
        self.function(w, "flow", step, [(f"v{i}", f) for i, f in enumerate(self.dynamics)])
        if self.model.continuous:
            self.rate(w)
        if self.measured:
            self.function(w, "measure", [], [(f"z{k}", h) for k, h in enumerate(self.measured.values())])
        w("", "", "@kernel")
        with w.block(SIGNATURE), w.block("for m in range(first, last):"):
            self.member(w)
        return "\n".join(w.lines) + "\n"

    def function(self, w: Writer, name: str, more: list[str], outputs: list[tuple[str, Any]]) -> None:
        w("", "", "@kernel")
        with w.block(f"def {name}({', '.join([*self.locals, *more])}):"):
            w(*statements(outputs, "c"))
            w(f"return ({', '.join(output for output, _ in outputs)},)")

    def rate(self, w: Writer) -> None:
        """Greatest row sum of |J|, the states measured in their initial standard deviations."""
        scale, x, sums = self.model.stds, [self.symbols[name] for name in self.states], []
        entries: list[tuple[str, Any]] = []
        for i, f in enumerate(self.dynamics):
            row = [(f"j{i}_{j}", derivative(f, x[j]) * (scale[j] / scale[i])) for j in range(self.n)]
            kept = [(name, entry) for name, entry in row if entry != 0]
            entries += kept
            sums += [" + ".join(f"abs({name})" for name, _ in kept)] if kept else []
        w("", "", "@kernel")
        with w.block(f"def rate({', '.join(self.locals)}):"):
            w(*statements(entries, "c"))
            w("fastest = 0.0")
            for text in sums:
                w(f"total = {text}", "fastest = fastest if total <= fastest else total")
            w("return fastest")

    def arguments(self, states: list[str]) -> str:
        return ", ".join([*states, *self.inputs, *self.parameters])

    # ---- one member

    def member(self, w: Writer) -> None:
        load(w, self.n)
        width = len(self.parameters)
        w(*(f"{name} = parameters[m, {k}]" for k, name in enumerate(self.parameters)))
        w(*(f"sigma{i} = math.sqrt(parameters[m, {width + i}])" for i in self.noisy))
        w("noise = " + (" + ".join(f"sigma{i}" for i in self.noisy) or "0.0") + " > 0.0")
        with w.block("for s in range(width.shape[0]):"):
            with w.block("if lot >= 0 and width[s] > 0.0:"):
                if self.model.continuous:
                    self.integrate(w)
                else:
                    self.update(w)
            with w.block("if record[s] >= 0:"):
                if self.measured:
                    w(*(f"{name} = end[s, {k}]" for k, name in enumerate(self.inputs)))
                    names = [f"z{k}" for k in range(len(self.measured))]
                    w(f"({', '.join(names)},) = measure({self.arguments(self.states)})")
                write(w, self.n, [f"z{k}" for k in range(len(self.measured))])
        save(w, self.n)

    def integrate(self, w: Writer) -> None:
        """All sub-steps of one segment."""
        w("remaining, left, short = width[s], limit, 0")
        w(*(f"slope{k} = (end[s, {k}] - start[s, {k}]) / remaining" for k in range(len(self.inputs))))
        with w.block("while True:"):
            w("since = width[s] - remaining")
            self.set_inputs(w, "since")
            w(f"parts = STEP_RATE * rate({self.arguments(self.states)}) * remaining", "dt = remaining")
            with w.block("if not (parts < left):"):
                w("dt = remaining / left", "short = 1")
            with w.block("elif parts >= 1.0:"):
                w("dt = remaining / (math.floor(parts) + 1.0)")
            w("share = 0.5 * math.sqrt(dt)")
            self.draw(w)
            clamp(w, self.model)
            self.runge_kutta(w)
            w(*(f"x{i} = x{i} + e{i}" for i in self.noisy))
            lose(w, self.n)
            clamp(w, self.model)
            with w.block("if lot < 0 or left <= 1 or dt >= remaining:"):
                w("break")
            w("remaining, left = remaining - dt, left - 1")
        with w.block("if lot >= 0:"):
            w("lot += short")

    def update(self, w: Writer) -> None:
        """One segment of a discrete model."""
        w("dt = width[s]", "share = math.sqrt(0.5 * dt)")
        w(*(f"{name} = start[s, {k}]" for k, name in enumerate(self.inputs)))
        self.draw(w)
        clamp(w, self.model)
        names = ", ".join(f"v{i}" for i in range(self.n))
        w(f"({names},) = flow({self.arguments(self.states)}, {STEP})")
        w(*(f"x{i} = v{i}" for i in range(self.n)))
        self.draw(w)
        lose(w, self.n)
        clamp(w, self.model)

    def draw(self, w: Writer) -> None:
        """Noise increments e of this step, added to the states."""
        if not self.noisy:
            return
        w(*(f"e{i} = 0.0" for i in self.noisy))
        with w.block("if noise:"):
            draw(w, len(self.noisy))
            w(*(f"e{i} = share * sigma{i} * g{k}" for k, i in enumerate(self.noisy)))
            w(*(f"x{i} = x{i} + e{i}" for i in self.noisy))

    def set_inputs(self, w: Writer, since: str) -> None:
        w(*(f"i{k} = start[s, {k}] + slope{k} * ({since})" for k in range(len(self.inputs))))

    def runge_kutta(self, w: Writer) -> None:
        for stage in range(1, 5):
            states = self.states if stage == 1 else [f"y{i}" for i in range(self.n)]
            names = ", ".join(f"v{i}_{stage}" for i in range(self.n))
            w(f"({names},) = flow({self.arguments(states)})")
            if stage < 4:
                step = "0.5 * dt" if stage < 3 else "dt"
                w(*(f"y{i} = x{i} + {step} * v{i}_{stage}" for i in range(self.n)))
            if stage in (1, 3):
                self.set_inputs(w, f"since + {'0.5 * dt' if stage == 1 else 'dt'}")
        w("sixth = dt / 6.0")
        w(*(f"x{i} = x{i} + sixth * (v{i}_1 + 2.0 * (v{i}_2 + v{i}_3) + v{i}_4)" for i in range(self.n)))


def generate_equation_ensemble(model: EquationModel, skipped: tuple[str, ...]) -> str:
    """Source text of a module with ``ensemble`` for ``model``; ``skipped`` measurements get no column of ``out``."""
    return _Generator(model, skipped).source()
