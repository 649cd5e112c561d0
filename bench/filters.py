"""Nanoseconds per filter update beside FilterPy, on 10,000 twins in random order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_model
from edgetwin.model.ordering import make_history
from edgetwin.model.structural import row_of

TWINS, BATCH, ROUNDS = 10_000, 200_000, 7


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """One record per built-in model; the best of several rounds for both."""
    for name, model in BUILTIN.items():
        ours = _ours(name)
        record: dict[str, Any] = {
            "bench": "filter",
            "model": name,
            "states": model.size,
            "ns_per_update": ours,
        }
        if not quick or name == "constant_velocity":
            theirs = _filterpy(model.size)
            record |= {"filterpy_ns_per_update": theirs, "times_faster_than_filterpy": theirs / ours}
        yield record


def _ours(name: str) -> float:
    model = BUILTIN[name]
    rows = np.zeros(TWINS, row_of(model))
    rows["scale"], rows["lo"], rows["hi"], rows["gate"], rows["reject_max"] = 1.0, -1e9, 1e9, 25.0, 5
    rows["r"], rows["q"], rows["tau"], rows["spread"] = 0.01, 1e-3, 10.0, 1.0
    rows["learn"] = 3 if name == "auto" else 0
    rng = np.random.default_rng(0)
    slot = rng.integers(0, TWINS, BATCH).astype(np.int32)
    t = 10**18 + np.arange(BATCH, dtype=np.int64) * 10**6
    z = 20 + rng.normal(0, 0.1, BATCH)
    update = compile_model(model).update
    bank, place, counts = np.zeros(TWINS, np.int16), np.arange(TWINS, dtype=np.int32), np.zeros((1, 9), np.int64)
    history = make_history(rows.dtype, 0, 2)
    best = np.inf
    for _ in range(ROUNDS):
        t += BATCH * 10**6
        start = time.perf_counter()
        update(rows, bank, place, 0, slot, t, z, 2**62, 0, counts, history)
        best = min(best, time.perf_counter() - start)
    return best / BATCH * 1e9


def _filterpy(n: int) -> float:
    from filterpy.common import Q_continuous_white_noise
    from filterpy.kalman import KalmanFilter

    kf = KalmanFilter(dim_x=n, dim_z=1)
    kf.H = np.eye(1, n)
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        for k in range(2_000):
            dt = 0.5 + 0.1 * (k % 3)
            kf.F = np.triu(np.full((n, n), dt), 1) + np.eye(n)
            kf.Q = Q_continuous_white_noise(n, dt, 0.01) if n > 1 else np.array([[0.01 * dt]])
            kf.predict()
            kf.update(20.0)
        best = min(best, time.perf_counter() - start)
    return best / 2_000 * 1e9
