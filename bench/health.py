"""Health of filters: what it costs, how often it is wrong, and which faults it tells apart.

Simulated assets and their faults come from tests/engine/assets.py. Costs are beside those of the filter update that
they follow, on 10,000 twins in random order.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgetwin.engine.bank import SignalBank
from edgetwin.engine.health import KINDS, Health
from edgetwin.kernels.health import WARMUP
from edgetwin.model.builtin import BUILTIN
from edgetwin.model.compiler import compile_model
from tests.engine.assets import (
    NODES,
    ROOM,
    TANK,
    TURBINE,
    VITALS,
    Asset,
    Fault,
    biased,
    drifting,
    noisy,
    silent,
    spiking,
    steps,
    stuck,
    told,
)  # fmt: skip
from tests.engine.build import config, twin

TWINS, BATCH, ROUNDS = 10_000, 200_000, 9
RUNS, SAMPLES, ONSET, SEED = 40, 800, 200, 1

CASES: dict[str, tuple[Asset, Fault | None]] = {
    "nodes: nothing": (NODES, None),
    "nodes: core +5 K": (NODES, Fault(ONSET, {"core": biased(5.0)})),
    "nodes: core +2 K": (NODES, Fault(ONSET, {"core": biased(2.0)})),
    "nodes: case -5 K": (NODES, Fault(ONSET, {"case": biased(-5.0)})),
    "nodes: core drifts": (NODES, Fault(ONSET, {"core": drifting(0.03)})),
    "nodes: core stuck": (NODES, Fault(ONSET, {"core": stuck()})),
    "nodes: core noisy": (NODES, Fault(ONSET, {"core": noisy(1.0)})),
    "nodes: core spikes": (NODES, Fault(ONSET, {"core": spiking(10.0)})),
    "nodes: core silent": (NODES, Fault(ONSET, {"core": silent()})),
    "nodes: heat into core": (NODES, Fault(ONSET, drift={"core": 0.1})),
    "nodes: heat into case": (NODES, Fault(ONSET, drift={"case": 0.05})),
    "nodes: Rsa halved": (NODES, Fault(ONSET, parameters={"Rsa": 0.4})),
    "nodes: Rcs doubled": (NODES, Fault(ONSET, parameters={"Rcs": 0.4})),
    "nodes: Rcs +30 %": (NODES, Fault(ONSET, parameters={"Rcs": 0.26})),
    "nodes: process noise x 5": (NODES, Fault(ONSET, shake=5.0)),
    "tank: nothing": (TANK, None),
    "tank: level +0.2 m": (TANK, Fault(ONSET, {"level": biased(0.2)})),
    "tank: flow +5 m3/h": (TANK, Fault(ONSET, {"flow": biased(5.0)})),
    "tank: outflow +3 m3/h": (TANK, Fault(ONSET, {"outflow": biased(3.0)})),
    "tank: leak": (TANK, Fault(ONSET, drift={"level": -0.0005})),
    "tank: pump at 75 %": (TANK, Fault(ONSET, parameters={"q_max": 30.0})),
    "room: nothing": (ROOM, None),
    "room: indoor +2 K": (ROOM, Fault(ONSET, {"indoor": biased(2.0)})),
    "room: window open": (ROOM, Fault(ONSET, drift={"indoor": -0.0005})),
    "turbine: nothing": (TURBINE, None),
    "turbine: fuel flow +0.1": (TURBINE, Fault(ONSET, {"fuel_flow": biased(0.1)})),
    "turbine: egt +20 K": (TURBINE, Fault(ONSET, {"egt": biased(20.0)})),
    "vitals: nothing": (VITALS, None),
    "vitals: spo2 sensor -5 %": (VITALS, Fault(ONSET, {"spo2": biased(-5.0)})),
    "vitals: spo2 of the patient": (VITALS, Fault(ONSET, parameters={"spo2_set": 88.0})),
    "vitals: shock": (VITALS, Fault(ONSET, parameters={"pressure_set": 60.0})),
}


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """The costs, then for each case how many of RUNS twins were told what, and the median samples until then."""
    yield {"bench": "health_cost", **_cost()}
    for name, (asset, fault) in CASES.items():
        if not quick or name.startswith("nodes"):
            yield {"bench": "health_faults", "case": name, **_confusion(asset, fault)}


def _cost() -> dict[str, float]:
    bank = SignalBank(BUILTIN["constant_velocity"], compile_model(BUILTIN["constant_velocity"]))
    health = Health([bank])
    twins = config([twin(f"m{k}", "constant_velocity", signal={"topic": f"t{k}"}) for k in range(TWINS)]).twins
    for k, spec in enumerate(twins):
        bank.add(spec.name, k, spec)
        health.add(0, k, k, 0)
    rng = np.random.default_rng(0)
    slot = np.concatenate([rng.permutation(TWINS) for _ in range(BATCH // TWINS)]).astype(np.int32)
    bank_of, place = np.zeros(TWINS, np.int16), np.arange(TWINS, dtype=np.int32)
    counts = np.zeros((1, 9), np.int64)
    filtering, noting, judging = [], [], []
    now = 10**18
    for _ in range(ROUNDS):
        spent = [0.0, 0.0]
        for part in np.split(slot, BATCH // TWINS):
            now += 10**9
            t, z = np.full(TWINS, now), 20 + rng.normal(0, 0.5, TWINS)
            begun = time.perf_counter()
            bank.kernels.update(bank.rows, bank_of, place, 0, part, t, z, 2**62, 0, counts, bank.history)
            between = time.perf_counter()
            health.feed(0, part, bank_of)
            spent[0] += between - begun
            spent[1] += time.perf_counter() - between
        filtering.append(spent[0] / BATCH)
        noting.append(spent[1] / BATCH)
        begun = time.perf_counter()
        health.judge(now)
        judging.append((time.perf_counter() - begun) / TWINS)
    assert (bank.rows["fused"] > WARMUP).all()
    return {
        "filter_ns_per_sample": 1e9 * min(filtering),
        "health_ns_per_sample": 1e9 * min(noting),
        "judge_ns_per_signal": 1e9 * min(judging),
        "bytes_per_signal": float(health.slots.dtype.itemsize),
    }


def _confusion(asset: Asset, fault: Fault | None) -> dict[str, Any]:
    told_of: dict[int, str] = {}
    after: list[int] = []
    doubted, judged = 0, 0
    for k, engine in enumerate(steps(asset, fault, RUNS, SAMPLES, SEED)):
        for run, (what, where) in enumerate(told(engine, RUNS)):
            if what and run not in told_of:
                told_of[run] = f"{what} {where}"
                after.append(k - ONSET)
        if fault is None or k < ONSET:
            doubted, judged = doubted + int((engine.health.finding > 0).sum()), judged + len(engine.health.finding)
    outcome = Counter(told_of.get(run, "nothing") for run in range(RUNS))
    ends = {
        kind: int(n)
        for kind, n in zip(KINDS, np.bincount(engine.health.finding, minlength=len(KINDS)), strict=True)
        if n
    }
    return {
        "told": dict(outcome.most_common()),
        "median_samples": float(np.median(after)) if after else None,
        "findings_at_the_end": ends,
        "false_findings_per_judgement": doubted / judged,
    }
