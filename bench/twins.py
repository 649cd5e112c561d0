"""Configurations that the benches share."""

from __future__ import annotations

from typing import Any

import msgspec

from edgetwin.config.schema import Config


def ingest_config(port: int, form: str, qos: int, **extra: Any) -> Config:
    """A template of two-state twins over the bench's topics."""
    signal: dict[str, Any] = {"source": "plant", "topic": "plant/{line}/{machine}/temp", "noise": 1.0}
    if form == "json":
        signal |= {"value": "$.v", "time": "$.t"}
    data = {
        "gateway": "bench",
        "sources": [{"name": "plant", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "qos": qos}],
        "twins": [
            {
                "name": "{machine}",
                "model": "constant_velocity",
                "parameters": {"process_noise": 0.3},
                "signals": {"temp": signal},
            }
        ],
        "limits": {"twins": 200_000, "topics": 400_000},
        **extra,
    }
    return msgspec.convert(data, Config, dec_hook=lambda kind, value: kind(value))
