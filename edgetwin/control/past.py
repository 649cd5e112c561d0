"""What earlier runs did to each output, as their audit tells it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edgetwin.control.audit import Entry
from edgetwin.records import Scalar


@dataclass(slots=True)
class Past:
    """Of one output: ``ids`` are used ones and when they cannot be valid any more, ``writes`` the times of the writes;
    ``owed`` says that something was written, or may have been, and no fallback since was taken by the device."""

    ids: dict[tuple[str, str], int] = field(default_factory=dict)
    writes: list[int] = field(default_factory=list)
    owed: bool = False


def read_past(entries: Iterable[Entry]) -> dict[str, Past]:
    """The past of every output in the audit, by its key ``twin/name``."""
    found: dict[str, Past] = {}
    for entry in entries:
        past = found.setdefault(str(entry.data.get("output", "")), Past())
        if entry.kind == "decision" and entry.data.get("used") and entry.data.get("origin") != "rule":
            past.ids[str(entry.data["commander"]), str(entry.data["id"])] = _integer(entry.data.get("expires"))
        elif entry.kind == "intent":
            past.writes.append(entry.t_ns)
            past.owed = True
        elif entry.kind == "fallback":
            past.owed = bool(entry.data.get("error"))
    return found


def _integer(value: Scalar) -> int:
    return value if isinstance(value, int) else 0
