"""Simulated assets: the equations of a model integrated in NumPy, many at once.

Euler-Maruyama in many fine steps, with Heun's correction of the drift: noise is additive, so both converge alike, and
deterministic transients are followed to second order (Kloeden, Platen, "Numerical Solution of Stochastic Differential
Equations", 1992, section 15.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.model.reference import many, values_of
from tests.model.rig import SECOND, T0, rig

Inputs = Callable[[int, Mapping[str, Any], np.random.Generator], Mapping[str, Any]]


@dataclass(frozen=True)
class Scene:
    """How a model is run: sampling interval in s, Euler steps in it, noise of each sensor, inputs at each sample.

    ``inputs(k, states, rng)`` gives what changes at sample k, for all runs or for each. ``every``: a sensor is heard at
    each n-th sample. ``signals``: the sensors there are; all by default.
    """

    dt: float
    noise: dict[str, float]
    inputs: Inputs = lambda k, x, rng: {}
    fine: int = 30
    steps: int = 60
    parameters: dict[str, float] = field(default_factory=dict)
    every: dict[str, int] = field(default_factory=dict)


def coverage(name: str, scene: Scene, runs: int, seed: int) -> dict[str, float]:
    """Share of (run, sample) at which each true state lies within 1.96 standard deviations of its estimate."""
    rng = np.random.default_rng(seed)
    r = rig(name, runs, scene.noise, [*scene.noise, *_inputs_of(name)], parameters=scene.parameters)
    model = r.model
    low = np.array([[-np.inf if s.min is None else s.min] for s in model.states.values()])
    high = np.array([[np.inf if s.max is None else s.max] for s in model.states.values()])
    initial = np.array([[s.initial] for s in model.states.values()])
    x = np.clip(initial + np.array(model.stds)[:, None] * rng.normal(size=(model.size, runs)), low, high)
    held: dict[str, Any] = dict(model.inputs)
    parameters = model.parameters | scene.parameters
    q = np.array(model.process_noise)[:, None]
    inside = np.zeros(model.size)
    for k in range(scene.steps):
        if k:
            h = scene.dt / scene.fine
            for _ in range(scene.fine):
                shock = np.sqrt(h) * q * rng.normal(size=x.shape)
                first = many(model.dynamics, values_of(model, x, held, parameters), x[0])
                guess = np.clip(x + h * first + shock, low, high)
                second = many(model.dynamics, values_of(model, guess, held, parameters), x[0])
                x = np.clip(x + h / 2 * (first + second) + shock, low, high)
        changed = scene.inputs(k, dict(zip(model.states, x, strict=True)), rng)
        held |= changed
        t = T0 + k * round(scene.dt * SECOND)
        for signal, value in changed.items():
            r.feed([s[signal] for s in r.slots], np.full(runs, t), np.broadcast_to(value, runs))
        for signal, noise in scene.noise.items():
            if k % scene.every.get(signal, 1) == 0:
                z = many([model.measurements[signal]], values_of(model, x, held, parameters), x[0])[0]
                r.feed([s[signal] for s in r.slots], np.full(runs, t), z + noise * rng.normal(size=runs))
        mean, std = r.bank.predict(np.arange(runs), t)
        inside += (np.abs(mean.T - x) <= 1.96 * std.T).sum(1)
    assert not r.bank.rows["resets"].any()
    return dict(zip(model.states, inside / (runs * scene.steps), strict=True))


def _inputs_of(name: str) -> list[str]:
    return list(rig(name).model.inputs)
