"""What the filters of a twin have learned of noise, dynamics and seasons, and the switch that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgetwin.engine.bank import SignalBank
from edgetwin.engine.learned import SignalNoise
from edgetwin.engine.relations import Relation

if TYPE_CHECKING:
    from edgetwin.engine.engine import Engine

Learning = Literal["on", "frozen"]


@dataclass(frozen=True, slots=True)
class TwinNoise:
    """``learning`` as it is set now; ``relations`` among the twin's signals, strongest first (``auto`` and other
    built-in models)."""

    twin: str
    learning: Learning
    signals: dict[str, SignalNoise]
    relations: list[Relation]


def twin_noise(engine: Engine, name: str) -> TwinNoise:
    """What the twin has learned. Raises KeyError for an unknown twin."""
    instance = engine.instance(name)
    signals = {}
    rows = []
    bank, place = None, 0
    for signal, slot in instance.slots.items():
        bank, place = engine.place(slot)
        signals[signal] = bank.learned(place)
        rows.append(place // bank.channels)
    relations = engine.relations_of(bank, rows, list(instance.slots)) if isinstance(bank, SignalBank) else []
    return TwinNoise(name, engine.noise_learning(name), signals, relations)
