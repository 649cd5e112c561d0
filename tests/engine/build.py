"""Small engines for tests."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import numpy as np

from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.records import Batch

T0 = 1_700_000_000 * 10**9
SECOND = 10**9


def config(twins: list[dict[str, Any]] | None = None, **extra: Any) -> Config:
    """A configuration of one MQTT source and, by default, one twin ``m`` with signal ``x``."""
    twins = twins or [twin()]
    source = {"name": "plant", "kind": "mqtt", "url": "mqtt://127.0.0.1"}
    data = {"gateway": "g", "sources": [source], "twins": twins, **extra}
    return msgspec.convert(data, Config, dec_hook=lambda kind, value: kind(value))


def twin(name: str = "m", model: str = "random_walk", **extra: Any) -> dict[str, Any]:
    signal = {"source": "plant", "topic": f"t/{name}", "noise": 0.5, **extra.pop("signal", {})}
    return {
        "name": name,
        "model": model,
        "parameters": {"process_noise": 0.1},
        "signals": {"x": signal},
        **extra,
    }


def states(engine: Engine) -> object:
    """The snapshot without health and what it tells: that depends on what was seen between batches."""
    saved = msgpack.unpackb(engine.snapshot(), strict_map_key=False)
    del saved["health"], saved["isolation"], saved["events"]
    return saved


def feed(engine: Engine, values: Any, times: Any = None, slot: int = 0, now: int | None = None) -> None:
    """Ingest a series of one slot, by default a value a second from T0."""
    value = np.asarray(values, np.float64)
    t = np.asarray(times if times is not None else T0 + np.arange(len(value)) * SECOND, np.int64)
    batch = Batch(np.full(len(value), slot, np.int32), t, value)
    engine.ingest(0, batch, int(t.max()) if now is None else now)
