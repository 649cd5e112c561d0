"""Time updates of generated filters: code on the locals x, d, u of a row over ``dt`` seconds, inputs held.

Nonlinear and continuous: sub-steps chosen anew from the Jacobian at the mean, so that ``h * rate`` is at most 0.2,
``rate`` being the largest row sum of |J| with each state measured in its initial standard deviation (which makes the
choice independent of units). A last sub-step with ``h * rate`` of 0.02 or less is taken by the midpoint rule, others by
the classical Runge-Kutta method, each with its variational equation. Process noise enters at the middle of the
sub-step, Q = B q Bᵀ h with B = I + J h / 2. Discrete: F is the Jacobian of the update, and Q = (F q Fᵀ + q) h / 2.
Then Thornton's factor update.

Sources: Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.1; Bierman (1977), ch. VII.
"""

from __future__ import annotations

from typing import Any

from edgetwin.config.equations import EquationModel
from edgetwin.model.equation_symbols import Symbols, clamp
from edgetwin.model.layout import state_fields
from edgetwin.model.spec import LinearModel, NoiseColumn
from edgetwin.model.structure import closure
from edgetwin.model.unrolled import Unrolled, Writer, add, times


class TimeUpdate:
    """What the time updates share; ``functions`` writes the kernel ``advance``, which ``step`` calls.

    ``held``: the row's fields that the step needs and leaves alone.
    """

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self.model = symbols.model
        self.n = symbols.n
        self.driven = [i for i, q in enumerate(self.model.process_noise) if q > 0]
        self.held = [str(s) for s in symbols.held] + [f"q{i}" for i in self.driven]
        self.arguments = ["dt", *state_fields(self.n), *self.held]

    def functions(self, w: Writer) -> None:
        """Kernels that the step needs; part of what calls them, so that they are analysed once for all callers."""
        w("@absorbed")
        with w.block(f"def advance({', '.join(self.arguments)}):"):
            w('"""Mean and factors after dt seconds."""')
            self.body(w)
            w(f"return ({', '.join(state_fields(self.n))},)")
        w("", "")

    def step(self, w: Writer, keep: bool) -> None:
        """The locals over ``dt`` > 0; ``keep``: intermediate results may be kept in ``row``."""
        del keep
        w(f"({', '.join(state_fields(self.n))},) = advance({', '.join(self.arguments)})")

    def body(self, w: Writer) -> None:
        """The text of ``advance``."""
        raise NotImplementedError

    def algebra(self, transition: set[tuple[int, int]], noise: list[NoiseColumn]) -> Unrolled:
        """The algebra of a step whose transition has entries f{i}_{j}."""
        states = tuple(self.model.states)
        entries = {(i, j): f"f{i}_{j}" for i, j in sorted(transition)}
        return Unrolled(LinearModel(self.model.name, states, (0,) * self.n, entries, tuple(noise)))


class DiscreteStep(TimeUpdate):
    """One application of ``updates``."""

    def functions(self, w: Writer) -> None:
        self.symbols.write_fixed(w)
        self.symbols.function(w, "field", self.symbols.slopes_and_jacobian(), self.symbols.moving(self.symbols.states))
        super().functions(w)

    def body(self, w: Writer) -> None:
        names = [name for name, _ in self.symbols.slopes_and_jacobian()]
        self.symbols.call_fixed(w)
        self.symbols.call(w, "field", names, self.symbols.moving(self.symbols.states))
        pattern = closed_under_identity(self.symbols.entries, self.n)
        w(*(f"f{i}_{j} = {f'j{i}_{j}' if (i, j) in self.symbols.entries else '0.0'}" for i, j in sorted(pattern)))
        self.spread(w, pattern)
        clamp(w, self.symbols.model)

    def spread(self, w: Writer, pattern: set[tuple[int, int]]) -> None:
        """Mean and factors; F is known."""
        algebra = self.algebra(pattern, self.noise(pattern))
        w(*(f"x{i} = v{i}" for i in range(self.n)))
        algebra.gram_schmidt(w, algebra.weights(w))

    def noise(self, pattern: set[tuple[int, int]]) -> list[NoiseColumn]:
        """(F q Fᵀ + q) dt / 2."""
        columns = []
        for j in self.driven:
            columns.append(
                NoiseColumn({i: f"f{i}_{j}" for i in range(self.n) if (i, j) in pattern}, f"0.5 * dt * q{j}")
            )
            columns.append(NoiseColumn({j: "1.0"}, f"0.5 * dt * q{j}"))
        return columns


class SubSteps(TimeUpdate):
    """The loop over sub-steps of a continuous model; what happens in one is left open."""

    def body(self, w: Writer) -> None:
        self.symbols.call_fixed(w)
        w("remaining = dt")
        with w.block("for count in range(STEPS_MAX):"):
            names = [n for n, _ in self.symbols.slopes_and_jacobian()]
            self.symbols.call(w, "field", names, self.symbols.moving(self.symbols.states))
            self.length(w)
            self.one(w)
            clamp(w, self.symbols.model)
            with w.block("if h >= remaining:"):
                w("break")
            w("remaining = remaining - h")

    def one(self, w: Writer) -> None:
        """One sub-step h; v and j are the field at x, ``short`` says that the midpoint rule does."""
        raise NotImplementedError

    def length(self, w: Writer, slack: float = 1.0, most: str = "STEPS_MAX") -> None:
        """h: an equal part of the time that remains, by the Jacobian; all of it when that is not finite.

        No more than ``most`` sub-steps are taken.
        """
        w(*rate_lines(self.symbols, self.model))
        if slack != 1.0:
            w(f"rate = {1 / slack!r} * rate")
        w("h = remaining", "short = rate * remaining <= SHORT")
        with w.block("if not short:"):
            w("parts = STEP_RATE * rate * remaining", f"left = {most} - count")
            with w.block("if parts >= left:"):
                w("h = remaining / left")
            with w.block("elif parts >= 1.0:"):
                w("h = remaining / (math.floor(parts) + 1)")

    def noise(self, w: Writer) -> list[NoiseColumn]:
        """B q Bᵀ h with B = I + J h / 2."""
        columns = []
        for j in self.driven:
            entries = {j: "1.0"}
            for i, k in self.symbols.entries:
                if k == j:
                    w(f"m{i}_{j} = {'1.0 + ' if i == j else ''}0.5 * h * j{i}_{j}")
                    entries[i] = f"m{i}_{j}"
            columns.append(NoiseColumn(entries, f"h * q{j}"))
        return columns


