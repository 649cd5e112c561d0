"""The unscented filter's parts: sigma points through dynamics and measurements, on the factors U and d.

The points are x and x ± √(n + λ) U √d e_j: the columns of an upper triangular root of the covariance. Their parameters
are α = 1, β = 0, κ = max(3 - n, 0), for which λ = κ and no weight is negative: the centre has κ/(n + κ), each other
point 1/(2 (n + κ)). For n <= 3 the fourth moments of a Gaussian are met; from n = 3 on the centre has no weight and the
rule is the spherical cubature of third degree. New points are drawn before every sub-step and every measurement;
functions see them within the bounds of the states. Each point takes the sub-step of the mean in steps of its own, at
which ``h * rate`` is at most 0.4, so that one in a stiffer place than the mean stays stable; 16 of them at most, so
that no twin holds up the others. A point that would need more is of a filter that diverges.

Each pair of points splits into half its difference, which is d_j and a divided difference of the function along column
j, and its mean, whose departure from the mean of all is curvature. So the spread of the points through the dynamics is
W diag(v) Wᵀ with the divided differences in place of F U, and columns of curvature as if they were noise: Thornton's
update takes it as it is, without a square root or a subtraction. In a measurement, the divided differences stand for
Uᵀh and the curvature adds a variance to that of the sensor: Bierman's update takes that. The covariance is symmetric
and non-negative by construction.

Sources: Julier and Uhlmann, "Unscented filtering and nonlinear estimation", Proc. IEEE 92(3), 2004; Van der Merwe,
"Sigma-point Kalman filters for probabilistic inference" (thesis, 2004), ch. 3, whose parameters these are; Arasaratnam
and Haykin, "Cubature Kalman filters", IEEE TAC 54(6), 2009; Lefebvre, Bruyninckx and De Schutter, comment on "A new
method for the nonlinear transformation", IEEE TAC 47(8), 2002 (regression and its residual).
"""

from __future__ import annotations

from collections.abc import Callable

from edgetwin.model.equation_symbols import Symbols, clamp
from edgetwin.model.equation_time import DiscreteStep, SubSteps, closed_under_identity
from edgetwin.model.spec import NoiseColumn
from edgetwin.model.structure import closure
from edgetwin.model.unrolled import Unrolled, Writer, add, times, upper_name

POINT_SLACK = 2.0


