"""Exact time update of a model that is linear in its states: dx/dt = A x + b, inputs held.

Over h seconds x' = x + Γ (A x + b) and P' = F P Fᵀ + Q, where Γ = ∫ exp(A s) ds, F = I + A Γ and
Q = ∫ exp(A s) q exp(Aᵀ s) ds over [0, h]: nothing is inverted, so A may be singular. Γ and Q are Taylor series, as many
terms as rounding can tell, over a part h / 2^m of the interval in which the rate of A is at most 1/4; then doubled
m times by Γ(2h) = 2 Γ + E Γ, E(2h) = 2 E + E² and Q(2h) = Q + F Q Fᵀ, with E = F - I kept by itself so that slow modes
keep their digits beside fast ones.

The transition is a pure function of interval, noise and what A depends on; rows keep the last one beside these keys.

Sources: Van Loan, "Computing integrals involving the matrix exponential", IEEE TAC 23(3), 1978; Higham, "Functions of
Matrices" (2008), ch. 10; Zhong and Williams, "A precise time step integration method", Proc. IMechE C 208, 1994 (E).
"""

from __future__ import annotations

from edgetwin.model.equation_layout import cache_fields, cache_keys, is_cached, transition_arguments
from edgetwin.model.equation_symbols import Symbols, clamp
from edgetwin.model.equation_time import TimeUpdate, rate_lines
from edgetwin.model.layout import state_fields
from edgetwin.model.spec import NoiseColumn
from edgetwin.model.structure import Linear
from edgetwin.model.symbolic import statements
from edgetwin.model.unrolled import Writer, add, times

REACH = 0.25
"""Of the interval over which the series is summed: rate times length."""

ORDERS = (3, 5, 8, 12)
"""Numbers of terms; the last does for ``REACH``."""


def reach_of(order: int) -> float:
    """The rate times length over which that many terms leave out less than 1e-13 of the whole.

    Term k + 1 of Q is at most 2 reach / (k + 1) of term k, as both of its sides grow.
    """
    omitted = 1.0
    for k in range(1, order + 1):
        omitted *= 2 / (k + 1)
    return float((1e-13 / omitted) ** (1 / order))


