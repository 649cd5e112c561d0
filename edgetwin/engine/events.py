"""What happened to twins that the cloud should know, kept until somebody takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine.bank import Bank
from edgetwin.records import Event, Scalar

EVENTS_MAX = 1_024


class EventLog:
    """At most EVENTS_MAX events, oldest first; when full, the oldest goes and the next taken says how many went."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._lost = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, kind: str, t_ns: int, **data: Scalar) -> None:
        """Append one event; see :class:`Event` for the names."""
        self._lost += len(self._events) == EVENTS_MAX
        self._events.append(Event(kind, t_ns, data))

    def take(self) -> list[Event]:
        """All events since the last call. When some had to go, the first is ``events_lost`` with their ``count``."""
        events = list(self._events)
        if self._lost:
            events.insert(0, Event("events_lost", events[0].t_ns, {"count": self._lost}))
        self._events.clear()
        self._lost = 0
        return events

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        return {"events": [[e.kind, e.t_ns, dict(e.data)] for e in self._events], "lost": self._lost}

    def load(self, saved: dict[str, Any]) -> None:
        """Hold what :meth:`dump` gave, and nothing else."""
        self._events = deque((Event(*event) for event in saved["events"]), EVENTS_MAX)
        self._lost = saved["lost"]


class Restarts:
    """Tells of filters that started again, after too many rejections or because they diverged."""

    def __init__(self) -> None:
        self._told: dict[int, NDArray[np.int32]] = {}

    def look(self, banks: Sequence[Bank], log: EventLog) -> None:
        """Enter ``twin_restarted`` for each row whose counter has grown since the last call."""
        for number, bank in enumerate(banks):
            counters = bank.rows["resets"].copy()
            told = self._told.get(number, np.zeros(0, np.int32))
            told = np.concatenate([told, np.zeros(len(counters) - len(told), np.int32)])
            for row in np.flatnonzero(counters > told).tolist():
                twin, state, _ = bank.columns[row][0]
                log.add(
                    "twin_restarted",
                    int(bank.rows["t"][row]),
                    twin=twin,
                    state=state,
                    restarts=int(counters[row]),
                )
            self._told[number] = counters

    def dump(self) -> dict[int, NDArray[np.int32]]:
        """For a snapshot."""
        return self._told

    def resume(self, saved: dict[int, NDArray[np.int32]]) -> None:
        """Go on from what :meth:`dump` gave for the same rows."""
        self._told = saved
