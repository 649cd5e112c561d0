"""Nanoseconds of CPU per filter update beside FilterPy, simdkalman and hand-written C; 10,000 twins in random order.

Every update is a time step and the fusion of one scalar. ``ns_regular``: the interval repeats, so that linear models
use their last transition again; ``ns_irregular``: no interval is like the last. ``ns_short``, of nonlinear models: an
interval that one midpoint step spans; an ordinary one takes as many Runge-Kutta steps as the dynamics need. The peers
do less: fixed matrices, no gate, no bounds, no learning, no check of the sample.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import peers
from bench.fleet import SCENES, TWINS, Fleet
from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_model
from edgetwin.model.ordering import make_history
from edgetwin.model.structural import row_of
from edgetwin.model.structure import linear_structure

BATCH, ROUNDS = 200_000, 7


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """One record per built-in model, then per model of the library, extended and unscented."""
    for name, model in BUILTIN.items():
        record: dict[str, Any] = {"bench": "filter", "model": name, "states": model.size}
        record["ns_per_update"] = _builtin(name)
        yield record | ({} if quick and name != "constant_velocity" else _peers(model.size, "kf"))
    for name in ["tank", "vitals"] if quick else SCENES:
        yield _library(name, "ekf")
        if linear_structure(Fleet(name, "ekf").model) is None and not quick:  # of linear models both are the same
            yield _library(name, "ukf")
    yield from _native()


def _library(name: str, kind: str) -> dict[str, Any]:
    fleet = Fleet(name, kind)
    is_linear = linear_structure(fleet.model) is not None
    record: dict[str, Any] = {"bench": "filter", "model": f"library/{name}", "states": fleet.model.size}
    record |= {"filter": kind, "linear": is_linear, "interval_s": fleet.scene.interval}
    record["ns_regular"] = fleet.ns_per_update(fleet.scene.interval)
    record["ns_irregular"] = fleet.ns_per_update(fleet.scene.interval, irregular=True)
    if not is_linear:
        record["ns_short"] = fleet.ns_per_update(fleet.scene.short, irregular=True)
    return record | _peers(fleet.model.size, "kf" if is_linear else kind)


def _peers(n: int, kind: str) -> dict[str, Any]:
    found = {"filterpy_ns": peers.filterpy(n, kind), "simdkalman_ns": peers.simdkalman(n) if kind == "kf" else None}
    return {name: value for name, value in found.items() if value is not None}


def _native() -> Iterator[dict[str, Any]]:
    try:
        for n in (1, 2, 3, 4):
            yield {"bench": "filter", "model": "C, linear", "states": n, "ns_per_update": peers.Native(n).linear()}
        yield {"bench": "filter", "model": "C, library/tank", "states": 2, "ns_short": peers.Native(2).tank()}
    except FileNotFoundError:
        yield {"bench": "filter", "model": "C", "skipped": "gcc is not installed"}


def _builtin(name: str) -> float:
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
        start = time.thread_time()
        update(rows, bank, place, 0, slot, t, z, 2**62, 0, counts, history)
        best = min(best, time.thread_time() - start)
    return best / BATCH * 1e9
