"""A daemon as HTTP sees it: a real engine with made-up sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgetwin.clock import ManualClock
from edgetwin.engine import Engine
from edgetwin.instruments import Histogram
from edgetwin.records import Batch, Outcome
from edgetwin.uplink.outbox import Outbox
from tests.engine.build import SECOND, T0, config, twin

NOW = T0 + 60 * SECOND


@dataclass
class Listening:
    """A source that is told what happens."""

    name: str = "plant"
    kind: str = "mqtt"
    up: bool = True
    messages: int = 0
    last_error: str = ""
    latency: Histogram = field(default_factory=Histogram)


@dataclass
class Unit:
    """A device that is polled."""

    up: bool = False
    requests: Histogram = field(default_factory=Histogram)
    outcomes: dict[str, int] = field(default_factory=lambda: {"answered": 4, "timed_out": 2})


@dataclass
class Asking:
    """A source that polls."""

    name: str
    kind: str = "modbus"
    up: bool = False
    messages: int = 0
    last_error: str = "timed out"
    units: dict[int, Unit] = field(default_factory=lambda: {3: Unit(), 4: Unit(up=True)})
    overruns: int = 7
    bad: int = 2

    def refused(self) -> list[str]:
        return ["register"] * self.bad


@dataclass
class Sending:
    """An uplink."""

    up: bool = True
    last_error: str = ""
    frames: Mapping[str, int] = field(default_factory=lambda: {"acknowledged": 5, "dropped": 0})
    errors: Mapping[str, int] = field(default_factory=lambda: {"certificate": 2, "lost": 0})
    acks_ignored: Mapping[str, int] = field(default_factory=lambda: {"future": 1})
    bytes_total: int = 12345
    backlog_bytes: int = 67
    backlog_age_s: float = 8.5
    ack_latency: Histogram = field(default_factory=Histogram)


@dataclass
class View:
    """The daemon."""

    engine: Engine
    sources: list[Any]
    outbox: Outbox = field(default_factory=lambda: Outbox("g", 1 << 20))
    uplink: Sending | None = field(default_factory=Sending)
    loop_lag: Histogram = field(default_factory=Histogram)
    ready: bool = True
    reasons: list[str] = field(default_factory=list)
    started_ns: int = T0
    version: str = "1.2.3"
    acting: Any = None
    journal: Any = None
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))


def view_of(names: list[str], samples: int = 20, **limits: int) -> View:
    """Random-walk twins of these names, each with a sample a second up to 20 s after T0."""
    twins = [twin(name, signal={"topic": f"t/{i}", "unit": "bar"}) for i, name in enumerate(names)]
    engine = Engine(config(twins, limits=limits))
    source = Listening()
    for k in range(samples):
        values = np.sin(k / 5) + np.arange(len(names), dtype=np.float64)
        t_ns = np.full(len(names), T0 + (k + 1) * SECOND)
        engine.ingest(0, Batch(np.arange(len(names), dtype=np.int32), t_ns, values), NOW)
        source.messages += len(names)
        source.latency.observe(2e-5, len(names))
    engine.count(0, Outcome.INVALID, 2)
    return View(engine, [source])
