"""Engines with one model given by equations, and a reference fed with the same samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgetwin.config.equations import EquationModel, equation_model
from edgetwin.config.models import user_model
from edgetwin.engine import Engine
from edgetwin.engine.equation_bank import EquationBank
from edgetwin.records import Batch
from tests.engine.build import SECOND, T0, config
from tests.model.reference import ReferenceFilter

HUGE = 10**6


@dataclass
class Rig:
    """An engine whose twins ``names`` share one model; ``slots[twin][signal]``."""

    engine: Engine
    model: EquationModel
    slots: list[dict[str, int]]

    @property
    def bank(self) -> EquationBank:
        bank = self.engine.banks[0]
        assert isinstance(bank, EquationBank)
        return bank

    def feed(self, slot: Any, t_ns: Any, value: Any) -> None:
        """Samples in order of arrival."""
        t = np.asarray(t_ns, np.int64)
        self.engine.ingest(0, Batch(np.asarray(slot, np.int32), t, np.asarray(value, np.float64)), int(t.max()))

    def mean(self) -> np.ndarray:
        """States float64[twins, n]."""
        return np.array([[row[f"x{i}"] for i in range(self.model.size)] for row in self.bank.rows])

    def covariance(self, twin: int = 0) -> np.ndarray:
        """float64[n, n]."""
        n, row = self.model.size, self.bank.rows[twin]
        u = np.eye(n)
        for j in range(n):
            for i in range(j):
                u[i, j] = row[f"u{i}_{j}"]
        return u @ np.diag([row[f"d{i}"] for i in range(n)]) @ u.T


def rig(
    model: dict[str, Any] | str,
    twins: int = 1,
    noise: dict[str, float] | None = None,
    signals: Any = None,
    **extra: Any,
) -> Rig:
    """``model`` is an entry of ``models`` or the name of one of the library; ``signals`` all channels by default.

    ``noise`` of each measurement is 0.3 unless given; the gate is wide open unless ``gate`` is.
    """
    name = model if isinstance(model, str) else model["name"]
    made = config(
        [{"name": "x", "model": "auto", "signals": {"s": {"source": "plant"}}}],
        models=[] if isinstance(model, str) else [model],
    )
    known = user_model(made, name)
    assert known is not None
    equations = equation_model(known)
    bound = {
        s: {"source": "plant", "topic": f"t/{s}", "noise": (noise or {}).get(s, 0.3)}
        for s in signals or equations.channels
    }
    specs = [{"name": f"m{k}", "model": name, "gate": float(HUGE), "signals": bound, **extra} for k in range(twins)]
    engine = Engine(config(specs, models=made.models and [model]))
    return Rig(engine, equations, [i.slots for i in engine.instances()])


def deviation(r: Rig, reference: ReferenceFilter, twin: int = 0) -> float:
    """The largest difference of mean and covariance, in standard deviations of the reference (at least 1e-3 of size)."""
    std = np.maximum(np.sqrt(np.diag(reference.kf.P)), 1e-6)  # a state without noise has none
    mean = np.abs(r.mean()[twin] - reference.kf.x) / np.maximum(std, 1e-3 * np.abs(reference.kf.x))
    covariance = np.abs(r.covariance(twin) - reference.kf.P) / np.outer(std, std)
    return float(max(mean.max(), covariance.max()))


__all__ = ["SECOND", "T0", "Rig", "deviation", "rig"]
