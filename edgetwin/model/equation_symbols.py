"""A user's model in symbols named as the locals of the generated code. Needs SymPy; used when compiling only."""

from __future__ import annotations

from typing import Any

import sympy

from edgetwin.config.equations import STEP, EquationModel
from edgetwin.model.structure import Linear, linear_structure
from edgetwin.model.symbolic import derivative, statements, to_sympy
from edgetwin.model.unrolled import Writer


class Symbols:
    """Expressions, Jacobian and gradients of a model.

    ``entries``: positions of the Jacobian that may be other than zero, in order. ``linear``: the structure of a model
    that is linear in its states, else None.
    """

    def __init__(self, model: EquationModel) -> None:
        self.model = model
        self.n = model.size
        self.x = [sympy.Symbol(f"x{i}", real=True) for i in range(model.size)]
        self.held = [sympy.Symbol(f"i{k}", real=True) for k in range(len(model.inputs))]
        self.held += [sympy.Symbol(f"p{k}", real=True) for k in range(len(model.parameters))]
        names = [*model.states, *model.inputs, *model.parameters]
        table = dict(zip(names, [*self.x, *self.held], strict=True)) | {STEP: sympy.Symbol(STEP, real=True)}
        self.dynamics = [to_sympy(e, table) for e in model.dynamics]
        self.jacobian = [[derivative(f, x) for x in self.x] for f in self.dynamics]
        self.measurements = [to_sympy(e, table) for e in model.measurements.values()]
        self.gradients = [[derivative(h, x) for x in self.x] for h in self.measurements]
        self.linear: Linear | None = linear_structure(model)
        places = [(i, j) for i in range(self.n) for j in range(self.n)]
        self.entries = [(i, j) for i, j in places if self.jacobian[i][j] != 0]
        self.states = [str(x) for x in self.x]
        self.fixed: list[tuple[str, Any]] = []
        if self.linear is None:
            self._lift()

    def is_curved(self, forms: list[Any]) -> bool:
        """Whether a gradient depends on the states."""
        return any(form.free_symbols & set(self.x) for form in forms)

    def function(
        self, w: Writer, name: str, outputs: list[tuple[str, Any]], arguments: list[str], bound: bool = False
    ) -> None:
        """A kernel that returns some expressions; ``bound``: of the states within their bounds."""
        w("@kernel")
        with w.block(f"def {name}({', '.join(arguments)}):"):
            if bound:
                clamp(w, self.model)
            w(*statements(outputs, "c"))
            w(f"return ({', '.join(output for output, _ in outputs)},)")
        w("", "")

    def call(self, w: Writer, name: str, outputs: list[str], arguments: list[str]) -> None:
        """A call of such a kernel."""
        w(f"({', '.join(outputs)},) = {name}({', '.join(arguments)})")

    def at(self, states: list[str]) -> list[str]:
        """Arguments of a measurement at some states."""
        return [*states, *(str(s) for s in self.held)]

    def moving(self, states: list[str]) -> list[str]:
        """Arguments of the dynamics at some states: with what they need that does not change over a step."""
        used = {
            str(s) for form in [*self.dynamics, *(e for row in self.jacobian for e in row)] for s in form.free_symbols
        }
        names = [*(str(s) for s in self.held), *(name for name, _ in self.fixed), STEP]
        return [*states, *(name for name in names if name in used)]

    def slopes(self) -> list[tuple[str, Any]]:
        """The dynamics, by the names v{i}."""
        return [(f"v{i}", f) for i, f in enumerate(self.dynamics)]

    def slopes_and_jacobian(self) -> list[tuple[str, Any]]:
        """The dynamics and the non-zero entries j{i}_{j} of their Jacobian."""
        return [*self.slopes(), *((f"j{i}_{j}", self.jacobian[i][j]) for i, j in self.entries)]

    # ---- what does not change over a step

    def write_fixed(self, w: Writer) -> None:
        """The kernel ``fixed``: parts of the dynamics that inputs and parameters alone decide."""
        if self.fixed:
            self.function(w, "fixed", self.fixed, [str(s) for s in self.held])

    def call_fixed(self, w: Writer) -> None:
        if self.fixed:
            self.call(w, "fixed", [name for name, _ in self.fixed], [str(s) for s in self.held])

    def _lift(self) -> None:
        """Replace parts of dynamics and Jacobian that do not depend on the states by k0, k1, ..., computed once."""
        known: dict[Any, Any] = {}
        self.dynamics = [self._lifted(form, known) for form in self.dynamics]
        self.jacobian = [[self._lifted(form, known) for form in row] for row in self.jacobian]
        self.fixed = [(str(symbol), form) for form, symbol in known.items()]

    def _lifted(self, form: Any, known: dict[Any, Any]) -> Any:
        varying = {*self.x, sympy.Symbol(STEP, real=True)}
        if not form.args or form.is_number or (isinstance(form, sympy.Piecewise) and form.free_symbols & varying):
            return form  # a branch that is not taken may have no value
        if not form.free_symbols & varying:
            worth = form.has(sympy.Pow, sympy.Function, sympy.Piecewise) or len(form.free_symbols) > 1
            return known.setdefault(form, sympy.Symbol(f"k{len(known)}", real=True)) if worth else form
        if isinstance(form, sympy.Add | sympy.Mul):
            still = [a for a in form.args if not a.free_symbols & varying]
            moving = [self._lifted(a, known) for a in form.args if a.free_symbols & varying]
            return form.func(*moving, self._lifted(form.func(*still), known))
        return form.func(*(self._lifted(a, known) for a in form.args))


def clamp(w: Writer, model: EquationModel) -> None:
    """Bounds of the states; NaN stays NaN."""
    for i, state in enumerate(model.states.values()):
        if state.min is not None:
            w(f"x{i} = {state.min!r} if x{i} < {state.min!r} else x{i}")
        if state.max is not None:
            w(f"x{i} = {state.max!r} if x{i} > {state.max!r} else x{i}")
