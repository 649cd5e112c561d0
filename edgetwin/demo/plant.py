"""The simulated factory: 16 ovens, 12 pumps and 8 presses, with three things going wrong.

Plain first-order physics in numpy, without I/O and without clocks: `step` is told how much time has passed,
the readings are what the sensors would say now. What goes wrong is in `SCRIPT`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OVENS = tuple(f"oven-{i:02}" for i in range(1, 17))
PUMPS = tuple(f"pump-{i:02}" for i in range(1, 13))
PRESSES = tuple(f"press-{i:02}" for i in range(1, 9))
MACHINES = OVENS + PUMPS + PRESSES

AMBIENT_C = 22.0
STEP_MAX_S = 0.2


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that goes wrong ``after_s`` seconds of plant time, and what a watcher sees of it."""

    machine: str
    after_s: float
    what: str
    watch: str


DRIFTING = Trouble("oven-07", 15.0, "its thermometer drifts by 0.1 degC/s", "temp climbs while power does not follow")
STUCK = Trouble("pump-09", 30.0, "its flow meter sticks", "flow stands still while pressure moves")
FAILING = Trouble("pump-05", 60.0, "a bearing fails", "vibration rises fivefold, pressure sinks by a third")
SCRIPT = (DRIFTING, STUCK, FAILING)

DRIFT_C_PER_S = 0.1
FAULT_RAMP_S = 25.0


@dataclass(frozen=True, slots=True)
class OvenReading:
    """``temp`` in degC, ``power`` in kW."""

    temp: float
    power: float


@dataclass(frozen=True, slots=True)
class PumpReading:
    """``pressure`` in bar, ``flow`` in m3/h, ``vibration`` in mm/s (RMS)."""

    pressure: float
    flow: float
    vibration: float


@dataclass(frozen=True, slots=True)
class PressReading:
    """``force`` in kN, ``oil`` (temperature of the hydraulic oil) in degC, ``strokes`` since the start."""

    force: float
    oil: float
    strokes: int


class Plant:
    """The state of every machine. ``seed`` fixes all that is random."""

    def __init__(self, seed: int = 0) -> None:
        self.t_s = 0.0
        self._rng = np.random.default_rng(seed)
        self._ovens = _Ovens(self._rng)
        self._pumps = _Pumps(self._rng)
        self._presses = _Presses(self._rng)

    def step(self, dt_s: float) -> None:
        """Let ``dt_s`` seconds pass; long steps are cut to `STEP_MAX_S`."""
        steps = max(1, math.ceil(dt_s / STEP_MAX_S))
        for _ in range(steps):
            self.t_s += dt_s / steps
            self._ovens.step(self.t_s, dt_s / steps)
            self._pumps.step(self.t_s, dt_s / steps)
            self._presses.step(self.t_s, dt_s / steps)

    def oven(self, i: int) -> OvenReading:
        """What the sensors of ``OVENS[i]`` say now."""
        ovens, drift_s = self._ovens, self.t_s - DRIFTING.after_s
        temp = ovens.temp[i] + self._noise(0.4)
        if OVENS[i] == DRIFTING.machine and drift_s > 0:
            temp += DRIFT_C_PER_S * drift_s
        return OvenReading(float(temp), float(max(0.0, ovens.power[i] + self._noise(0.05))))

    def pump(self, i: int) -> PumpReading:
        """What the sensors of ``PUMPS[i]`` say now."""
        pumps = self._pumps
        flow = pumps.flow[i] + self._noise(0.3)
        if PUMPS[i] == STUCK.machine and self.t_s >= STUCK.after_s:
            flow = pumps.stuck_flow(i)
        vibration = pumps.vibration[i] * (1.0 + self._noise(0.06))
        return PumpReading(float(pumps.pressure[i] + self._noise(0.02)), float(flow), float(vibration))

    def press(self, i: int) -> PressReading:
        """What the registers of ``PRESSES[i]`` say now."""
        presses = self._presses
        force = max(0.0, presses.force(i) + self._noise(0.4))
        return PressReading(float(force), float(presses.oil[i] + self._noise(0.1)), int(presses.strokes[i]))

    def _noise(self, std: float) -> float:
        return float(self._rng.normal(0.0, std))


