"""The engine's state as bytes, and back.

One map (edgetwin.engine.packing): ``version``, ``gateway``, ``fingerprint`` (of what the state's layout depends on),
``sources`` and ``slots`` (names, by number), ``ledger``, ``twins`` (template name, captures: those that templates
made), ``banks`` (model -> rows and histories), and what each part of the engine gives by its ``dump``. A file wrapper
with a checksum is the runtime's business.

An engine of the same fingerprint goes on to the bit: each part takes its state as it is (``resume``). Another one takes
what it can find by name (``load``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgpack
import msgspec
import numpy as np

from edgetwin.config.equations import EquationModel
from edgetwin.engine.bank import SignalBank
from edgetwin.engine.events import EventLog
from edgetwin.engine.inputs import Numbering
from edgetwin.engine.packing import Pairs, pack, unpack
from edgetwin.engine.relations import Relations
from edgetwin.errors import JournalError
from edgetwin.records import OUTCOMES

if TYPE_CHECKING:
    from edgetwin.engine.bank import Bank
    from edgetwin.engine.engine import Engine

VERSION = 2


def dump(engine: Engine) -> bytes:
    """The state of ``engine``."""
    return pack(
        {
            "version": VERSION,
            "gateway": engine.config.gateway,
            "fingerprint": _fingerprint(engine),
            "sources": engine.sources,
            "slots": engine.slot_names,
            "ledger": [engine.ledger.received, engine.ledger.counts],
            "twins": [[t.spec.name, t.captures] for t in engine.instances() if t.captures],
            "noise_learning": engine.noise_learning_set,
            "banks": {bank.name: bank.dump() for bank in engine.banks},
            "clocks": engine.clocks.dump(),
            "aggregates": engine.aggregates.dump(),
            "health": engine.health.dump(),
            "isolation": engine.isolation.dump(),
            "restarts": engine.restarts.dump(),
            "reporter": engine.reporter.dump(),
            "relations": {name: relations.dump() for name, relations in engine.relations.items()},
            "events": engine.events.dump(),
            "gathering": engine.gathering.dump(),
        }
    )


def load(engine: Engine, blob: bytes, t_max: int) -> int:
    """Restore into ``engine``, which is new; the number of filters restored. JournalError when unreadable."""
    try:
        document: dict[str, Any] = unpack(blob)
        if document["version"] != VERSION:
            raise JournalError(
                f"snapshot of version {document['version']}, this release reads {VERSION}",
                hint="start with an empty state_dir, or with the release that wrote it",
            )
        _remake(engine, document["twins"])
        sources = _pairs(engine.sources, document["sources"])
        slots = _pairs(engine.slot_names, [tuple(name) for name in document["slots"]])
        if _is_same(engine, document, t_max):
            restored = _resume(engine, document, t_max)
        else:
            restored = _load(engine, document, slots, t_max)
        engine.ledger.received[sources[0]] += document["ledger"][0][sources[1]]
        engine.ledger.counts[sources[0]] += document["ledger"][1][sources[1]]
        engine.clocks.load(document["clocks"], slots, sources)
        engine.aggregates.load(document["aggregates"], slots, t_max)
        engine.events.load(document["events"])
        engine.gathering.load(document["gathering"])
        engine.numbering = Numbering(engine, document["sources"], [tuple(name) for name in document["slots"]])
    except (LookupError, ValueError, TypeError, AttributeError, msgpack.UnpackException) as exc:
        raise JournalError(f"snapshot cannot be read: {exc!r}") from exc
    return restored


def _fingerprint(engine: Engine) -> str:
    """Changes with anything that numbers, rows, or what is configured in rows depend on, except the twins heard."""
    kernels = [(bank.name, bank.kernels.update.__module__) for bank in engine.banks]
    equations = [bank.model for bank in engine.banks if isinstance(bank.model, EquationModel)]
    models = [[m.states, m.inputs, m.parameters, m.process_noise, m.units] for m in equations]
    text = msgspec.json.encode([engine.sources, engine.config.twins, kernels, models], enc_hook=float)  # durations
    return hashlib.sha256(text).hexdigest()


def _is_same(engine: Engine, document: dict[str, Any], t_max: int) -> bool:
    """Whether every row and slot stands where it stood, as it was configured, and none is of the future."""
    if document["fingerprint"] != _fingerprint(engine) or len(document["slots"]) != len(engine.slot_names):
        return False
    rows = [(bank.rows, document["banks"][bank.name]["rows"]) for bank in engine.banks]
    return all(new.dtype == old.dtype and new.shape == old.shape and (old["t"] <= t_max).all() for new, old in rows)


def _resume(engine: Engine, document: dict[str, Any], t_max: int) -> int:
    for bank in engine.banks:
        bank.resume(document["banks"][bank.name])
        if isinstance(bank, SignalBank) and bank.name in document["relations"]:
            engine.relations[bank.name] = Relations(bank)
            engine.relations[bank.name].resume(document["relations"][bank.name])
    engine.health.resume(document["health"])
    engine.isolation.resume(document["isolation"])
    engine.restarts.resume(document["restarts"])
    engine.reporter.resume(document["reporter"], engine.banks, t_max)
    engine.noise_learning_set.update(document["noise_learning"])
    return sum(int((bank.rows["updates"] > 0).sum()) for bank in engine.banks)


def _load(engine: Engine, document: dict[str, Any], slots: Pairs, t_max: int) -> int:
    restored = 0
    for bank in engine.banks:
        saved = document["banks"].get(bank.name)
        if saved is not None:
            restored += _load_bank(bank, saved, t_max)
    if restored:
        engine.health.load(document["health"], slots)
        engine.isolation.load(document["isolation"], document["health"], slots)
    for twin, learning in document["noise_learning"].items():
        if engine.has(twin) and learning in ("on", "frozen"):
            engine.set_noise_learning(twin, learning)
    engine.hold_restored_noise()
    engine.restarts.look(engine.banks, EventLog())  # told before the stop
    return restored


def _load_bank(bank: Bank, saved: dict[str, Any], t_max: int) -> int:
    old = saved["rows"]
    to, frm = _pairs(bank.keys, [tuple(key) for key in saved["keys"]])
    usable = (old["updates"][frm] > 0) & (old["t"][frm] <= t_max)
    to, frm = to[usable], frm[usable]
    bank.adopt(old, to, frm)
    bank.restore_past(saved["past"], old, to, frm)
    return len(to)


def _remake(engine: Engine, twins: list[Any]) -> None:
    """Make again the twins that templates had made."""
    templates = {twin.name: twin for twin in engine.config.twins}
    for template_name, captures in twins:
        if template_name in templates:
            engine.hear(templates[template_name], captures)


def _pairs(new: Sequence[Any], old: Sequence[Any]) -> Pairs:
    """Where what has the same name stands."""
    place = {name: k for k, name in enumerate(old)}
    found = [(k, place[name]) for k, name in enumerate(new) if name in place]
    to, source = np.array(found, np.int64).reshape(-1, 2).T
    return to, source


def summary(blob: bytes) -> dict[str, Any]:
    """A snapshot for reading: ledger by source, and for each twin and signal the state and its time."""
    document = unpack(blob)
    twins: dict[str, Any] = {}
    for model, saved in document["banks"].items():
        rows = saved["rows"]
        names = [n for n in rows.dtype.names if n[0] == "x" and n[1:].isdigit()]
        for (twin, signal), row in zip(saved["keys"], rows, strict=True):
            twins.setdefault(twin, {})[signal or model] = {
                "model": model,
                "t_ns": int(row["t"]),
                "state": [float(row[n]) for n in names],
                "fused": int(row["fused"]),
                "gated": int(row["gated"]),
            }
    outcomes = ("received", *OUTCOMES)
    received, counts = document["ledger"]
    ledger = {
        name: dict(zip(outcomes, [total, *by_outcome], strict=True))
        for name, total, by_outcome in zip(document["sources"], received.tolist(), counts.tolist(), strict=True)
    }
    return {"ledger": ledger, "twins": twins}
