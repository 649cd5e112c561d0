"""The clocks of devices beside the gateway's: guard, offsets, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.config.schema import Config, MqttSource, Signal
from edgetwin.engine.events import EventLog
from edgetwin.engine.packing import Pairs
from edgetwin.kernels import clocks as kernel
from edgetwin.records import Batch, ClockOffset, Scalar

TOLD_EVERY_NS = 3_600 * NS
KINDS = ("clock_ahead", "clock_behind", "clock_substituted", "clock_changed")
FIGURES = tuple(kind.removeprefix("clock_") for kind in KINDS)
MODES = {"device": kernel.DEVICE, "corrected": kernel.CORRECTED, "arrival": kernel.ARRIVAL}
UNITS = ("s", "ms", "us", "ns")


class DeviceClocks:
    """One clock per signal slot whose samples bring a time of their own. ``counts`` int64[sources, 4]: stamps AHEAD and
    BEHIND of the limits, SUBSTITUTED by the time of arrival, and offsets that CHANGED."""

    def __init__(self, config: Config, log: EventLog) -> None:
        self.trusted = True
        self.counts: NDArray[np.int64] = np.zeros((len(config.sources), kernel.FIGURES), np.int64)
        self._future_ns = round(config.limits.future * NS)
        self._past_ns = round(config.limits.past * NS)
        self._bound_ns = round(config.limits.clock_offset * NS)
        self._names = tuple(source.name for source in config.sources)
        self._modes = [MODES[s.clock] if isinstance(s, MqttSource) else kernel.DEVICE for s in config.sources]
        self._log = log
        self._clocks = np.zeros(16, kernel.CLOCK)
        self._source_of = np.zeros(16, np.int32)
        self._owner: dict[int, tuple[str, str, Signal]] = {}
        self._told: dict[tuple[int, int], int] = {}
        self._now = np.zeros(kernel.FIGURES, np.int64)
        self._example = np.zeros((kernel.FIGURES, 2), np.int64)

    def add(self, twin: str, slots: Mapping[str, int], signals: Mapping[str, Signal]) -> None:
        """A twin's signals; those with a ``time`` are watched."""
        for name, slot in slots.items():
            while slot >= len(self._clocks):
                self._clocks = np.concatenate([self._clocks, np.zeros_like(self._clocks)])
                self._source_of = np.concatenate([self._source_of, np.zeros_like(self._source_of)])
            if signals[name].time is not None:
                self._clocks["device"][slot] = 1
                self._source_of[slot] = self._names.index(signals[name].source)
                self._owner[slot] = (twin, name, signals[name])

    def judge(self, source: int, batch: Batch, now_ns: int) -> None:
        """Refuse or replace stamps of ``batch`` in place; see :func:`edgetwin.kernels.clocks.judge`."""
        if not self._owner:
            return
        self._now[:] = 0
        kernel.judge(
            self._clocks,
            batch.slot,
            batch.t_ns,
            now_ns,
            self._future_ns,
            self._past_ns,
            self._bound_ns,
            self.trusted,
            self._modes[source],
            self._now,
            self._example,
        )
        if self._now.any():
            self.counts[source] += self._now
            for figure in np.flatnonzero(self._now).tolist():
                slot, stamp = self._example[figure].tolist()
                self._tell(source, figure, slot, stamp, now_ns)

    def offset(self, slot: int) -> ClockOffset | None:
        """What is known of the clock behind a slot; None when its samples bring no time, or none has come."""
        clock = self._clocks[slot]
        if not clock["device"] or not clock["seen"]:
            return None
        return ClockOffset(-int(min(clock["low"], clock["low_before"])) / NS, float(clock["jitter"]) / NS)

    def worst_offsets(self) -> NDArray[np.float64]:
        """float64[sources]: the offset of greatest size among each source's clocks, s; NaN where there is none."""
        seen = np.flatnonzero((self._clocks["device"] == 1) & (self._clocks["seen"] > 0))
        offset = -np.minimum(self._clocks["low"][seen], self._clocks["low_before"][seen]) / NS
        by_size = np.argsort(np.abs(offset))
        worst = np.full(len(self._names), np.nan)
        worst[self._source_of[seen[by_size]]] = offset[by_size]  # the last one assigned stays
        return worst

    def on_gateway(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: whether the last sample of each slot is dated by the gateway's clock."""
        clocks = self._clocks[slots]
        on_gateway: NDArray[np.bool_] = (clocks["device"] == 0) | (clocks["substituted"] == 1)
        return on_gateway

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        told = [[*key, t_ns] for key, t_ns in self._told.items()]
        return {"clocks": self._clocks, "counts": self.counts, "told": told, "trusted": self.trusted}

    def load(self, saved: dict[str, Any], slots: Pairs, sources: Pairs) -> None:
        """Go on from what :meth:`dump` gave, for the signals and sources that still exist."""
        to, source = slots
        both = (self._clocks["device"][to] == 1) & (saved["clocks"]["device"][source] == 1)
        self._clocks[to[both]] = saved["clocks"][source[both]]
        to, source = sources
        self.counts[to] = saved["counts"][source]
        number_of = dict(zip(source.tolist(), to.tolist(), strict=True))
        self._told = {(number_of[k], figure): t_ns for k, figure, t_ns in saved["told"] if k in number_of}
        self.trusted = saved["trusted"]

    def start_again(self) -> None:
        """The gateway's clock has stepped: offsets against it mean nothing any more."""
        self._clocks["seen"] = 0

    def _tell(self, source: int, figure: int, slot: int, stamp: int, now_ns: int) -> None:
        """Enter an event, at most one an hour for each source and kind."""
        last = self._told.get((source, figure))
        if last is not None and 0 <= now_ns - last < TOLD_EVERY_NS:
            return
        self._told[source, figure] = now_ns
        twin, signal, spec = self._owner[slot]
        data: dict[str, Scalar] = {"source": self._names[source], "twin": twin, "signal": signal}
        if figure == kernel.CHANGED:
            data["seconds"] = -int(self._clocks["change"][slot]) / NS
        else:
            data["seconds"] = (stamp - now_ns) / NS
            data["hint"] = _hint(stamp, now_ns, spec)
        self._log.add(KINDS[figure], now_ns, **data)


def _hint(stamp: int, now_ns: int, signal: Signal) -> str:
    """What may be wrong with a stamp."""
    given = UNITS.index(signal.time_unit) if signal.time_unit in UNITS else None
    if given is not None:
        for shift in (-3, -2, -1, 1, 2, 3):
            meant = stamp * 1000**-shift if shift < 0 else stamp // 1000**shift
            if 0 <= given + shift < len(UNITS) and abs(meant - now_ns) < 86_400 * NS:
                return f"the stamp is right if it is in {UNITS[given + shift]}: set time_unit of the signal"
    if 0 <= stamp < 366 * 86_400 * NS:
        return "the device seems to count from its start: its clock is not set"
    return "set the device's clock, or use clock: arrival on the source"
