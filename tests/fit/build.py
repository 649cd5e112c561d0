"""Simulated recordings with known truth, and configurations that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.fit.run import Result, fit
from edgetwin.fit.samples import Selection
from edgetwin.fit.search import Options
from tests.replay.build import T0, configured
from tests.replay.build import write as write_rows

HEAD = """\
gateway: g
sources:
  - {name: f, kind: csv, path: f.csv}
"""

LAG = (
    HEAD
    + """\
models:
  - name: lag
    states: {x: {initial: 0, std: 5}}
    inputs: {u: {}}
    parameters: {a: 0.1, b: 1.0}
    derivatives: {x: "b*u - a*x"}
    process_noise: {x: 0.5}
    measurements: {z: x}
twins:
  - name: m
    model: lag
    signals:
      z: {source: f, column: z, noise: 0.2}
      u: {source: f, column: u}
"""
)
LAG_TRUTH = {"a": 0.05, "b": 0.5, "process_noise.x": 0.2, "noise.z": 0.5}

TANK = (
    HEAD
    + """\
twins:
  - name: m
    model: library/tank
    parameters: {a: 0.003, q_max: 30}
    signals:
      level: {source: f, column: level, noise: 0.05}
      command: {source: f, column: command}
"""
)
TANK_TRUTH = {"a": 0.002, "q_max": 40.0, "noise.level": 0.02}


def write(path: Path, columns: dict[str, NDArray[np.float64]]) -> None:
    """A CSV of columns; NaN is an empty cell."""
    rows = zip(*columns.values(), strict=True)
    write_rows(path, list(columns), (["" if np.isnan(v) else float(v) for v in row] for row in rows))


def lag(
    seed: int, n: int = 800, truth: dict[str, float] = LAG_TRUTH, dt: float = 1.0
) -> dict[str, NDArray[np.float64]]:
    """The lag, discretised exactly: an input that steps, an Ornstein-Uhlenbeck state, a noisy measurement."""
    rng = np.random.default_rng(seed)
    a, b = truth["a"], truth["b"]
    decay = np.exp(-a * dt)
    std = truth["process_noise.x"] * np.sqrt((1 - decay**2) / (2 * a))
    u = np.repeat(rng.uniform(-2, 2, n // 40 + 1), 40)[:n]
    x = np.zeros(n)
    for k in range(1, n):
        x[k] = decay * x[k - 1] + (1 - decay) / a * b * u[k - 1] + rng.normal(0, std)
    return {"t": T0 + dt * np.arange(n), "z": x + rng.normal(0, truth["noise.z"], n), "u": u}


def tank(seed: int, n: int = 600, truth: dict[str, float] = TANK_TRUTH) -> dict[str, NDArray[np.float64]]:
    """The library's tank (Torricelli), by small Euler-Maruyama steps, sampled every 10 s."""
    rng = np.random.default_rng(seed)
    area, cd, g, tau, steps = 2.0, 0.61, 9.81, 5.0, 200
    h = 10.0 / steps
    command = np.repeat(rng.uniform(0.2, 0.8, n // 60 + 1), 60)[:n]
    level, flow = 1.0, 0.0
    levels = np.zeros(n)
    for k in range(n):
        levels[k] = level
        noise = rng.normal(0, np.sqrt(h), (steps, 2)) * (0.0005, 0.2)
        for dw_level, dw_flow in noise.tolist():
            out = cd * truth["a"] * np.sqrt(2 * g * max(level, 0.001))
            level = max(level + h * (flow / 3600 - out) / area + dw_level, 0.0)
            flow = max(flow + h * (truth["q_max"] * command[k] - flow) / tau + dw_flow, 0.0)
    return {"t": T0 + 10.0 * np.arange(n), "level": levels + rng.normal(0, truth["noise.level"], n), "command": command}


def run(folder: Path, text: str, progress: Any = None, twin: int = 0, selection: Any = None, **options: Any) -> Result:
    """Fit a twin of a configuration in ``folder``."""
    made = Options(selection=Selection(**(selection or {})), **options)
    config = configured(folder, text, "c.yaml")
    return fit(config, twin, folder, made, progress or (lambda what, iteration, value: None))


def values(result: Result) -> dict[str, tuple[float, float]]:
    """Value and standard error by name."""
    return {f.quantity.name: (f.value, f.std) for f in result.fitted}
