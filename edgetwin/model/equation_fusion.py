"""The measurement update of a generated filter: Bierman's, one scalar at a time, with gate, learning and restart.

Measurements differ in their value zh, in the projections g = Uᵀh and in ``noise``, the variance of the sensor and of
what the filter does not resolve; the rest is written once for all of them. Extended filters take h from the analytic
gradient at the state, unscented ones take g and zh through sigma points (:mod:`edgetwin.model.equation_unscented`).

Sources: Bierman, "Factorization Methods for Discrete Sequential Estimation" (1977), ch. V.
"""

from __future__ import annotations

from edgetwin.model import equation_unscented as unscented
from edgetwin.model.equation_symbols import Symbols, clamp
from edgetwin.model.unrolled import Unrolled, Writer


class Fusion:
    """Code on the locals of ``accept``: z and the channel's block ``own``; ``fields`` are those of the state."""

    def __init__(self, symbols: Symbols, algebra: Unrolled, fields: list[str]) -> None:
        self.symbols = symbols
        self.algebra = algebra
        self.fields = fields
        self.unscented = symbols.model.filter == "ukf"
        self.count = len(symbols.measurements)
        self.projected = [self.project(Writer(), c) for c in range(self.count)]

    # ---- what tells measurements apart

    def is_sampled(self, c: int) -> bool:
        """Whether measurement c is taken through sigma points."""
        return self.unscented and self.symbols.is_curved(self.symbols.gradients[c])

    def functions(self, w: Writer) -> None:
        """Each measurement and, unless it is sampled, the entries of its gradient that are not constant."""
        for c in range(self.count):
            outputs = [("z", self.symbols.measurements[c])]
            if not self.is_sampled(c):
                gradient = enumerate(self.symbols.gradients[c])
                outputs += [(f"h{j}", entry) for j, entry in gradient if not entry.is_number]
            arguments = self.symbols.at(self.symbols.states)
            self.symbols.function(w, f"measure_{c}", outputs, arguments, self.is_sampled(c))

    def project(self, w: Writer, c: int) -> list[str | None]:
        """Code for zh, ``noise`` and Uᵀh; the names of the latter, None where it is zero."""
        if self.is_sampled(c):
            return unscented.measure(w, self.symbols, c)
        h: list[str | None] = []
        for j, entry in enumerate(self.symbols.gradients[c]):
            h.append((None if entry == 0 else repr(float(entry))) if entry.is_number else f"h{j}")
        names = ["zh", *(name for name in h if name is not None and name.startswith("h"))]
        self.symbols.call(w, f"measure_{c}", names, self.symbols.at(self.symbols.states))
        w("noise = r")
        return self.algebra.projections(w, h)

    def projections(self) -> list[str | None]:
        """Names that hold for every measurement: a constant where they agree on it."""
        columns = [set(names) for names in zip(*self.projected, strict=True)]
        return [next(iter(names)) if len(names) == 1 else f"g{j}" for j, names in enumerate(columns)]

    def choose(self, w: Writer, g: list[str | None]) -> None:
        """zh, ``noise`` and g of the measurement ``channel``."""
        for c in range(self.count):
            last = c == self.count - 1
            with w.block("else:" if last and c else f"{'el' if c else ''}if channel == {c}:"):
                for j, name in enumerate(self.project(w, c)):
                    if g[j] != name:
                        w(f"g{j} = {name or '0.0'}")

    # ---- what they share

    def write(self, w: Writer) -> None:
        """Fuse z, or return GATED."""
        g = self.projections()
        w('learns = own["learn_of"]', 'fused = own["fused_of"]', 'r = own["r"]')
        with w.block("if learns and fused == 0:"):
            w("r = max(1e-6 * z * z, 1e-12)")
        w("settled = learns == 0 or fused >= 10")
        with w.block("for attempt in range(2):"):  # the second with a covariance that has been widened
            self.choose(w, g)
            w("y = z - zh")
            self.algebra.innovation_variance(w, g, "noise")
            w("nis = y * (y * (1.0 / s))")
            with w.block("if attempt == 0:"):
                with w.block("if not math.isfinite(nis):"):
                    w("restart(row)", 'own["gated_of"] += 1', 'row["gated"] += 1', "return GATED")
                w('own["nis"] = nis', 'own["y"] = y', 'own["s"] = s')
                with w.block('if not settled or nis <= row["gate"]:'):
                    w("break")
                self.reject(w)
        self.algebra.bierman(w, g, "noise")
        clamp(w, self.symbols.model)
        self.learn(w)
        with w.block("if settled:"):
            w('row["nis_mean"] = row["nis_mean"] + 0.05 * (min(nis, 1e6) - row["nis_mean"])')
        with w.block('if row["rejects"] > 0:'):
            w('own["rejects_of"] = 0', "rejects = 0")
            with w.block("for k in range(MEASUREMENTS):"):
                w('rejects = max(rejects, block(row, FIRST, k, CHANNEL)["rejects_of"])')
            w('row["rejects"] = rejects')

    def reject(self, w: Writer) -> None:
        w('own["gated_of"] += 1', 'own["rejects_of"] += 1')
        w('row["rejects"] = max(row["rejects"], own["rejects_of"])')
        with w.block('if own["rejects_of"] < row["reject_max"]:'):
            w(*(f'row["{f}"] = {f}' for f in self.fields))
            w('row["gated"] += 1', "return GATED")
        w("widen(row)", *(f'{f} = row["{f}"]' for f in self.fields[self.symbols.n :]))

    def learn(self, w: Writer) -> None:
        """Measurement variance from innovations: E y² = s, of which s - r is the state's part."""
        with w.block("if learns:"):
            w("weight = max(1.0 / (fused + 1.0), 0.02)")
            w("seen = min(y * y, 9.0 * s) if settled else y * y")
            w('own["r"] = max(r + weight * (max(seen - (s - r), 0.01 * r) - r), 1e-12 * z * z + 1e-24)')