class _Ovens:
    """C dT/dt = P − k (T − ambient); a proportional controller with bias sets P towards the setpoint."""

    def __init__(self, rng: np.random.Generator) -> None:
        n = len(OVENS)
        self._rng = rng
        self._loss = rng.uniform(0.07, 0.10, n)  # kW/K
        self._capacity = self._loss * rng.uniform(40.0, 70.0, n)  # kJ/K: a time constant of 40 to 70 s
        self._target = rng.uniform(160.0, 220.0, n)
        self._change_at = rng.uniform(10.0, 120.0, n)
        self.temp: Floats = self._target.copy()
        self.power: Floats = self._loss * (self.temp - AMBIENT_C)

    def step(self, t_s: float, dt_s: float) -> None:
        for i in np.flatnonzero(self._change_at <= t_s):
            self._change_at[i] = t_s + self._rng.uniform(60.0, 180.0)
            if OVENS[i] != DRIFTING.machine:  # a steady setpoint, so that the drift is plain to see
                self._target[i] = self._rng.uniform(160.0, 220.0)
        holding = self._loss * (self._target - AMBIENT_C)
        wanted = np.clip(holding + 0.8 * (self._target - self.temp), 0.0, 40.0)
        self.power += (wanted - self.power) * (1.0 - math.exp(-dt_s / 2.0))
        self.temp += dt_s * (self.power - self._loss * (self.temp - AMBIENT_C)) / self._capacity


class _Pumps:
    """Flow follows a wandering demand, pressure the pump curve, vibration flow and wear."""

    def __init__(self, rng: np.random.Generator) -> None:
        n = len(PUMPS)
        self._rng = rng
        self._nominal = rng.uniform(35.0, 55.0, n)
        self._demand = self._nominal.copy()
        self._stuck: dict[int, float] = {}
        self.flow: Floats = self._demand.copy()
        self.pressure: Floats = self._curve(0.0)
        self.vibration: Floats = rng.uniform(1.4, 2.2, n)
        self._smooth = self.vibration.copy()

    def step(self, t_s: float, dt_s: float) -> None:
        n = len(PUMPS)
        self._demand += dt_s * (self._nominal - self._demand) / 40.0
        self._demand += math.sqrt(dt_s) * self._rng.normal(0.0, 0.8, n)
        self.flow += (self._demand - self.flow) * (1.0 - math.exp(-dt_s / 1.5))
        wear = min(1.0, max(0.0, (t_s - FAILING.after_s) / FAULT_RAMP_S))
        self.pressure += (self._curve(wear) - self.pressure) * (1.0 - math.exp(-dt_s / 0.8))
        self.vibration = self._smooth * (0.7 + 0.3 * self.flow / self._nominal)
        self.vibration[PUMPS.index(FAILING.machine)] *= 1.0 + 4.0 * wear

    def stuck_flow(self, i: int) -> float:
        """The value at which the meter stopped, the same from then on."""
        return self._stuck.setdefault(i, float(self.flow[i]))

    def _curve(self, wear: float) -> Floats:
        pressure = 8.0 - 0.0012 * self.flow**2
        pressure[PUMPS.index(FAILING.machine)] *= 1.0 - wear / 3.0
        return pressure


class _Presses:
    """A half-sine of force in the first part of each slow stroke; the oil warms with the work done."""

    PERIOD_S = 8.0
    PRESSING = 0.4  # the part of the period under load

    def __init__(self, rng: np.random.Generator) -> None:
        n = len(PRESSES)
        self._peak = rng.uniform(150.0, 400.0, n)
        self._period = rng.uniform(0.85, 1.2, n) * self.PERIOD_S
        self._phase = rng.uniform(0.0, 1.0, n)
        self.oil: Floats = rng.uniform(42.0, 50.0, n)
        self.strokes: NDArray[np.int64] = rng.integers(10_000, 90_000, n)

    def step(self, _t_s: float, dt_s: float) -> None:
        self._phase += dt_s / self._period
        done = np.floor(self._phase)
        self.strokes += done.astype(np.int64)
        self._phase -= done
        load = np.array([self.force(i) for i in range(len(PRESSES))]) / self._peak
        self.oil += dt_s * (0.16 * load - (self.oil - AMBIENT_C) / 600.0)

    def force(self, i: int) -> float:
        """kN, without noise."""
        phase = self._phase[i] / self.PRESSING
        return float(self._peak[i] * math.sin(math.pi * phase)) if phase < 1.0 else 0.0
