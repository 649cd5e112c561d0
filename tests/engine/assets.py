"""Assets of the library with things going wrong, simulated many at once: truth, sensors, and the engine that hears them.

Truth by Euler-Maruyama with Heun's drift in ``fine`` steps for each sample, as in tests/model/plant.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgetwin.engine import Engine
from edgetwin.records import Batch
from tests.model.reference import many, values_of
from tests.model.rig import SECOND, T0, rig

Sensor = Callable[[int, np.ndarray, np.random.Generator], np.ndarray]
"""From samples since the onset, what a good sensor would tell and random numbers to what this one tells (NaN: nothing)."""


@dataclass(frozen=True)
class Asset:
    """How a library model is run: seconds between samples, noise of each sensor, inputs at each sample."""

    model: str
    dt: float
    noise: Mapping[str, float]
    inputs: Callable[[int], Mapping[str, float]] = lambda k: {}
    fine: int = 10


@dataclass(frozen=True)
class Fault:
    """What goes wrong from sample ``onset`` on: ``sensors`` by signal; ``drift`` added to the derivative of states;
    ``parameters`` as they then are; ``noise`` factors on the process noise."""

    onset: int = 200
    sensors: Mapping[str, Sensor] = field(default_factory=dict)
    drift: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    shake: float = 1.0


def biased(by: float) -> Sensor:
    """A constant error."""
    return lambda k, z, rng: z + by


def drifting(per_sample: float) -> Sensor:
    """An error that grows."""
    return lambda k, z, rng: z + per_sample * k


def noisy(std: float) -> Sensor:
    """More noise."""
    return lambda k, z, rng: z + std * rng.normal(size=z.shape)


def spiking(size: float, share: float = 0.05) -> Sensor:
    """Single values far off."""
    return lambda k, z, rng: z + size * (rng.random(z.shape) < share)


def silent() -> Sensor:
    """Nothing more."""
    return lambda k, z, rng: np.full(z.shape, np.nan)


def stuck() -> Sensor:
    """The first value for ever."""
    held: list[np.ndarray] = []

    def tell(k: int, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if k == 0:
            held[:] = [z.copy()]
        return held[0]

    return tell


def run(
    asset: Asset, fault: Fault | None = None, runs: int = 20, samples: int = 800, seed: int = 0, **extra: Any
) -> Engine:
    """An engine of ``runs`` twins that has heard ``samples`` of every signal; NaN is not sent."""
    return deque(steps(asset, fault, runs, samples, seed, **extra), maxlen=1)[0]


def steps(asset: Asset, fault: Fault | None, runs: int, samples: int, seed: int, **extra: Any) -> Iterator[Engine]:
    """As run, after each sample."""
    fault = fault or Fault(onset=samples)
    rng = np.random.default_rng(seed)
    names = list(rig(asset.model).model.inputs)
    extra = {"gate": 5.0} | extra
    r = rig(asset.model, runs, dict(asset.noise), [*asset.noise, *names], **extra)
    model = r.model
    low = np.array([[-np.inf if s.min is None else s.min] for s in model.states.values()])
    high = np.array([[np.inf if s.max is None else s.max] for s in model.states.values()])
    x = np.repeat([[s.initial] for s in model.states.values()], runs, axis=1)
    x = np.clip(x + 0.3 * np.array(model.stds)[:, None] * rng.normal(size=x.shape), low, high)
    held: dict[str, Any] = dict(model.inputs)
    h = asset.dt / asset.fine
    for k in range(samples):
        wrong = k >= fault.onset
        parameters = dict(model.parameters) | (dict(fault.parameters) if wrong else {})
        push = np.array([[fault.drift.get(s, 0.0) if wrong else 0.0] for s in model.states])
        q = np.array(model.process_noise)[:, None] * (fault.shake if wrong else 1.0)
        for _ in range(asset.fine if k else 0):
            shock = np.sqrt(h) * q * rng.normal(size=x.shape)
            first = many(model.dynamics, values_of(model, x, held, parameters), x[0]) + push
            guess = np.clip(x + h * first + shock, low, high)
            second = many(model.dynamics, values_of(model, guess, held, parameters), x[0]) + push
            x = np.clip(x + h / 2 * (first + second) + shock, low, high)
        held |= asset.inputs(k)
        t = T0 + k * round(asset.dt * SECOND)
        slots = [[s[name] for s in r.slots] for name in [*asset.inputs(k), *asset.noise]]
        values = [np.full(runs, value) for value in asset.inputs(k).values()]
        for name, noise in asset.noise.items():
            z = many([model.measurements[name]], values_of(model, x, held, model.parameters), x[0])[0]
            z = z + noise * rng.normal(size=runs)
            values.append(fault.sensors[name](k - fault.onset, z, rng) if wrong and name in fault.sensors else z)
        slot, value = np.array(slots, np.int32).ravel(), np.concatenate(values)
        sent = ~np.isnan(value)
        r.engine.ingest(0, Batch(slot[sent], np.full(sent.sum(), t), value[sent]), t)
        yield r.engine


def told(engine: Engine, signals: int) -> list[tuple[str, str]]:
    """(fault, signal) of the first event of each of the twins m0, m1…; ("", "") where there is none."""
    first: dict[str, tuple[str, str]] = {}
    for event in engine.events.take():
        if event.kind == "sensor_fault":
            first.setdefault(str(event.data["twin"]), (str(event.data["fault"]), str(event.data["signal"])))
        elif event.kind == "process_change":
            first.setdefault(
                str(event.data["twin"]), ("process_change", f"{event.data['state']}/{event.data['parameter']}")
            )
    return [first.get(f"m{k}", ("", "")) for k in range(signals)]


NODES = Asset(
    "library/thermal_two_node",
    5.0,
    {"core": 0.3, "case": 0.3},
    lambda k: {"power": 60.0 if (k // 120) % 2 else 20.0, "ambient": 20.0} if k % 120 == 0 else {},
)
TANK = Asset(
    "library/tank",
    5.0,
    {"level": 0.01, "flow": 0.5, "outflow": 0.5},
    lambda k: {"command": 0.6 if (k // 100) % 2 else 0.4} if k % 100 == 0 else {},
)
ROOM = Asset(
    "library/building_rc",
    300.0,
    {"indoor": 0.2, "envelope": 0.2},
    lambda k: {"heating": 1000.0 if (k // 48) % 2 else 0.0, "solar": 0.0, "outdoor": 5.0} if k % 48 == 0 else {},
)
VITALS = Asset("library/vitals", 5.0, {"heart_rate": 1.5, "spo2": 0.8, "pressure": 4.0, "temperature": 0.1})
TURBINE = Asset(
    "library/gas_turbine",
    1.0,
    {"speed": 0.001, "egt": 2.0, "fuel_flow": 0.01},
    lambda k: {"fuel": 0.6 if (k // 100) % 2 else 0.5, "load": 0.4} if k % 100 == 0 else {},
)
BATTERY = Asset(
    "library/battery",
    10.0,
    {"voltage": 0.01},
    lambda k: {"current": 0.4 if (k // 30) % 2 else 0.0} if k % 30 == 0 else {},
)
