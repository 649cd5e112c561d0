"""The bank of a model given by equations: one row for each twin, one channel for each measurement and input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.config.conversions import in_unit
from edgetwin.config.equations import EquationModel, of_twin
from edgetwin.config.schema import Signal, Twin
from edgetwin.engine.bank import Bank, predicted
from edgetwin.engine.learned import SignalNoise
from edgetwin.model.compiler import Kernels
from edgetwin.model.equation_layout import kept_fields
from edgetwin.records import SignalStatus

_FIXED = ("history", "late_ns", "stale_ns", "gate", "reject_max")
_PER_CHANNEL = ("lo", "hi", "scale", "offset", "learn_of")


class EquationBank(Bank):
    """Twins of one user's model."""

    model: EquationModel

    def __init__(self, model: EquationModel, kernels: Kernels) -> None:
        super().__init__(model.name, model.size, len(model.channels), kernels.row, kernels)
        self.model = model
        self._learned: list[list[bool]] = []
        numbered = [("p", len(model.parameters)), ("q", model.size), ("x0_", model.size), ("d0_", model.size)]
        fields = {f"{name}{k}" for name, count in numbered for k in range(count)}
        self.configured = frozenset(
            {
                *_FIXED,
                *fields,
                *(f"{name}{c}" for name in _PER_CHANNEL for c in range(self.channels)),
                *kept_fields(kernels.row),
            }
        )

    def add(self, twin_name: str, twin_index: int, twin: Twin) -> dict[str, int]:
        index, row = self._append(twin_index)
        self._configure(row, twin)
        self._learned.append([])
        self._remember(row)
        self.keys.append((twin_name, ""))
        self.columns.append(tuple((twin_name, name, state.unit) for name, state in self.model.states.items()))
        names = self.model.channels
        for c, name in enumerate(names):
            given = twin.signals.get(name)
            self._configure_channel(row, c, given and in_unit(given, self.model.units.get(name, "")))
        return {name: index * self.channels + names.index(name) for name in twin.signals}

    def _configure(self, row: np.void, twin: Twin) -> None:
        own = of_twin(self.model, twin)
        for i, state in enumerate(own.states.values()):
            row[f"x{i}"] = row[f"x0_{i}"] = state.initial
            row[f"d{i}"] = row[f"d0_{i}"] = own.stds[i] ** 2
            row[f"q{i}"] = own.process_noise[i] ** 2
        for k, value in enumerate(own.parameters.values()):
            row[f"p{k}"] = value
        for k, value in enumerate(own.inputs.values()):
            row[f"i{k}"] = value
        row["nis_mean"] = 1.0
        row["gate"] = twin.gate**2
        row["reject_max"] = twin.gate_rejects
        row["late_ns"] = round(twin.lateness * NS)
        row["stale_ns"] = round((twin.stale_after or 0) * NS)

    def _configure_channel(self, row: np.void, c: int, signal: Signal | None) -> None:
        low, high = (signal.range if signal else None) or (-np.inf, np.inf)
        row[f"lo{c}"], row[f"hi{c}"] = low, high
        row[f"scale{c}"] = signal.scale if signal else 1.0
        row[f"offset{c}"] = signal.offset if signal else 0.0
        row[f"learn_of{c}"] = learned = int(signal is not None and signal.noise is None)
        self._learned[-1].append(bool(learned))
        row[f"r{c}"] = (signal.noise or 0.0) ** 2 if signal else 0.0

    def signal(self, place: int, unit: str) -> SignalStatus:
        index, c = divmod(place, self.channels)
        row = self.rows[index]
        measured = c < len(self.model.measurements)
        return SignalStatus(
            value=float(row[f"z{c}"]) if row[f"seen_of{c}"] else float("nan"),
            at_ns=int(row[f"t_seen{c}"]),
            nis=float(row[f"nis{c}"]),
            noise=float(np.sqrt(row[f"r{c}"])) if measured else 0.0,
            unit=self.model.units.get(self.model.channels[c]) or unit,
            fused=int(row[f"fused_of{c}"]),
            gated=int(row[f"gated_of{c}"]),
        )

    def noise(self, rows: NDArray[np.void]) -> NDArray[np.float64]:
        noise = np.zeros((len(rows), self.size))
        for k, state in enumerate(self.model.states):
            for c, measured in enumerate(self.model.measurements.values()):
                if measured.text.strip() == state:
                    noise[:, k] = np.sqrt(rows[f"r{c}"])
        return noise

    def learned(self, place: int) -> SignalNoise:
        index, c = divmod(place, self.channels)
        row = self.rows[index]
        measured = c < len(self.model.measurements)
        learned = ("noise",) if measured and self._learned[index][c] else ()
        return SignalNoise(float(np.sqrt(row[f"r{c}"])) if measured else 0.0, None, learned, None, None, ())

    def hold_noise(self, place: int, frozen: bool) -> None:
        index, c = divmod(place, self.channels)
        row = self.rows[index]
        row[f"learn_of{c}"] = int(self._learned[index][c] and not (frozen and row[f"fused_of{c}"] > 0))
        h = row["history"] - 1
        if h >= 0:
            self.history.before[f"learn_of{c}"][h] = row[f"learn_of{c}"]

    def channel_fields(self, c: int) -> tuple[str, str, str, str, str, str]:
        judged = (f"y{c}", f"s{c}") if c < len(self.model.measurements) else ("", "")
        return *judged, f"z{c}", f"t_seen{c}", f"fused_of{c}", f"gated_of{c}"

    def innovations(
        self, after: NDArray[np.void], channel: NDArray[np.int64], raw: NDArray[np.float64], outcome: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        figures = np.full((4, len(after)), np.nan)
        known = predicted(outcome)
        for c in range(self.channels):
            of = np.flatnonzero(channel == c)
            rows = after[of]
            figures[0, of] = rows[f"scale{c}"] * raw[of] + rows[f"offset{c}"]
            if c < len(self.model.measurements):
                judged = known[of]
                for k, name in enumerate(("y", "s", "nis"), 1):
                    figures[k, of[judged]] = rows[f"{name}{c}"][judged]
        return figures

    def adopt(self, old: NDArray[np.void], to: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        rows = self.rows
        noise = {c: rows[f"r{c}"].copy() for c in range(self.channels)}
        super().adopt(old, to, source)
        for c, fixed in noise.items():
            known = rows[f"learn_of{c}"] == 0
            rows[f"r{c}"][known] = fixed[known]
