"""Every way in which two engines differ, to the bit, attribute by attribute."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any

import numpy as np

from edgetwin.engine import Engine
from edgetwin.engine.bank import Bank, SignalBank
from edgetwin.model.structural import past_of

LEFT_OUT = {
    # what an engine is made of and whom it knows
    "config", "kernels", "model", "_listeners", "inputs", "numbering",
    # derived from what is compared, when it is first asked for
    "_foresight", "tracing", "_columns", "_every",
    # scratch of one call
    "_now", "_example",
    # compared by what of it a late sample or a forecast may still ask for
    "history",
}  # fmt: skip


def differences(a: Engine, b: Engine) -> list[str]:
    """Places at which the engines differ; empty when one goes on as the other."""
    return list(_walk(a, b, "engine", set()))


def _walk(a: Any, b: Any, path: str, seen: set[int]) -> Iterator[str]:
    if type(a) is not type(b):
        yield f"{path}: {type(a)} is not {type(b)}"
    elif isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            yield f"{path}: {a.dtype}{a.shape} is not {b.dtype}{b.shape}"
        elif a.tobytes() != b.tobytes():
            yield from _fields(a, b, path)
    elif isinstance(a, float):
        if struct.pack("d", a) != struct.pack("d", b):
            yield f"{path}: {a!r} is not {b!r}"
    elif a is None or isinstance(a, int | str | bytes | frozenset | np.generic | Enum):
        if a != b:
            yield f"{path}: {a!r} is not {b!r}"
    elif isinstance(a, dict):
        if list(a) != list(b):
            yield f"{path}: keys {list(a)} are not {list(b)}"
        else:
            for key in a:
                yield from _walk(a[key], b[key], f"{path}[{key!r}]", seen)
    elif isinstance(a, list | tuple | deque):
        if len(a) != len(b):
            yield f"{path}: {len(a)} are not {len(b)}"
        for k, (one, other) in enumerate(zip(a, b, strict=False)):
            yield from _walk(one, other, f"{path}[{k}]", seen)
    elif id(a) not in seen:
        seen.add(id(a))
        if isinstance(a, Bank):
            yield from _walk(_past(a), _past(b), f"{path}.history", seen)
        names = getattr(a, "__dict__", None) or getattr(type(a), "__slots__", ())
        assert names, f"{path}: {type(a)} cannot be looked into"
        for name in names:
            if name not in LEFT_OUT:
                yield from _walk(getattr(a, name), getattr(b, name), f"{path}.{name}", seen)


def _fields(a: np.ndarray, b: np.ndarray, path: str) -> Iterator[str]:
    for name in a.dtype.names or ():
        if a[name].tobytes() != b[name].tobytes():
            yield f"{path}: field {name}: {a[name]} is not {b[name]}"
    if a.dtype.names is None:
        yield f"{path}: {a} is not {b}"


def _past(bank: Bank) -> list[Any]:
    """Of histories and rings what is in use: samples remembered, rows that a late sample may go back to, live entries."""
    history, parts = bank.history, []
    for row in np.flatnonzero(bank.rows["history"] > 0).tolist():
        h = int(bank.rows["history"][row]) - 1
        n = int(history.used[h, 0])
        samples = history.samples[h, :n]
        since = samples["t"].max(initial=0) - bank.rows["late_ns"][row]
        parts += [history.used[h], samples, history.before[h, :n][samples["t"] >= since]]
    if isinstance(bank, SignalBank) and bank.model.structural:
        parts.extend(past_of(bank.rows, history.past))
    return parts
