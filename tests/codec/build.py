"""Reports for tests, and equality to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgetwin.codec.contents import FrameGap
from edgetwin.records import Event, Report

T0 = 1_700_000_000 * 10**9


def report(t_ns: int = T0, twins: int = 3, seed: int = 0) -> Report:
    """Two states of each twin with random estimates."""
    rng = np.random.default_rng(seed)
    columns = [(f"m{i}", state, unit) for i in range(twins) for state, unit in (("level", "°C"), ("trend", "°C/s"))]
    n = len(columns)
    return Report(
        t_ns, tuple(columns), rng.normal(size=n), rng.exponential(size=n), rng.integers(0, 3, n).astype(np.uint8)
    )


def same(a: Report, b: Report) -> bool:
    """Equal to the bit, NaN payloads included."""
    arrays = ((a.mean, b.mean), (a.std, b.std), (a.quality, b.quality))
    return (a.t_ns, a.columns) == (b.t_ns, b.columns) and all(
        x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in arrays
    )


NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.integers(0, 2**64 - 1)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Any report, with every bit pattern of a float."""
    columns = draw(st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=12))
    n = len(columns)
    bits = draw(hnp.arrays(np.uint64, (2, n), elements=FLOATS))
    mean, std = bits.view(np.float64)
    quality = draw(hnp.arrays(np.uint8, n, elements=st.integers(0, 2)))
    return Report(draw(I64), tuple(columns), mean.copy(), std.copy(), quality)


SCALARS = st.none() | st.booleans() | I64 | U64 | st.floats(allow_nan=False) | NAMES
EVENTS = st.builds(Event, NAMES, I64, st.dictionaries(NAMES, SCALARS, max_size=4))


@st.composite
def gaps(draw: st.DrawFn) -> FrameGap:
    """Any gap."""
    first, last = sorted((draw(U64), draw(U64)))
    return FrameGap(draw(U64), first, last, draw(NAMES), draw(U64))
