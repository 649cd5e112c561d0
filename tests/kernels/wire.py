"""What the tests of the wire kernels share."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def examples(n: int) -> Any:
    """Hypothesis settings: ``n`` examples compiled, a tenth in plain Python."""
    return settings(
        max_examples=n if COMPILED else max(n // 10, 10),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def array(data: bytes) -> Any:
    """A writable uint8 array of these bytes, as a socket buffer is."""
    return np.frombuffer(bytearray(data), np.uint8)


def fenced(data: bytes, guard: bytes) -> tuple[Any, int]:
    """``data`` followed by bytes that must not matter, and its length."""
    return array(data + guard), len(data)


def variable(n: int) -> bytes:
    """An MQTT variable byte integer."""
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | (128 if n else 0))
        if not n:
            return bytes(out)


def publish(
    topic: bytes,
    payload: bytes,
    *,
    qos: int = 0,
    mid: int = 1,
    retain: bool = False,
    dup: bool = False,
    properties: bytes | None = None,
) -> bytes:
    """A PUBLISH packet; with ``properties`` (perhaps empty) of MQTT 5."""
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += mid.to_bytes(2, "big")
    if properties is not None:
        body += variable(len(properties)) + properties
    body += payload
    return bytes([0x30 | dup << 3 | qos << 1 | retain]) + variable(len(body)) + body
