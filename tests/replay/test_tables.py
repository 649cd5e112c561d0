from __future__ import annotations

import io
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.clock import NS
from edgetwin.replay.tables import Table

TIMES = st.one_of(
    st.integers(-(2**62), 2**62),
    st.integers(0, 4 * 10**9).map(lambda s: s * NS),
    st.integers(0, 4 * 10**15).map(lambda us: us * 1000),
)


def written(t: list[int], names: list[str], values: list[float]) -> list[list[str]]:
    file = io.BytesIO()
    Table(file, ["t", "twin", "x"]).write(np.array(t, np.int64), [names], [np.array(values, np.float64)])
    head, *rows = file.getvalue().decode().splitlines()
    assert head == "t,twin,x"
    return [row.split(",") for row in rows]


@given(st.lists(st.tuples(TIMES, st.floats(allow_infinity=False)), min_size=1, max_size=20))
def test_times_are_exact_and_floats_read_back(rows: list[tuple[int, float]]) -> None:
    t, values = [r[0] for r in rows], [r[1] for r in rows]
    for (time, _, value), t_ns, x in zip(written(t, ["m"] * len(t), values), t, values, strict=True):
        assert Decimal(time) * NS == t_ns
        assert (value == "") if x != x else (float(value) == x and float(value).hex() == x.hex())


def test_names_may_be_words_of_json() -> None:
    rows = written([NS, NS, 2 * NS], ["null", "nullable", "true"], [1.0, float("nan"), -0.0])
    assert rows == [["1", "null", "1.0"], ["1", "nullable", ""], ["2", "true", "-0.0"]]


def test_nothing_is_a_header_alone() -> None:
    assert written([], [], []) == []