class Points:
    """Sigma points of n states."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.kappa = float(max(3 - n, 0))
        self.spread = n + self.kappa
        self.centre = self.kappa / self.spread
        """Weight of the centre, for means and for variances."""

    def reach(self, w: Writer, j: int) -> None:
        """reach: distance of pair j in units of column j; half_over: what makes a difference a divided one."""
        w(f"reach = math.sqrt({self.spread!r} * d{j})", "half_over = 0.5 / reach if reach > 0.0 else 0.0")

    def pair(self, j: int, call: Callable[[list[str], str], None]) -> None:
        """``call(states, suffix)`` for both points of pair j."""
        for sign, suffix in (("+", "plus"), ("-", "minus")):
            column = [f"x{i} {sign} reach * {upper_name(i, j)}" for i in range(j)] + [f"x{j} {sign} reach"]
            call([*column, *(f"x{i}" for i in range(j + 1, self.n))], suffix)

    def mean(self, centre: str, means: list[str]) -> str:
        """Mean of a function from its value at the centre and the means of its pairs."""
        pairs = f"({' + '.join(means)}) / {self.spread!r}"
        return f"{self.centre!r} * {centre} + {pairs}" if self.centre else pairs


class _Spread:
    """The transform of the state: mean and factors of what the points become."""

    def __init__(self, symbols: Symbols, closed: set[tuple[int, int]]) -> None:
        self.symbols = symbols
        self.n = symbols.n
        self.points = Points(symbols.n)
        reached = {(i, k) for i in range(self.n) for k in range(self.n) if any((i, m) in closed for m in range(k + 1))}
        self.reached = reached
        states = enumerate(symbols.model.states.values())
        curved = {
            i for i, s in states if symbols.is_curved(symbols.jacobian[i]) or s.min is not None or s.max is not None
        }
        self.curved = [i for i in range(self.n) if any((i, k) in closed for k in curved)]

    def columns(self) -> list[NoiseColumn]:
        """Curvature, as columns of noise."""
        weight = repr(1.0 / self.points.spread)
        made = [NoiseColumn({i: f"e{i}_{j}" for i in self.curved}, weight) for j in range(self.n)]
        if self.points.centre:
            made.append(NoiseColumn({i: f"e{i}" for i in self.curved}, repr(self.points.centre)))
        return made

    def write(self, w: Writer, flow: Callable[[Writer, list[str], list[str]], None], algebra: Unrolled) -> None:
        """``flow(w, names, states)`` writes the call that assigns the next states to ``names``."""
        n = self.n
        flow(w, [f"z{i}" for i in range(n)], self.symbols.states)
        for j in range(n):
            self.points.reach(w, j)
            self.points.pair(j, lambda states, suffix: flow(w, [f"{suffix}{i}" for i in range(n)], states))
            for i in range(n):
                if (i, j) in self.reached:
                    w(f"w{i}_{j} = (plus{i} - minus{i}) * half_over")
                if i in self.curved:
                    w(f"e{i}_{j} = 0.5 * (plus{i} + minus{i})")
        for i in range(n):  # what is linear in the states has its mean at the centre
            curved = i in self.curved
            w(f"x{i} = {self.points.mean(f'z{i}', [f'e{i}_{j}' for j in range(n)]) if curved else f'z{i}'}")
        for i in self.curved:
            w(*(f"e{i}_{j} = e{i}_{j} - x{i}" for j in range(n)), f"e{i} = z{i} - x{i}")
        names = {(i, j): f"w{i}_{j}" for i, j in self.reached}
        algebra.gram_schmidt(w, names | algebra.noise_columns(w))


class UnscentedSteps(SubSteps):
    """The time update of a continuous model."""

    def __init__(self, symbols: Symbols) -> None:
        super().__init__(symbols)
        self.spread = _Spread(symbols, closure(set(symbols.entries), self.n))

    def functions(self, w: Writer) -> None:
        self.symbols.write_fixed(w)
        moving = self.symbols.moving(self.symbols.states)
        self.symbols.function(w, "field", self.symbols.slopes_and_jacobian(), moving)
        self.symbols.function(w, "derivatives", self.symbols.slopes(), moving)
        w("@kernel")
        with w.block(f"def flow({', '.join([*moving, 'remaining'])}):"):
            self.flow(w)
        w("", "")
        super().functions(w)

    def flow(self, w: Writer) -> None:
        """A point may take longer sub-steps than the mean, which is the rule's; but some need more of them."""
        n = range(self.n)
        names, moved = [name for name, _ in self.symbols.slopes_and_jacobian()], [f"y{i}" for i in n]
        slopes = names[: self.n]
        w('"""One point within bounds, after a time, in sub-steps of its own."""')
        clamp(w, self.symbols.model)
        with w.block("for count in range(POINT_STEPS_MAX):"):
            self.symbols.call(w, "field", names, self.symbols.moving(self.symbols.states))
            self.length(w, POINT_SLACK, "POINT_STEPS_MAX")
            w(*(f"s{i} = v{i}" for i in n), "ahead = 0.5 * h", "weight = 2.0")
            with w.block("for stage in range(2, 5):"):
                w(*(f"y{i} = x{i} + ahead * v{i}" for i in n))
                self.symbols.call(w, "derivatives", slopes, self.symbols.moving(moved))
                with w.block("if short:"):
                    w(f"return ({', '.join(f'x{i} + h * v{i}' for i in n)},)")
                with w.block("if stage == 4:"):
                    w("weight = 1.0")
                w(*(f"s{i} = s{i} + weight * v{i}" for i in n))
                with w.block("if stage == 3:"):
                    w("ahead = h")
            w("sixth = h / 6.0", *(f"x{i} = x{i} + sixth * s{i}" for i in n))
            clamp(w, self.symbols.model)
            with w.block("if h >= remaining:"):
                w("break")
            w("remaining = remaining - h")
        w(f"return ({', '.join(self.symbols.states)},)")

    def one(self, w: Writer) -> None:
        noise = self.noise(w)

        def flow(w: Writer, names: list[str], states: list[str]) -> None:
            self.symbols.call(w, "flow", names, [*self.symbols.moving(states), "h"])

        self.spread.write(w, flow, self.algebra(set(), [*self.spread.columns(), *noise]))


class UnscentedDiscreteStep(DiscreteStep):
    """The time update of a discrete model; its noise takes the Jacobian at the mean, as the extended filter's does."""

    def functions(self, w: Writer) -> None:
        super().functions(w)
        self.symbols.function(w, "flow", self.symbols.slopes(), self.symbols.moving(self.symbols.states), bound=True)

    def spread(self, w: Writer, pattern: set[tuple[int, int]]) -> None:
        spread = _Spread(self.symbols, closed_under_identity(self.symbols.entries, self.n))

        def flow(w: Writer, names: list[str], states: list[str]) -> None:
            self.symbols.call(w, "flow", names, self.symbols.moving(states))

        spread.write(w, flow, self.algebra(pattern, [*spread.columns(), *self.noise(pattern)]))


def measure(w: Writer, symbols: Symbols, c: int) -> list[str | None]:
    """Code that finds zh, the mean of measurement c, ``noise``, r with its curvature, and the names of Uᵀh."""
    n, points = symbols.n, Points(symbols.n)
    depends = [entry != 0 for entry in symbols.gradients[c]]
    active = [j for j in range(n) if any(depends[: j + 1])]
    symbols.call(w, f"measure_{c}", ["centre"], symbols.at(symbols.states))
    g: list[str | None] = [None] * n
    for j in active:
        points.reach(w, j)
        points.pair(j, lambda states, suffix: symbols.call(w, f"measure_{c}", [suffix], symbols.at(states)))
        w(f"g{j} = (plus - minus) * half_over", f"e{j} = 0.5 * (plus + minus)")
        g[j] = f"g{j}"
    means = [f"e{j}" if j in active else "centre" for j in range(n)]
    w(f"zh = {points.mean('centre', means)}")
    squares = [times(f"({m} - zh)", f"({m} - zh)") for m in means]
    curvature = f"({add(list(squares))}) / {points.spread!r}"
    if points.centre:
        curvature += f" + {points.centre!r} * (centre - zh) * (centre - zh)"
    w(f"noise = r + {curvature}")
    return g
