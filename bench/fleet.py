"""Ten thousand twins of one model, and samples for them that agree with its equations."""

from __future__ import annotations

import ast
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from edgetwin.config.equations import EquationModel, equation_model
from edgetwin.config.library import library_model
from edgetwin.model.compiler import Kernels, compile_equations
from edgetwin.model.equation_layout import equation_row_dtype
from edgetwin.model.ordering import make_history

TWINS, ROUNDS, T0 = 10_000, 16, 10**18


@dataclass(frozen=True)
class Scene:
    """How an asset is sampled: an ordinary interval and one that a single short sub-step spans, s; its inputs."""

    interval: float
    short: float
    inputs: dict[str, float] = field(default_factory=dict)


SCENES = {
    "thermal_first_order": Scene(30, 1, {"power": 50}),
    "thermal_two_node": Scene(10, 0.1, {"power": 30}),
    "building_rc": Scene(300, 10, {"heating": 500, "outdoor": 5}),
    "tank": Scene(10, 0.05, {"command": 0.5}),
    "dc_motor": Scene(1, 0.005, {"voltage": 20, "load": 0.05}),
    "induction_motor": Scene(30, 1, {"current": 20, "running": 1, "ambient": 20}),
    "bearing": Scene(3600, 60),
    "battery": Scene(10, 0.1, {"current": 0.1}),
    "wind_turbine": Scene(1, 0.05, {"torque": 2}),
    "gas_turbine": Scene(1, 0.01, {"fuel": 0.6, "load": 0.48}),
    "road_link": Scene(60, 0.1, {"green": 0.3}),
    "vitals": Scene(5, 0.5),
    "glucose": Scene(300, 5, {"infusion": 2}),
}

_FUNCTIONS: dict[str, Any] = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "max": np.maximum, "min": np.minimum, "clip": np.clip, "abs": np.abs,
    "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "where": np.where, "pi": np.pi, "__builtins__": {},
}  # fmt: skip


class Fleet:
    """Rows of ``TWINS`` twins of a library model, its kernels, and one more row that is only forecast: the truth."""

    def __init__(self, name: str, kind: str) -> None:
        known = library_model(f"library/{name}")
        assert known is not None
        self.scene = SCENES[name]
        self.model: EquationModel = equation_model(msgspec.structs.replace(known, filter=kind))
        self.kernels: Kernels = compile_equations(self.model)
        self.rng = np.random.default_rng(0)
        self.truth = self._rows(1)
        self.truth["t"], self.truth["updates"] = T0, 1

    def ns_per_update(self, interval: float, irregular: bool = False) -> float:
        """Best of several rounds in which each twin has one sample of one measurement, in random order."""
        model, channels = self.model, len(self.model.channels)
        rows = self._rows(TWINS)
        rows["t"] = T0
        banks, places = np.zeros(TWINS * channels, np.int16), np.arange(TWINS * channels, dtype=np.int32)
        counts, history = np.zeros((1, 9), np.int64), make_history(rows.dtype, 0, 2)
        t, best = np.full(TWINS, T0), np.inf
        for k in range(ROUNDS):
            c = k % len(model.measurements)
            part = self.rng.uniform(0.5, 1.0, TWINS) if irregular else np.ones(TWINS)
            t = t + (interval * 1e9 * part).astype(np.int64)
            twin = self.rng.permutation(TWINS)
            z, noise = self._measured(c, int(t.mean()))
            rows[f"r{c}"] = noise**2
            batch = ((twin * channels + c).astype(np.int32), t[twin], z + self.rng.normal(0, noise, TWINS))
            start = time.thread_time()
            self.kernels.update(rows, banks, places, 0, *batch, 2**62, 0, counts, history)
            spent = time.thread_time() - start
            if k >= len(model.measurements):  # all code and all rows have been touched
                best = min(best, spent)
        assert counts[0, 0] == TWINS * ROUNDS
        assert not rows["resets"].any()
        return best / TWINS * 1e9

    def _rows(self, count: int) -> Any:
        model = self.model
        rows = np.zeros(count, equation_row_dtype(model))
        for i, state in enumerate(model.states.values()):
            rows[f"x{i}"] = rows[f"x0_{i}"] = state.initial
            rows[f"d{i}"] = rows[f"d0_{i}"] = (0.03 * model.stds[i]) ** 2
            rows[f"q{i}"] = model.process_noise[i] ** 2
        for k, value in enumerate(model.parameters.values()):
            rows[f"p{k}"] = value
        for k, name in enumerate(model.inputs):
            rows[f"i{k}"] = self.scene.inputs.get(name, model.inputs[name])
        for c in range(len(model.channels)):
            rows[f"lo{c}"], rows[f"hi{c}"], rows[f"scale{c}"] = -np.inf, np.inf, 1.0
        rows["nis_mean"], rows["gate"], rows["reject_max"] = 1.0, 1e18, 5
        return rows

    def _measured(self, c: int, t: int) -> tuple[float, float]:
        """Measurement c of the truth, and a standard deviation for its sensor: 1 % of it."""
        mean, variance = np.empty((1, self.model.size)), np.empty((1, self.model.size))
        self.kernels.predict(self.truth, np.zeros(1, np.int64), t, mean, variance)
        names = dict(zip(self.model.states, mean[0], strict=True)) | self.model.parameters
        names |= self.model.inputs | self.scene.inputs
        tree = list(self.model.measurements.values())[c].tree
        z = float(eval(compile(ast.Expression(tree), "measurement", "eval"), _FUNCTIONS, names))
        return z, 0.01 * max(abs(z), 0.1)
