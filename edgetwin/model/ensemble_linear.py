"""Generate the ensemble kernel of a built-in model; see :mod:`edgetwin.model.ensemble` for what it does.

x' = F x + Σ_k sqrt(v_k) ε_k b_k with ε_k standard normal: exact for any step, as the filter's own prediction is.
"""

from __future__ import annotations

from edgetwin.model.spec import LinearModel
from edgetwin.model.unrolled import Unrolled, Writer, times

HEADER = '''"""Ensemble kernel of the model {name}. Generated; edits are overwritten."""

import math

from edgetwin.kernels.integrals import ramp, ramp_square
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.random import normal_pair

LOST = -1
STEP_RATE = 5.0  # sub-steps per time constant
'''

SIGNATURE = (
    "def ensemble(seed, stream, draws, state, parameters, fate, limit, width, start, end, record, out, first, last):"
)


def generate_ensemble(model: LinearModel) -> str:
    """Source text of a module with ``ensemble`` for ``model``."""
    w = Writer()
    w(*HEADER.format(name=model.name).splitlines(), "", "", "@kernel")
    algebra = Unrolled(model)
    n = model.size
    with w.block(SIGNATURE), w.block("for m in range(first, last):"):
        load(w, n)
        w(*(f"{name} = parameters[m, {k}]" for k, name in enumerate(("q", "tau", "dt_mean"))))
        with w.block("for s in range(width.shape[0]):"):
            w("dt = width[s]")
            with w.block("if lot >= 0 and dt > 0.0:"):
                algebra.prelude(w)
                algebra.state(w)
                with w.block("if q > 0.0:"):
                    draw(w, len(model.noise))
                    for k, column in enumerate(model.noise):
                        w(f"e{k} = math.sqrt({column.variance}) * g{k}")
                        w(*(f"x{i} = x{i} + {times(entry, f'e{k}')}" for i, entry in column.entries.items()))
                lose(w, n)
            with w.block("if record[s] >= 0:"):
                write(w, n, [])
        save(w, n)
    return "\n".join(w.lines) + "\n"


def load(w: Writer, n: int) -> None:
    """States, fate and number of draws of member m into locals."""
    w(*(f"x{i} = state[m, {i}]" for i in range(n)), "lot, drawn = fate[m], draws[m]")


def draw(w: Writer, count: int) -> None:
    """Standard normal g0, g1…; always as many, so that a member's next ones do not depend on what these are for."""
    for k in range(0, count, 2):
        w(f"g{k}, g{k + 1} = normal_pair(seed, stream, m, drawn)", "drawn += 1")


def lose(w: Writer, n: int) -> None:
    """Take a member out that is not finite."""
    total = " + ".join(f"x{i}" for i in range(n))
    with w.block(f"if not math.isfinite({total}):"):
        w("lot = LOST")


def write(w: Writer, n: int, measured: list[str]) -> None:
    """The row of ``out`` that the segment fills; ``measured`` are the names of the measurements."""
    names = [*(f"x{i}" for i in range(n)), *measured]
    with w.block("if lot >= 0:"):
        for k, name in enumerate(names):
            w(f"out[record[s], {k}, m] = {name if k < n else f'{name} if math.isfinite({name}) else math.nan'}")
    with w.block("else:"):
        w(*(f"out[record[s], {k}, m] = math.nan" for k in range(len(names))))


def save(w: Writer, n: int) -> None:
    """Locals back into the arrays."""
    w(*(f"state[m, {i}] = x{i}" for i in range(n)), "fate[m], draws[m] = lot, drawn")
