"""Likelihood evaluations a second and time to fit, beside statsmodels' maximum likelihood and SciPy with FilterPy.

The local level (a random walk in noise) is the case that all of them have; statsmodels needs `pip install '.[bench]'`.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.findings import Findings
from edgetwin.config.load import load
from edgetwin.engine import Engine
from edgetwin.fit.filters import twin_filters
from edgetwin.fit.likelihood import Likelihood
from edgetwin.fit.quantities import bounded, chosen
from edgetwin.fit.run import fit
from edgetwin.fit.samples import Selection, read_segments
from edgetwin.fit.search import Options
from edgetwin.fit.start import started

SAMPLES, CANDIDATES, T0 = 10_000, 32, 1_700_000_000
TRUTH = (0.3, 1.0)
LEVEL = """\
gateway: bench
sources: [{name: f, kind: csv, path: f.csv}]
twins: [{name: m, model: random_walk, signals: {z: {source: f, column: z}}}]
"""
TANK = """\
gateway: bench
sources: [{name: f, kind: csv, path: f.csv}]
twins:
  - name: m
    model: library/tank
    parameters: {a: 0.003}
    initial: {flow: 10, command: 0.25}
    signals: {level: {source: f, column: z, noise: 0.05}}
"""


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """One record: a linear model beside its peers, and a nonlinear one alone."""
    rng = np.random.default_rng(0)
    z = np.cumsum(rng.normal(0, TRUTH[0], SAMPLES)) + rng.normal(0, TRUTH[1], SAMPLES)
    record: dict[str, Any] = {"bench": "fit", "model": "random_walk", "samples": SAMPLES} | _ours(LEVEL, z)
    record |= _statsmodels(z)
    if not quick:
        record |= _filterpy(z)
    yield record
    yield {"bench": "fit", "model": "library/tank", "samples": SAMPLES} | _ours(TANK, _tank(rng), ("a", "noise.level"))


def _ours(text: str, z: NDArray[np.float64], parameters: tuple[str, ...] | None = None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = np.stack([T0 + 10 * np.arange(len(z)) if "tank" in text else T0 + np.arange(len(z)), z], axis=1)
        np.savetxt(folder / "f.csv", rows, fmt="%.17g", delimiter=",", header="t,z", comments="")
        (folder / "c.yaml").write_text(text)
        config = load(folder / "c.yaml", {})
        options = Options(parameters=parameters, starts=1)
        fit(config, 0, folder, options, _silent)  # compiles
        begun = time.perf_counter()
        result = fit(config, 0, folder, options, _silent)
        seconds = time.perf_counter() - begun
        engine, findings = Engine(config), Findings(config)
        segments = read_segments(findings, 0, engine, folder, Selection())
        instance = next(iter(engine.instances()))
        quantities = chosen(findings, 0, parameters, noise=False, initial=False)
        quantities = bounded(started(quantities, instance, segments), {})
        likelihood = Likelihood(twin_filters(engine, instance), segments, quantities)
        start = np.array([q.coordinate(q.value) for q in quantities])
        one = _rate(lambda: likelihood.evaluate(start[None]))
        many = CANDIDATES * _rate(lambda: likelihood.evaluate(np.tile(start, (CANDIDATES, 1))))
    return {
        "evaluations_per_s": one,
        f"evaluations_per_s_{CANDIDATES}_at_once": many,
        "fit_s": seconds,
        "evaluations": result.evaluations,
        "log_likelihood": result.log_likelihood[1],
    } | {f.quantity.name: f.value for f in result.fitted}


def _tank(rng: np.random.Generator) -> NDArray[np.float64]:
    """A tank that drains through an outlet of 0.002 m2 and is filled at random, every 10 s, by 2 s Euler steps."""
    level, levels = 1.0, np.empty(SAMPLES)
    kicks = rng.normal(0, 0.0005 * math.sqrt(2), (SAMPLES, 5)).tolist()
    for k, steps in enumerate(kicks):
        levels[k] = level
        for kick in steps:
            level = max(level + (10 / 3600 - 0.61 * 0.002 * math.sqrt(19.62 * max(level, 0.001))), 0.0) + kick
    return levels + rng.normal(0, 0.02, SAMPLES)


def _silent(what: str, iteration: int, value: float) -> None:
    """No progress is shown."""


def _statsmodels(z: NDArray[np.float64]) -> dict[str, Any]:
    try:
        from statsmodels.tsa.statespace.structural import UnobservedComponents
    except ImportError:
        return {}
    model = UnobservedComponents(z, "local level")
    begun = time.perf_counter()
    result = model.fit(disp=False)
    seconds = time.perf_counter() - begun
    noise, level = np.sqrt(result.params).tolist()
    return {
        "statsmodels_evaluations_per_s": _rate(lambda: model.loglike(result.params)),
        "statsmodels_fit_s": seconds,
        "statsmodels_process_noise": level,
        "statsmodels_noise": noise,
        "statsmodels_log_likelihood": float(result.llf),
    }


def _filterpy(z: NDArray[np.float64]) -> dict[str, Any]:
    """SciPy's L-BFGS-B over FilterPy's filter, on a tenth of the samples; the time is for all of them."""
    from filterpy.kalman import KalmanFilter
    from scipy.optimize import minimize

    part = z[: len(z) // 10]

    def loss(logs: NDArray[np.float64]) -> float:
        q, r = np.exp(2 * logs)
        kf = KalmanFilter(dim_x=1, dim_z=1)
        kf.F = kf.H = np.eye(1)
        kf.x, kf.P, kf.Q, kf.R = part[:1].reshape(1, 1), np.eye(1) * r, np.eye(1) * q, np.eye(1) * r
        total = 0.0
        for value in part[1:]:
            kf.predict()
            s = float(kf.P[0, 0] + r)
            kf.update(value)
            total += 0.5 * (math.log(2 * math.pi * s) + float(kf.y[0, 0]) ** 2 / s)
        return total

    begun = time.perf_counter()
    result = minimize(loss, np.log([0.5, 0.5]), method="L-BFGS-B")
    seconds = 10 * (time.perf_counter() - begun)
    return {"filterpy_evaluations_per_s": result.nfev / seconds, "scipy_filterpy_fit_s": seconds}


def _rate(act: Callable[[], object], rounds: int = 7) -> float:
    """Calls a second, the best of several."""
    best = math.inf
    for _ in range(rounds):
        begun = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - begun)
    return 1 / best