class ExactStep(TimeUpdate):
    """The exact transition; ``linear`` is the structure of the model."""

    def __init__(self, symbols: Symbols, linear: Linear) -> None:
        super().__init__(symbols)
        self.linear = linear
        self.closed = set(linear.closed)
        self.made = cache_fields(linear)
        self.makers = transition_arguments(self.model, linear)
        self.arguments = [*self.made, *state_fields(self.n), *(str(s) for s in symbols.held)]

    # ---- the step

    def step(self, w: Writer, keep: bool) -> None:
        call = f"({', '.join(self.made)},) = transition({', '.join(['dt', *self.makers])})"
        if keep and is_cached(self.n):
            keys = dict(zip(cache_keys(self.model, self.linear), ["dt", *self.makers], strict=True))
            with w.block("if " + " and ".join(f'row["{key}"] == {value}' for key, value in keys.items()) + ":"):
                w(*(f'{name} = row["{name}"]' for name in self.made))
            with w.block("else:"):
                w(call, *(f'row["{name}"] = {name}' for name in self.made))
                w(*(f'row["{key}"] = {value}' for key, value in keys.items()))
        else:
            w(call)
        super().step(w, keep)

    def body(self, w: Writer) -> None:
        algebra = self.algebra(self.closed, self.noise())
        slopes = [name for name, _ in self.symbols.slopes()]
        self.symbols.call(w, "derivatives", slopes, self.symbols.moving(self.symbols.states))
        for i in range(self.n):
            w(f"x{i} = {add([f'x{i}', *(times(f'gamma{i}_{j}', f'v{j}') for k, j in self.linear.closed if k == i)])}")
        algebra.gram_schmidt(w, algebra.weights(w))
        clamp(w, self.symbols.model)

    def noise(self) -> list[NoiseColumn]:
        """Q by its factors."""
        pairs = self.linear.noise_pairs
        return [
            NoiseColumn({j: "1.0"} | {i: f"qu{i}_{k}" for i, k in pairs if k == j}, f"qd{j}") for j in self.linear.noisy
        ]

    # ---- the transition

    def functions(self, w: Writer) -> None:
        self.symbols.function(w, "derivatives", self.symbols.slopes(), self.symbols.moving(self.symbols.states))
        w("@kernel")
        with w.block(f"def transition({', '.join(['h', *self.makers])}):"):
            w('"""F, its integral, and the factors of the noise it lets in, over h seconds."""')
            w(*statements([(f"a{i}_{j}", self.symbols.jacobian[i][j]) for i, j in self.symbols.entries], "c"))
            w(*rate_lines(self.symbols, self.model, "a"))
            w("reach = rate * h", "doublings = 0")
            with w.block(f"while reach > {REACH!r} and reach < 1e300:"):
                w("doublings, h, reach = doublings + 1, 0.5 * h, 0.5 * reach")
            self.series(w)
            with w.block("for _ in range(doublings):"):
                self.double(w)
            w(*(f"f{i}_{j} = {self.full(i, j)}" for i, j in self.linear.closed))
            self.factor(w)
            w(f"return ({', '.join(self.made)},)")
        w("", "")
        super().functions(w)

    def a(self, i: int, j: int) -> str | None:
        return f"a{i}_{j}" if (i, j) in self.symbols.entries else None

    def gamma(self, i: int, j: int) -> str | None:
        return f"gamma{i}_{j}" if (i, j) in self.closed else None

    def e(self, i: int, j: int) -> str | None:
        return f"e{i}_{j}" if (i, j) in self.closed else None

    def full(self, i: int, j: int) -> str:
        """Entry of F."""
        return f"{'1.0 + ' if i == j else ''}e{i}_{j}"

    def q(self, i: int, j: int) -> str | None:
        """Entry of Q: its upper triangle has names."""
        noisy = self.linear.noisy
        return f"c{min(i, j)}_{max(i, j)}" if i in noisy and j in noisy else None

    def noise_entries(self) -> list[tuple[int, int]]:
        """Upper triangle of Q with its diagonal."""
        return [(i, j) for j in self.linear.noisy for i in self.linear.noisy if i <= j]

    def series(self, w: Writer) -> None:
        """Γ, E and Q over a short h; Horner's scheme from the last term that counts."""
        n, closed, noise = self.n, self.linear.closed, self.noise_entries()
        beyond = self.linear.least_order() - 1  # the smallest entry begins with that term
        w(f"order = {ORDERS[-1] + beyond}")
        for order in reversed(ORDERS[:-1]):
            with w.block(f"if reach <= {reach_of(order)!r}:"):
                w(f"order = {order + beyond}")
        start = {(i, j): (f"q{i}" if i == j and i in self.driven else "0.0") for i, j in noise}
        w(*(f"gamma{i}_{j} = {'1.0' if i == j else '0.0'}" for i, j in closed))
        w(*(f"{self.q(i, j)} = {start[i, j]}" for i, j in noise))
        with w.block("for k in range(order, 1, -1):"):
            w("part = h / k")
            new: list[str] = []
            for i, j in closed:
                product = add([times(self.a(i, k), self.gamma(k, j)) for k in range(n)])
                if product is not None:
                    new.append(f"gamma{i}_{j}")
                    w(f"n{i}_{j} = {'1.0 + ' if i == j else ''}part * ({product})")
            for i, j in noise:
                terms = [times(self.a(i, k), self.q(k, j)) for k in range(n)]
                terms += [times(self.a(j, k), self.q(i, k)) for k in range(n)]
                base = f"{start[i, j]} + " if start[i, j] != "0.0" else ""
                w(f"m{i}_{j} = {base}part * ({add(terms) or '0.0'})")
            w(*(f"{name} = n{name[5:]}" for name in new))
            w(*(f"{self.q(i, j)} = m{i}_{j}" for i, j in noise))
        w(*(f"gamma{i}_{j} = h * gamma{i}_{j}" for i, j in closed))
        w(*(f"{self.q(i, j)} = h * {self.q(i, j)}" for i, j in noise))
        for i, j in closed:
            w(f"e{i}_{j} = {add([times(self.a(i, k), self.gamma(k, j)) for k in range(n)]) or '0.0'}")

    def double(self, w: Writer) -> None:
        """Γ, E and Q over twice the time."""
        n, closed, noise = self.n, self.linear.closed, self.noise_entries()
        f = {(i, j): f"({self.full(i, j)})" if i == j else f"e{i}_{j}" for i, j in closed}
        for i in self.linear.noisy:
            for j in self.linear.noisy:
                w(f"b{i}_{j} = {add([times(f.get((i, k)), self.q(k, j)) for k in range(n)])}")
        for i, j in noise:
            terms = [times(f"b{i}_{k}", f.get((j, k))) for k in self.linear.noisy]
            w(f"{self.q(i, j)} = {self.q(i, j)} + {add(terms)}")
        for i, j in closed:
            w(f"n{i}_{j} = 2.0 * gamma{i}_{j} + {add([times(self.e(i, k), self.gamma(k, j)) for k in range(n)])}")
            w(f"m{i}_{j} = 2.0 * e{i}_{j} + {add([times(self.e(i, k), self.e(k, j)) for k in range(n)])}")
        w(*(f"gamma{i}_{j} = n{i}_{j}" for i, j in closed), *(f"e{i}_{j} = m{i}_{j}" for i, j in closed))

    def factor(self, w: Writer) -> None:
        """Q = U D Uᵀ, last state first; what rounding makes negative is zero."""
        noisy = self.linear.noisy
        for j in reversed(noisy):
            later = [k for k in noisy if k > j]
            squares = add([times(f"qd{k}", f"qu{j}_{k}", f"qu{j}_{k}") for k in later])
            w(f"qd{j} = {self.q(j, j)}{f' - ({squares})' if squares else ''}")
            w(f"qd{j} = 0.0 if qd{j} < 0.0 else qd{j}")
            earlier = [i for i in noisy if i < j]
            if earlier:
                w(f"inverse = 1.0 / qd{j} if qd{j} > 0.0 else 0.0")
            for i in earlier:
                crossed = add([times(f"qd{k}", f"qu{i}_{k}", f"qu{j}_{k}") for k in later])
                w(f"qu{i}_{j} = ({self.q(i, j)}{f' - ({crossed})' if crossed else ''}) * inverse")
