"""Filter banks: the rows of everything that uses one model, and its kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.config.equations import EquationModel
from edgetwin.config.schema import Signal, Twin
from edgetwin.engine.learned import SignalNoise, row_noise
from edgetwin.kernels.auto import predict_recurring
from edgetwin.kernels.seasons import RINGS, TABLES
from edgetwin.model.compiler import Kernels
from edgetwin.model.layout import CONFIGURED, FROZEN, LEARN_Q, LEARN_R
from edgetwin.model.ordering import COUNT, make_history
from edgetwin.model.spec import LinearModel
from edgetwin.model.structural import make_past, past_of, restore_past, row_of
from edgetwin.records import Outcome, Quality, SignalStatus

WARMUP_UPDATES = 3
NIS_MEAN_LIMIT = 4.0
SPREAD_DEFAULT = 1e3
STALE_INTERVALS = 10
STALE_INTERVAL_MAX_NS = 366 * 86_400 * NS
STALE_LEAST_NS = 5 * NS
STALE_MAX_NS = 36_525 * 86_400 * NS // 10
BAD_AFTER = 10
HISTORY_LENGTH = 64
REASONS = (
    "",
    "no sample yet",
    "no sample for too long",
    "stale",
    "few samples",
    "samples rejected",
    "inconsistent",
)
GENERAL_REASONS = ("samples rejected", "inconsistent")
"""Reasons that give way to what the health of the filter says in particular (edgetwin.engine.health)."""


@dataclass(frozen=True, slots=True)
class RowStatus:
    """Per row: ``quality`` uint8[n] as in Quality, ``reason`` uint8[n] as an index into REASONS."""

    quality: NDArray[np.uint8]
    reason: NDArray[np.uint8]


class Bank:
    """Rows of one model, appended and never moved; ``rows`` is a view of the used part of a growing array.

    ``channels`` slots feed one row: a slot's place is ``row * channels + channel``. ``keys[row]`` names the row in a
    snapshot; ``columns[row]`` are (twin, state, unit) of its ``size`` states. Fields in ``configured`` come from the
    configuration and are not restored.
    """

    configured: frozenset[str]
    model: LinearModel | EquationModel

    def __init__(self, name: str, size: int, channels: int, dtype: np.dtype[np.void], kernels: Kernels) -> None:
        self.name = name
        self.size = size
        self.channels = channels
        self.kernels = kernels
        self.keys: list[tuple[str, str]] = []
        self.columns: list[tuple[tuple[str, str, str], ...]] = []
        self.history = make_history(dtype, 0, HISTORY_LENGTH)
        self._histories = 0
        self._store = np.zeros(16, dtype)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def rows(self) -> NDArray[np.void]:
        """Structured rows[n]; live, not a copy."""
        return self._store[: self._used]

    def add(self, twin_name: str, twin_index: int, twin: Twin) -> dict[str, int]:
        """Append what a twin needs; gives the place of each of its signals."""
        raise NotImplementedError

    def signal(self, place: int, unit: str) -> SignalStatus:
        """The last sample at a place."""
        raise NotImplementedError

    def learned(self, place: int) -> SignalNoise:
        """What has been learned for the signal at a place."""
        raise NotImplementedError

    def hold_noise(self, place: int, frozen: bool) -> None:
        """Freeze the noise of the signal at a place, or let it be learned again; from the next sample on."""
        raise NotImplementedError

    def past(self) -> list[NDArray[Any]]:
        """What a snapshot keeps beside rows and histories."""
        return []

    def restore_past(
        self, past: list[NDArray[Any]], old: NDArray[np.void], to: NDArray[np.int64], source: NDArray[np.int64]
    ) -> None:
        """Take over what :meth:`past` gave with the rows ``old``, for ``old[source]`` into rows ``to``."""

    def dump(self) -> dict[str, Any]:
        """For a snapshot: every row and, of the histories, what a late sample may need."""
        history, held = self.history, self._held()
        return {
            "keys": self.keys,
            "rows": self.rows,
            "past": self.past(),
            "used": history.used[: self._histories],
            "samples": history.samples[: self._histories][held[0]],
            "before": history.before[: self._histories][held[1]],
        }

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from what :meth:`dump` gave for the same rows."""
        same = np.arange(len(self))
        self.rows[:] = saved["rows"]
        self.restore_past(saved["past"], saved["rows"], same, same)
        history = self.history
        history.used[: self._histories] = saved["used"]
        history.samples[: self._histories][self._held()[0]] = saved["samples"]
        history.before[: self._histories][self._held()[1]] = saved["before"]

    def _held(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """bool[histories, length]: the samples remembered, and those before which the row may be asked for again."""
        times, n = self.history.samples["t"][: self._histories], self.history.used[: self._histories, COUNT]
        remembered = np.arange(times.shape[1]) < n[:, None]
        late_ns = np.zeros(self._histories, np.int64)
        owner = np.flatnonzero(self.rows["history"] > 0)
        late_ns[self.rows["history"][owner] - 1] = self.rows["late_ns"][owner]
        newest = times[np.arange(self._histories), np.maximum(n - 1, 0)]
        return remembered, remembered & (times >= (newest - late_ns)[:, None])

    def channel_fields(self, c: int) -> tuple[str, str, str, str, str, str]:
        """Fields of a channel: innovation, its variance, last value, its time, counters of fused and gated samples. The
        first two are empty for an input of the model."""
        raise NotImplementedError

    def innovations(
        self, after: NDArray[np.void], channel: NDArray[np.int64], raw: NDArray[np.float64], outcome: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        """What became of traced samples: float64[4, m], value (scaled), innovation, its variance, and NIS.

        ``after`` records[m] are the rows after each sample, ``channel`` its channel, ``raw`` its raw value. The last
        three are NaN where no prediction was made.
        """
        raise NotImplementedError

    def adopt(self, old: NDArray[np.void], to: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        """Take the state of ``old[source]`` into rows ``to``; fields of the configuration stay."""
        names = set(old.dtype.names or ()) - self.configured - {"twin"}
        for name in names & set(self.rows.dtype.names or ()):
            self.rows[name][to] = old[name][source]

    def predict(self, index: NDArray[np.int64], t_ns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and standard deviations float64[len(index), size] at ``t_ns``; NaN before any sample."""
        return self.extrapolate(self.rows, index, t_ns)

    def extrapolate(
        self, rows: NDArray[np.void], index: NDArray[np.int64], t_ns: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As :meth:`predict`, of ``rows`` that need not be the bank's but stand as they do there."""
        mean = np.empty((len(index), self.size))
        variance = np.empty_like(mean)
        self.kernels.predict(rows, index, t_ns, mean, variance)
        return mean, np.sqrt(variance)

    @property
    def orders(self) -> tuple[int, ...]:
        """For each state how often it is derived from what is measured."""
        return (0,) * self.size

    def noise(self, rows: NDArray[np.void]) -> NDArray[np.float64]:
        """float64[len(rows), size]: the noise (std) of what measures each state as it is, or what it is derived from;
        0 where nothing does, or it is not known yet."""
        raise NotImplementedError

    def status(self, now_ns: int) -> RowStatus:
        """Quality of every row at ``now_ns``."""
        return row_status(self.rows, now_ns)

    def shift(self, index: NDArray[np.int64], ns: int) -> None:
        """Move the times of rows ``index``, and of their histories, by ``ns``."""
        rows = self.rows
        stamps = [n for n in rows.dtype.names or () if n in ("t", "ring_start") or n.startswith("t_seen")]
        histories = rows["history"][index] - 1
        histories = histories[histories >= 0]
        for name in stamps:
            rows[name][index] += np.where(rows[name][index] > 0, ns, 0)
            old = self.history.before[name][histories]
            self.history.before[name][histories] = old + np.where(old > 0, ns, 0)
        self.history.samples["t"][histories] += ns

    def _remember(self, row: np.void) -> None:
        """Give a row that accepts late samples a history."""
        if row["late_ns"] <= 0:
            return
        if self._histories == len(self.history.used):
            more = make_history(self._store.dtype, self._histories, HISTORY_LENGTH)
            before, samples, used = (np.concatenate(p) for p in zip(self.history[:3], more[:3], strict=True))
            self.history = self.history._replace(before=before, samples=samples, used=used)
        self._histories += 1
        row["history"] = self._histories

    def _append(self, twin_index: int) -> tuple[int, np.void]:
        if self._used == len(self._store):
            grown = np.zeros(2 * len(self._store), self._store.dtype)
            grown[: self._used] = self._store
            self._store = grown
        index = self._used
        self._used += 1
        row = self._store[index]
        row["twin"] = twin_index
        return index, row


class SignalBank(Bank):
    """A built-in model: one row for each signal."""

    configured = frozenset({*CONFIGURED, "season_mode"})
    model: LinearModel

    def __init__(self, model: LinearModel, kernels: Kernels) -> None:
        super().__init__(model.name, model.size, 1, row_of(model), kernels)
        self.model = model
        if model.structural:
            self._grow_past()

    def _grow_past(self) -> None:
        """A past for every row; only what has been written to is copied."""
        old, past = self.history.past, make_past(len(self._store))
        for what, count in ((RINGS, "head"), (TABLES, "changes")):
            written = np.flatnonzero(self._store[count][: old.shape[1]] > 0)
            past[what, written] = old[what, written]
        self.history = self.history._replace(past=past)

    def _append(self, twin_index: int) -> tuple[int, np.void]:
        place = super()._append(twin_index)
        if self.model.structural and self.history.past.shape[1] < len(self._store):
            self._grow_past()
        return place

    def add(self, twin_name: str, twin_index: int, twin: Twin) -> dict[str, int]:
        places = {}
        for name, signal in twin.signals.items():
            places[name], row = self._append(twin_index)
            configure_row(row, twin, signal)
            self._remember(row)
            self.keys.append((twin_name, name))
            states = zip(self.model.suffixes, self.model.derivative, strict=True)
            self.columns.append(
                tuple((twin_name, name + suffix, _unit(signal.unit, order)) for suffix, order in states)
            )
        return places

    def signal(self, place: int, unit: str) -> SignalStatus:
        row = self.rows[place]
        return SignalStatus(
            value=float(row["z"]) if row["updates"] else float("nan"),
            at_ns=int(row["t_seen"]),
            nis=float(row["nis"]),
            noise=float(np.sqrt(row["r"])),
            unit=unit,
            fused=int(row["fused"]),
            gated=int(row["gated"]),
        )

    def learned(self, place: int) -> SignalNoise:
        return row_noise(self.rows[place])

    def hold_noise(self, place: int, frozen: bool) -> None:
        row = self.rows[place]
        row["learn"] = (row["learn"] & ~FROZEN) | (FROZEN if frozen else 0)
        h = row["history"] - 1
        if h >= 0:
            self.history.before["learn"][h] = row["learn"]

    def extrapolate(
        self, rows: NDArray[np.void], index: NDArray[np.int64], t_ns: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, std = super().extrapolate(rows, index, t_ns)
        if self.model.structural:
            predict_recurring(rows, index, t_ns, self.history.past, mean)
        return mean, std

    def past(self) -> list[NDArray[Any]]:
        return past_of(self.rows, self.history.past) if self.model.structural else []

    def restore_past(
        self, past: list[NDArray[Any]], old: NDArray[np.void], to: NDArray[np.int64], source: NDArray[np.int64]
    ) -> None:
        if not self.model.structural:
            return
        if "live" in (old.dtype.names or ()):
            restore_past(self.history.past, past, old, to, source)
        off = to[self.rows["season_mode"][to] == 0]
        self.rows["seasons"][off] = 0
        self.rows["recurrent"][off] = 0
        self.rows["phases"][off] = 0
        self.rows["ahead"][off] = 0.0

    def channel_fields(self, c: int) -> tuple[str, str, str, str, str, str]:
        del c  # there is one
        return "y", "s", "z", "t_seen", "fused", "gated"

    def innovations(
        self, after: NDArray[np.void], channel: NDArray[np.int64], raw: NDArray[np.float64], outcome: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        del channel  # a row has one
        first = (outcome == Outcome.FUSED) & (after["updates"] == 1)  # started, or started again, from the sample
        known = predicted(outcome) & ~first
        figures = np.stack([after["scale"] * raw + after["offset"], after["y"], after["s"], after["nis"]])
        figures[1:, ~known] = np.nan
        return figures

    @property
    def orders(self) -> tuple[int, ...]:
        return self.model.derivative

    def noise(self, rows: NDArray[np.void]) -> NDArray[np.float64]:
        return np.repeat(np.sqrt(rows["r"])[:, None], self.size, axis=1)

    def adopt(self, old: NDArray[np.void], to: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        rows = self.rows
        fixed_r, fixed_q = rows["r"].copy(), rows["q"].copy()
        super().adopt(old, to, source)
        known_r, known_q = (rows["learn"] & LEARN_R) == 0, (rows["learn"] & LEARN_Q) == 0
        rows["r"][known_r] = fixed_r[known_r]
        rows["q"][known_q] = fixed_q[known_q]


def predicted(outcome: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a sample of each outcome was compared with a prediction."""
    return np.isin(outcome, (Outcome.FUSED, Outcome.LATE_FUSED, Outcome.GATED))


def configure_row(row: np.void, twin: Twin, signal: Signal) -> None:
    """Set what the configuration says of a row (layout.CONFIGURED, and the noise it fixes)."""
    parameters = twin.parameters
    learn = (0 if signal.noise else LEARN_R) | (0 if "process_noise" in parameters else LEARN_Q)
    row["learn"] = learn | (FROZEN if twin.noise_learning == "frozen" else 0)
    if signal.noise:
        row["r"] = signal.noise**2
    if "process_noise" in parameters:
        row["q"] = parameters["process_noise"] ** 2
    row["tau"] = parameters.get("time_constant", 0.0)
    row["spread"] = parameters.get("initial_rate_std", 0.0) / (signal.noise or 1.0) or SPREAD_DEFAULT
    row["lo"], row["hi"] = signal.range or (-np.inf, np.inf)
    row["scale"], row["offset"] = signal.scale, signal.offset
    row["gate"] = twin.gate**2
    row["reject_max"] = twin.gate_rejects
    row["late_ns"] = round(twin.lateness * NS)
    row["stale_ns"] = round((twin.stale_after or 0) * NS)
    if "season_mode" in (row.dtype.names or ()):
        row["season_mode"] = int(twin.seasons == "auto")


def stale_limit_ns(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Age above which each row is stale; it is bad above BAD_AFTER times that."""
    interval_ns = np.minimum(NS * rows["dt_mean"], STALE_INTERVAL_MAX_NS).astype(np.int64)
    automatic = STALE_INTERVALS * interval_ns + STALE_LEAST_NS
    limit: NDArray[np.int64] = np.where(rows["stale_ns"] > 0, rows["stale_ns"], automatic)
    return np.minimum(limit, STALE_MAX_NS)


def row_status(rows: NDArray[np.void], now_ns: int | NDArray[np.int64]) -> RowStatus:
    """Judge rows, all at one instant or each at its own; see docs/models.md for the rules."""
    age = now_ns - rows["t"]
    stale_ns = stale_limit_ns(rows)
    new = rows["updates"] == 0
    reason = np.select(
        [
            new,
            age > BAD_AFTER * stale_ns,
            age > stale_ns,
            rows["updates"] < WARMUP_UPDATES,
            rows["rejects"] > 0,
            rows["nis_mean"] > NIS_MEAN_LIMIT,
        ],
        [1, 2, 3, 4, 5, 6],
        0,
    ).astype(np.uint8)
    quality = np.array(
        [Quality.GOOD, Quality.BAD, Quality.BAD, *[Quality.UNCERTAIN] * 4],
        np.uint8,
    )[reason]
    return RowStatus(quality, reason)


def _unit(unit: str, order: int) -> str:
    if not unit or not order:
        return unit
    return f"{unit}/s" if order == 1 else f"{unit}/s^{order}"
