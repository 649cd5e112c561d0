"""Time per value of the register kernel, beside struct and NumPy where they have the layout."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from edgetwin.config.schema import Register
from edgetwin.sources.modbus.layouts import make_layout

WORDS = 120
SECONDS = 1.0

LAYOUTS: dict[str, dict[str, Any]] = {
    "uint16": {},
    "float32": {"type": "float32"},
    "float32 DCBA": {"type": "float32", "order": "DCBA"},
    "int48": {"type": "int48"},
    "float16": {"type": "float16"},
    "bcd32": {"type": "bcd32"},
    "bit": {"type": "bit", "bit": 3},
    "int16 invalid, scale_from": {"type": "int16", "invalid": [0x8000], "scale_from": WORDS},
    "uint16 mask, enum of 8": {"mask": 0x0700, "shift": 8, "enum": {str(i): float(i) for i in range(8)}},
    "string of 4, enum of 2": {"type": "string", "length": 4, "enum": {"STOP": 0.0, "RUN": 1.0}},
}


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """ns per value; a block is 120 registers."""
    seconds = SECONDS / 10 if quick else SECONDS
    words = np.random.default_rng(1).integers(0, 0x1000, WORDS + 1).astype(np.uint16)
    words[-1] = 0xFFFE
    for name, keys in LAYOUTS.items():
        width = keys.get("length") or {"float32": 2, "int48": 3, "bcd32": 2}.get(keys.get("type", ""), 1)
        layout = make_layout([Register(address=at, **keys) for at in range(0, WORDS, width)], 0)
        yield {"bench": "registers", "layout": name, "values": len(layout.plan)} | {
            "ns_per_value": _time(lambda layout=layout: layout.decode(words), seconds) / len(layout.plan)  # type: ignore[misc]
        }
    data = words[:WORDS].astype(">u2").tobytes()
    peers: dict[str, tuple[int, Callable[[], object]]] = {
        "struct, float32": (WORDS // 2, lambda: struct.unpack(f">{WORDS // 2}f", data)),
        "numpy, float32": (WORDS // 2, lambda: np.frombuffer(data, ">f4").astype(np.float64)),
    }
    for name, (values, act) in peers.items():
        yield {"bench": "registers", "peer": name, "values": values, "ns_per_value": _time(act, seconds) / values}


def _time(act: Callable[[], object], seconds: float) -> float:
    """ns of CPU per call, compilation left out."""
    act()
    calls, start = 0, time.process_time_ns()
    while time.process_time_ns() - start < seconds * 1e9:
        for _ in range(100):
            act()
        calls += 100
    return (time.process_time_ns() - start) / calls
