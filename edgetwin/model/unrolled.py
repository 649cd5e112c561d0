"""UDUᵀ filter algebra written out term by term, structural zeros left out: the common part of all generated kernels."""

from __future__ import annotations

from edgetwin.model.layout import upper
from edgetwin.model.spec import LinearModel


class Writer:
    """Lines of source with indentation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0

    def __call__(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line if line else "" for line in lines]

    def block(self, head: str) -> Writer:
        self(head)
        return self

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


def times(*factors: str | None) -> str | None:
    """Product as text: None is 0, "1.0" disappears."""
    if any(f is None for f in factors):
        return None
    kept = [f if f.isidentifier() or _is_atom(f) else f"({f})" for f in factors if f not in (None, "1.0")]
    return " * ".join(kept) or "1.0"


def _is_atom(text: str) -> bool:
    return not any(c in text for c in "+-/ ")


def add(terms: list[str | None]) -> str | None:
    kept = [t for t in terms if t is not None]
    return " + ".join(kept) or None


def upper_name(i: int, j: int) -> str:
    return f"u{i}_{j}"


class Unrolled:
    """The algebra of one model, term by term."""

    def __init__(self, model: LinearModel) -> None:
        self.model = model
        self.n = model.size
        self.columns = self.n + len(model.noise)

    def transition(self, i: int, j: int) -> str | None:
        return self.model.transition.get((i, j), "1.0" if i == j else None)

    def factor(self, i: int, j: int) -> str | None:
        """Entry of U."""
        if i == j:
            return "1.0"
        return upper_name(i, j) if i < j else None

    def prelude(self, w: Writer) -> None:
        w(*self.model.prelude)
        for (i, j), text in self.model.transition.items():
            w(f"f{i}_{j} = {text}")

    def f(self, i: int, j: int) -> str | None:
        return f"f{i}_{j}" if (i, j) in self.model.transition else self.transition(i, j)

    def weights(self, w: Writer) -> dict[tuple[int, int], str]:
        """W = [F U | B] and its weights v = [d | noise]; returns the names of the non-zero entries."""
        names: dict[tuple[int, int], str] = {}
        for i in range(self.n):
            for k in range(self.n):
                text = add([times(self.f(i, m), self.factor(m, k)) for m in range(self.n)])
                if text is not None:
                    names[i, k] = text if text == "1.0" else f"w{i}_{k}"
                    if text != "1.0":
                        w(f"w{i}_{k} = {text}")
        return names | self.noise_columns(w)

    def noise_columns(self, w: Writer) -> dict[tuple[int, int], str]:
        """The columns B of W and their weights; returns the names of the non-zero entries."""
        names: dict[tuple[int, int], str] = {}
        for c, column in enumerate(self.model.noise):
            w(f"v{self.n + c} = {column.variance}")
            for i, text in column.entries.items():
                names[i, self.n + c] = "1.0" if text == "1.0" else f"w{i}_{self.n + c}"
                if text != "1.0":
                    w(f"w{i}_{self.n + c} = {text}")
        return names

    def variance_name(self, k: int) -> str:
        return f"d{k}" if k < self.n else f"v{k}"

    def state(self, w: Writer) -> None:
        """x = F x."""
        for i in range(self.n):
            w(f"n{i} = {add([times(self.f(i, j), f'x{j}') for j in range(self.n)])}")
        w(", ".join(f"x{i}" for i in range(self.n)) + " = " + ", ".join(f"n{i}" for i in range(self.n)))

    def gram_schmidt(self, w: Writer, names: dict[tuple[int, int], str]) -> None:
        """U, D of W diag(v) Wᵀ (Thornton), highest state first."""
        n = self.n
        for j in range(n - 1, -1, -1):
            square = [times(names.get((j, k)), names.get((j, k)), self.variance_name(k)) for k in range(self.columns)]
            w(f"e{j} = {add(square) or '0.0'}")
            if j == 0:
                break
            w(f"inverse = 1.0 / e{j} if e{j} > 0.0 else 0.0")
            for i in range(j):
                cross = [
                    times(names.get((i, k)), names.get((j, k)), self.variance_name(k)) for k in range(self.columns)
                ]
                w(f"a{i}_{j} = ({add(cross) or '0.0'}) * inverse")
            for i in range(j):
                for k in range(self.columns):
                    own, other = names.get((i, k)), names.get((j, k))
                    if other is None:
                        continue
                    w(f"w{i}_{k} = {own + ' - ' if own else '-'}{times(f'a{i}_{j}', other)}")
                    names[i, k] = f"w{i}_{k}"
        for j in range(n):
            w(f"d{j} = e{j}")
        for i, j in upper(n):
            w(f"{upper_name(i, j)} = a{i}_{j}")

    def projections(self, w: Writer, h: list[str | None]) -> list[str | None]:
        """g = Uᵀ h and v = D g; returns the names of g."""
        names: list[str | None] = []
        for j in range(self.n):
            text = add([times(self.factor(i, j), h[i]) for i in range(j + 1)])
            if text in (None, "1.0"):
                names.append(text)
            else:
                w(f"g{j} = {text}")
                names.append(f"g{j}")
        return names

    def innovation_variance(self, w: Writer, g: list[str | None], noise: str = "r") -> None:
        """s, of a sensor with variance ``noise``."""
        w(f"s = {noise} + " + (add([times(g[j], g[j], f"d{j}") for j in range(self.n)]) or "0.0"))

    def bierman(self, w: Writer, g: list[str | None], noise: str = "r") -> None:
        """Measurement update by an innovation y of a sensor with variance ``noise``.

        The partial sums alpha of the innovation variance come first, so that their reciprocals do not wait for each
        other. Where only zeros precede a column, its update of U is the identity.
        """
        active = [j for j in range(self.n) if g[j] is not None]
        previous = noise
        for j in active:
            w(f"b{j} = {times(f'd{j}', g[j])}", f"alpha{j} = {previous} + {times(f'b{j}', g[j])}")
            w(f"inverse{j} = 1.0 / alpha{j}", f"d{j} = d{j} * ({previous} * inverse{j})")
            previous = f"alpha{j}"
        touched: set[int] = set()
        for k, j in enumerate(active):
            if touched:
                w(f"slope = -{times(g[j])} * inverse{active[k - 1]}")
            if j:
                w(f"full = b{j}")
            for i in range(j):
                u = upper_name(i, j)
                if i in touched:
                    w(f"old = {u}", f"{u} = old + b{i} * slope", f"b{i} = b{i} + old * full")
                else:
                    w(f"b{i} = {u} * full")
            touched |= {*range(j + 1)}
        if active:
            w(f"gain = y * inverse{active[-1]}", *(f"x{i} = x{i} + b{i} * gain" for i in sorted(touched)))
