"""A device that can misbehave, and a controller over it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from edgetwin.clock import NS, ManualClock, SystemClock
from edgetwin.config.schema import Output as OutputSpec
from edgetwin.config.schema import Rule as RuleSpec
from edgetwin.control.audit import Audit
from edgetwin.control.controller import Controller
from edgetwin.control.output import Output, make_output
from edgetwin.control.records import Command, Outlook, State
from edgetwin.control.rules import make_rule
from edgetwin.errors import ControlError
from edgetwin.journal.disk import RealDisk
from edgetwin.journal.group import Group
from edgetwin.journal.journal import Journal
from edgetwin.journal.limits import Limits
from edgetwin.records import Scalar

NOW = 1_800_000_000 * NS
STATES = frozenset({"T", "W"})


def spec(**extra: Any) -> OutputSpec:
    data = {"source": "plc", "topic": "t", "range": [0, 100], "fallback": 0, "mode": "active", "armed": True, **extra}
    return msgspec.convert(data, OutputSpec, dec_hook=lambda kind, value: kind(value))


def rule_spec(**data: Any) -> RuleSpec:
    return msgspec.convert(data, RuleSpec, dec_hook=lambda kind, value: kind(value))


@dataclass
class Device:
    """``holds`` is its register. ``writes`` counts what arrived. The flags make it misbehave."""

    holds: float = 0.0
    writes: list[float] = field(default_factory=list)
    ignores: bool = False
    dead: bool = False
    echoes_wrongly: bool = False
    unreadable: bool = False
    resolution: float = 0.0

    async def write(self, value: float) -> None:
        await asyncio.sleep(0)
        if self.dead:
            raise ControlError("no answer")
        self.writes.append(value)
        if not self.ignores:
            self.holds = value
        if self.echoes_wrongly:
            raise ControlError("the echo is of another write", sent=True)

    async def read(self) -> float | None:
        if self.dead:
            raise ControlError("no answer")
        return None if self.unreadable else self.holds


class AtOnce:
    """The journal in a directory, which belongs to the run that opened it last."""

    _open: ClassVar[dict[Path, Journal]] = {}

    def __init__(self, directory: Path) -> None:
        if (earlier := self._open.pop(directory, None)) is not None:
            earlier.close()
        self.journal, _ = Journal.open(RealDisk(directory / "journal"), Limits(), SystemClock())
        self._open[directory] = self.journal

    async def commit(self, group: Group) -> None:
        self.journal.commit(group)


class Rig:
    """One twin ``oven`` with output ``fan``."""

    def __init__(self, directory: Path | None = None, device: Device | None = None, **extra: Any) -> None:
        self.clock = ManualClock(NOW)
        self.device = device or Device()
        self.audit = Audit(None if directory is None else AtOnce(directory))
        self.events: list[tuple[str, Mapping[str, Scalar]]] = []
        self.outlook: Outlook = {"T": State(60.0, 0.5, NOW), "W": State(20.0, 0.5, NOW)}
        self.controller = Controller(
            self.clock, self.audit, lambda _twin: self.outlook, lambda kind, _t, data: self.events.append((kind, data))
        )
        self.output: Output = make_output("oven", "fan", spec(**extra), STATES)
        self.controller.add(self.output, self.device)
        self._number = 0

    def rule(self, **data: Any) -> None:
        made = rule_spec(**{"name": "cool", "set": "fan", **data})
        self.controller.add_rule(make_rule("oven", made, STATES, self.output.spec.fallback))

    def command(self, value: float, **extra: Any) -> Command:
        self._number += 1
        fields = {"id": str(self._number), "commander": "scada", "issued_ns": self.clock.wall_ns(), "ttl_ns": 5 * NS}
        return Command(**{**fields, "twin": "oven", "output": "fan", "value": value, "origin": "http", **extra})

    def see(self, t: float, std: float = 0.5) -> None:
        """A fresh estimate of T."""
        now = self.clock.wall_ns()
        self.outlook = {"T": State(t, std, now), "W": State(20.0, 0.5, now)}

    async def pass_time(self, seconds: float, step_s: float = 0.1) -> None:
        """Let the controller look after its outputs meanwhile."""
        for _ in range(round(seconds / step_s)):
            self.clock.advance(round(step_s * NS))
            async with asyncio.TaskGroup() as tasks:
                self.controller.look_after(tasks)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.audit.recent]
