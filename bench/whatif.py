"""A what-if of 1,000 members, 1,000 steps and 4 states beside the same arithmetic in vectorised NumPy.

The model is a chain of three bodies and their surface, with heat input, conduction and radiation; NumPy takes the same
fourth-order Runge-Kutta steps, with the same splitting of the noise, over arrays of all members, and the same
quantiles. ``cpu_ms`` is processor time of all threads, which other work on the machine disturbs least.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetwin.config.equations import equation_model
from edgetwin.config.schema import UserModel
from edgetwin.engine.forks import initial
from edgetwin.engine.scenario import QUANTILES, Normal, Scenario
from edgetwin.engine.schedules import Schedule
from edgetwin.engine.whatif import Simulator

MEMBERS, STEPS, ROUNDS = 1000, 1000, 9
NAMES = ("a", "b", "c", "s")
MODEL = {
    "name": "bodies",
    "states": {name: {"initial": 60.0, "std": 2.0} for name in NAMES},
    "inputs": {"power": {"initial": 0.0}},
    "parameters": {"k": 0.02},
    "derivatives": {
        "a": "power - k * (a - b)",
        "b": "k * (a - b) - k * (b - c)",
        "c": "k * (b - c) - k * (c - s)",
        "s": "k * (c - s) - 1e-11 * ((s + 273.15)**4 - 293.15**4)",
    },
    "process_noise": dict.fromkeys(NAMES, 0.05),
    "measurements": {"a": "a"},
}

F64 = NDArray[np.float64]


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """With and without process noise, on one thread and on all; the best of several rounds for both."""
    fork = initial(equation_model(msgspec.convert(MODEL, UserModel)))
    inputs, parameters = {"power": Schedule.constant(0.2)}, {"k": Normal(0.02, 0.002)}
    processors = len(os.sched_getaffinity(0))
    for noise in (True,) if quick else (True, False):
        scenario = Scenario(float(STEPS), 1.0, MEMBERS, inputs, parameters, noise=noise)
        theirs = _best(lambda noise=noise: _numpy(noise), 3)
        for threads in sorted({1, processors}):
            simulator = Simulator(threads)
            ours = _best(lambda s=simulator, w=scenario: s.run(fork, w), ROUNDS)
            yield {
                "bench": "whatif",
                "members": MEMBERS,
                "steps": STEPS,
                "states": len(NAMES),
                "noise": noise,
                "threads": threads,
                "ms": 1e3 * ours[0],
                "cpu_ms": 1e3 * ours[1],
                "numpy_ms": 1e3 * theirs[0],
                "numpy_cpu_ms": 1e3 * theirs[1],
                "times_less_cpu_than_numpy": theirs[1] / ours[1],
            }
    built = _numpy(True)
    run = Simulator().run(fork, Scenario(float(STEPS), 1.0, MEMBERS, inputs, parameters))
    means = np.array([run.states[name].mean[-1] for name in NAMES])
    yield {"bench": "whatif", "largest_difference_of_means": float(np.abs(means - built[0, :, -1]).max())}


def _best(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Least wall time and least processor time, s."""
    work()
    best = np.full(2, np.inf)
    for _ in range(rounds):
        begun = time.perf_counter(), time.process_time()
        work()
        best = np.minimum(best, [time.perf_counter() - begun[0], time.process_time() - begun[1]])
    return float(best[0]), float(best[1])


def _numpy(noise: bool) -> F64:
    rng = np.random.default_rng(0)
    x = 60 + 2 * rng.standard_normal((4, MEMBERS))
    k = 0.02 + 0.002 * rng.standard_normal(MEMBERS)
    out = np.empty((STEPS + 1, 4, MEMBERS))
    out[0] = x
    for step in range(STEPS):
        half = 0.025 * rng.standard_normal((4, MEMBERS)) if noise else 0.0
        x = x + half
        k1 = _flow(x, k)
        k2 = _flow(x + 0.5 * k1, k)
        k3 = _flow(x + 0.5 * k2, k)
        k4 = _flow(x + k3, k)
        x = x + (k1 + 2 * (k2 + k3) + k4) / 6 + half
        out[step + 1] = x
    described = [out.mean(axis=-1), out.std(axis=-1, ddof=1), *np.quantile(out, QUANTILES, axis=-1)]
    return np.array(described).transpose(0, 2, 1)


def _flow(x: F64, k: F64) -> F64:
    first, second, third = k * (x[0] - x[1]), k * (x[1] - x[2]), k * (x[2] - x[3])
    kelvin = x[3] + 273.15
    square = kelvin * kelvin
    radiated = 1e-11 * (square * square - 293.15**4)
    return np.stack([0.2 - first, first - second, second - third, third - radiated])
