from __future__ import annotations

import numpy as np
import pytest

from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_model
from edgetwin.model.ordering import make_history
from edgetwin.model.structural import row_of
from edgetwin.model.tracing import compile_tracer

SECOND = 10**9


@pytest.mark.parametrize("name", ["random_walk", "auto"])
def test_a_traced_run_takes_the_steps_of_a_plain_one(name: str) -> None:
    model = BUILTIN[name]
    kernels = compile_model(model)
    tracer = compile_tracer(name, kernels)
    rng = np.random.default_rng(2)
    n = 120
    rows = np.zeros(2, row_of(model))
    rows["scale"], rows["lo"], rows["hi"] = 1.0, -np.inf, np.inf
    rows["gate"], rows["reject_max"], rows["learn"], rows["spread"] = 25.0, 3, 3, 1e3
    slot_bank, slot_row = np.array([0, 1, 0], np.int16), np.array([0, 0, 1], np.int32)
    slot = rng.integers(0, 3, n).astype(np.int32)
    t_ns = SECOND * (1_700_000_000 + np.cumsum(rng.integers(-1, 3, n)))
    value = rng.normal(size=n)
    value[[40, 77]] = np.nan, 1e6

    traced = rows.copy()
    outcome, after, index = np.full(n, 99, np.uint8), np.zeros(n, rows.dtype), np.zeros(n, np.int64)
    judged, source, counted = np.zeros(0, rows.dtype), (slot % 2).astype(np.int32), np.zeros((2, 9), np.int64)
    history = make_history(rows.dtype, 0, 4)
    m = tracer.update(
        traced,
        slot_bank,
        slot_row,
        1,
        0,
        slot,
        t_ns,
        value,
        2**62,
        source,
        counted,
        history,
        outcome,
        after,
        judged,
        index,
    )
    assert index[:m].tolist() == np.flatnonzero(slot != 1).tolist()
    assert set(outcome[slot == 1].tolist()) == {99}

    counts = np.zeros((2, 9), np.int64)
    for k, at in enumerate(index[:m].tolist()):
        before = counts.copy()
        one = slice(at, at + 1)
        kernels.update(
            rows, slot_bank, slot_row, 0, slot[one], t_ns[one], value[one], 2**62, int(source[at]), counts, history
        )
        assert np.argwhere(counts - before).tolist() == [[source[at], outcome[at]]]
        assert after[k].tobytes() == rows[slot_row[slot[at]]].tobytes()
    assert rows.tobytes() == traced.tobytes()
    assert counted.tolist() == counts.tolist()

    mean, variance = np.empty((m, model.size)), np.empty((m, model.size))
    instants = t_ns[index[:m]] + SECOND * np.arange(m)
    tracer.predict_each(after, np.arange(m), instants, mean, variance)
    single, spread = np.empty((1, model.size)), np.empty((1, model.size))
    for k in range(m):
        kernels.predict(after, np.array([k]), int(instants[k]), single, spread)
        np.testing.assert_array_equal(mean[k], single[0])
        np.testing.assert_array_equal(variance[k], spread[0])
