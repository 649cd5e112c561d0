"""The engine's state as bytes, and back.

One msgpack map: ``version``, ``gateway``, ``ledger`` (source name -> [received, outcomes...]), ``twins`` (template
name, captures) for the twins that templates made, ``signals`` (names and sums of raw samples), ``banks`` (model ->
dtype description, keys, raw rows), and ``health`` (what the filters have shown of themselves, and the sensors put
aside). A file wrapper with a checksum is the runtime's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from edgetwin.errors import JournalError
from edgetwin.records import OUTCOMES

if TYPE_CHECKING:
    from edgetwin.engine.bank import Bank
    from edgetwin.engine.engine import Engine

VERSION = 1


def dump(engine: Engine) -> bytes:
    """The state of ``engine``."""
    ledger = engine.ledger
    document = {
        "version": VERSION,
        "gateway": engine.config.gateway,
        "ledger": {
            name: [int(ledger.received[i]), *ledger.counts[i].tolist()] for i, name in enumerate(engine.sources)
        },
        "twins": [[t.spec.name, t.captures] for t in engine.instances() if t.captures],
        "signals": engine.aggregates.snapshot(),
        "noise_learning": engine.noise_learning_set(),
        "banks": {
            bank.name: {
                "dtype": [list(pair) for pair in _description(bank.rows.dtype)],
                "keys": bank.keys,
                "rows": bank.rows.tobytes(),
                "past": bank.past(),
            }
            for bank in engine.banks
        },
        "health": engine.health.dump(engine.isolation.names) | {"aside": engine.isolation.dump()},
    }
    return bytes(msgpack.packb(document))


def load(engine: Engine, blob: bytes, t_max: int) -> int:
    """Restore into ``engine``; the number of signals restored. JournalError when unreadable."""
    try:
        document: dict[str, Any] = msgpack.unpackb(blob, strict_map_key=True)
        if document["version"] != VERSION:
            raise JournalError(f"snapshot of version {document['version']}, this release reads {VERSION}")
        _remake(engine, document["twins"])
        restored = 0
        for bank in engine.banks:
            saved = document["banks"].get(bank.name)
            if saved is not None:
                restored += _restore_bank(bank, saved, t_max)
        if "signals" in document:
            engine.aggregates.restore(document["signals"])
        if restored and "health" in document:
            engine.health.load(document["health"], engine.isolation.names)
            engine.isolation.load(document["health"]["aside"])
        _restore_ledger(engine, document["ledger"])
        for twin, learning in document.get("noise_learning", {}).items():
            if twin in engine.names() and learning in ("on", "frozen"):
                engine.set_noise_learning(twin, learning)
        engine.hold_restored_noise()
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException) as exc:
        raise JournalError(f"snapshot cannot be read: {exc!r}") from exc
    return restored


def _description(dtype: np.dtype[np.void]) -> list[tuple[Any, ...]]:
    """Name, type and, for an array, shape of each field."""
    assert dtype.names is not None
    fields = [(name, dtype[name]) for name in dtype.names]
    return [(name, f.base.str, f.shape) if f.shape else (name, f.str) for name, f in fields]


def _dtype(description: list[Any]) -> np.dtype[np.void]:
    return np.dtype([(str(name), str(kind), *map(tuple, shape)) for name, kind, *shape in description], align=True)


def _remake(engine: Engine, twins: list[Any]) -> None:
    """Make again the twins that templates had made."""
    templates = {twin.name: twin for twin in engine.config.twins}
    for template_name, captures in twins:
        if template_name in templates:
            engine.hear(templates[template_name], captures)


def _restore_bank(bank: Bank, saved: dict[str, Any], t_max: int) -> int:
    old = np.frombuffer(saved["rows"], _dtype(saved["dtype"]))
    place = {tuple(key): i for i, key in enumerate(saved["keys"])}
    pairs = [(i, place[key]) for i, key in enumerate(bank.keys) if key in place]
    if not pairs:
        return 0
    to, frm = (np.array(column) for column in zip(*pairs, strict=True))
    usable = (old["updates"][frm] > 0) & (old["t"][frm] <= t_max)
    to, frm = to[usable], frm[usable]
    bank.adopt(old, to, frm)
    bank.restore_past(saved.get("past", b""), old, to, frm)
    return len(to)


def _restore_ledger(engine: Engine, saved: dict[str, list[int]]) -> None:
    for i, name in enumerate(engine.sources):
        if name in saved:
            engine.ledger.received[i] += saved[name][0]
            engine.ledger.counts[i] += np.array(saved[name][1:], np.int64)


def summary(blob: bytes) -> dict[str, Any]:
    """A snapshot for reading: ledger by source, and for each twin and signal the state and its time."""
    document = msgpack.unpackb(blob)
    twins: dict[str, Any] = {}
    for model, saved in document["banks"].items():
        rows = np.frombuffer(saved["rows"], _dtype(saved["dtype"]))
        names = [n for n, *_ in saved["dtype"] if n[0] == "x" and n[1:].isdigit()]
        for (twin, signal), row in zip(saved["keys"], rows, strict=True):
            twins.setdefault(twin, {})[signal or model] = {
                "model": model,
                "t_ns": int(row["t"]),
                "state": [float(row[n]) for n in names],
                "fused": int(row["fused"]),
                "gated": int(row["gated"]),
            }
    outcomes = ("received", *OUTCOMES)
    ledger = {name: dict(zip(outcomes, counts, strict=True)) for name, counts in document["ledger"].items()}
    return {"ledger": ledger, "twins": twins}