class ExtendedSteps(SubSteps):
    """The extended filter's: the mean by the field, the factors by its Jacobian."""

    def __init__(self, symbols: Symbols) -> None:
        super().__init__(symbols)
        self.closed = closure(set(symbols.entries), self.n)

    def functions(self, w: Writer) -> None:
        self.symbols.write_fixed(w)
        moving = self.symbols.moving(self.symbols.states)
        self.symbols.function(w, "field", self.symbols.slopes_and_jacobian(), moving)
        names = [n for n, _ in self.symbols.slopes_and_jacobian()]
        w("@kernel")
        with w.block(f"def runge_kutta({', '.join([*moving, *names, 'h'])}):"):
            self.runge_kutta(w, names)
        w("", "")
        super().functions(w)

    def one(self, w: Writer) -> None:
        algebra = self.algebra(self.closed, self.noise(w))
        names = [n for n, _ in self.symbols.slopes_and_jacobian()]
        with w.block("if short:"):
            w(*(f"y{i} = x{i} + 0.5 * h * v{i}" for i in range(self.n)))
            self.symbols.call(w, "field", names, self.symbols.moving([f"y{i}" for i in range(self.n)]))
            w(*(f"x{i} = x{i} + h * v{i}" for i in range(self.n)))
            w(*(f"j{i}_{j} = h * j{i}_{j}" for i, j in self.symbols.entries))
            for i, j in sorted(self.closed):
                square = add(
                    [times(f"j{i}_{k}", f"j{k}_{j}") for k in range(self.n) if self.has(i, k) and self.has(k, j)]
                )
                terms = ["1.0" if i == j else None, f"j{i}_{j}" if self.has(i, j) else None, times("0.5", square)]
                w(f"f{i}_{j} = {add(terms) or '0.0'}")
        with w.block("else:"):
            made = [*self.symbols.states, *(f"f{i}_{j}" for i, j in sorted(self.closed))]
            self.symbols.call(w, "runge_kutta", made, [*self.symbols.moving(self.symbols.states), *names, "h"])
        algebra.gram_schmidt(w, algebra.weights(w))

    def has(self, i: int, j: int) -> bool:
        return (i, j) in self.symbols.entries

    def runge_kutta(self, w: Writer, names: list[str]) -> None:
        """x and F over h, of x and F = I; stage 1 has been evaluated."""
        n, pattern = self.n, sorted(self.closed)
        w('"""State and transition matrix after h; v and j are the field and its Jacobian at the start."""')
        w(*(f"g{i}_{j} = {f'j{i}_{j}' if self.has(i, j) else '0.0'}" for i, j in pattern))
        w(*(f"s{i} = v{i}" for i in range(n)), *(f"t{i}_{j} = g{i}_{j}" for i, j in pattern))
        w("ahead = 0.5 * h", "weight = 2.0")
        with w.block("for stage in range(2, 5):"):
            w(*(f"y{i} = x{i} + ahead * v{i}" for i in range(n)))
            w(*(f"m{i}_{j} = {'1.0 + ' if i == j else ''}ahead * g{i}_{j}" for i, j in pattern))
            self.symbols.call(w, "field", names, self.symbols.moving([f"y{i}" for i in range(n)]))
            for i, j in pattern:
                terms = [times(f"j{i}_{k}", f"m{k}_{j}") for k in range(n) if self.has(i, k) and (k, j) in self.closed]
                w(f"g{i}_{j} = {add(terms) or '0.0'}")
            with w.block("if stage == 4:"):
                w("weight = 1.0")
            w(*(f"s{i} = s{i} + weight * v{i}" for i in range(n)))
            w(*(f"t{i}_{j} = t{i}_{j} + weight * g{i}_{j}" for i, j in pattern))
            with w.block("if stage == 3:"):
                w("ahead = h")
        w("sixth = h / 6.0")
        made = [f"x{i} + sixth * s{i}" for i in range(n)]
        made += [f"{'1.0 + ' if i == j else ''}sixth * t{i}_{j}" for i, j in pattern]
        w(f"return ({', '.join(made)},)")


def rate_lines(symbols: Symbols, model: EquationModel, name: str = "j") -> list[str]:
    """Lines that compute ``rate`` from the entries of the Jacobian."""
    scale, lines = model.stds, ["rate = 0.0"]
    for i in range(symbols.n):
        row: list[Any] = [times(f"abs({name}{i}_{j})", repr(scale[j] / scale[i])) for k, j in symbols.entries if k == i]
        if row:
            lines.append(f"rate = max(rate, {add(row)})")
    return lines


def closed_under_identity(entries: list[tuple[int, int]], n: int) -> set[tuple[int, int]]:
    """Entries with the diagonal."""
    return {*entries, *((i, i) for i in range(n))}
