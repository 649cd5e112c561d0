"""One output of one twin: its configuration, and everything the gate has to remember of it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from edgetwin.clock import NS
from edgetwin.config.expressions import Expression, parse_condition
from edgetwin.config.schema import Output as OutputSpec
from edgetwin.control.records import Command

DAY_NS = 86_400 * NS
IDS_MAX = 10_000


@dataclass(slots=True)
class Output:
    """``written`` is the last value that the device is known to hold, NaN when it is not known; ``holder`` is the
    commander whose lease runs until ``until_ns``; ``fallen`` says that the fallback was written (or tried) and nothing
    since, ``owed`` that the device did not take it, last tried at ``owed_ns``; ``writes`` are the times of the writes
    of the last day, ``ids`` the used ones and when they cannot be valid any more."""

    twin: str
    name: str
    spec: OutputSpec
    interlock: Expression | None = None
    armed: bool = False
    written: float = math.nan
    written_ns: int = 0
    holder: str = ""
    until_ns: int = 0
    fallen: bool = True
    owed: bool = False
    owed_ns: int = 0
    fault: str = ""
    writes: deque[int] = field(default_factory=deque)
    ids: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """``twin/name``."""
        return f"{self.twin}/{self.name}"

    @property
    def active(self) -> bool:
        """Whether accepted values are really written."""
        return self.spec.mode == "active"

    def held(self, now_ns: int) -> bool:
        """Whether a commander's lease runs."""
        return bool(self.holder) and now_ns < self.until_ns

    def renew(self, command: Command, now_ns: int) -> None:
        """Give the lease to the commander."""
        self.holder, self.until_ns = command.commander, now_ns + round(self.spec.lease * NS)
        self.fallen = self.owed = False

    def release(self) -> None:
        """End the lease."""
        self.holder, self.until_ns = "", 0

    def note_write(self, now_ns: int) -> None:
        """Count a write."""
        self.written_ns = now_ns
        self.writes.append(now_ns)

    def writes_today(self, now_ns: int) -> int:
        """Writes in the 24 hours before ``now_ns``."""
        while self.writes and now_ns - self.writes[0] >= DAY_NS:
            self.writes.popleft()
        return len(self.writes)

    def is_new(self, command: Command, now_ns: int) -> bool:
        """Whether the command's id has not been seen. Ids are forgotten when they cannot be valid any more."""
        if len(self.ids) >= IDS_MAX:
            for key in [key for key, expires_ns in self.ids.items() if expires_ns <= now_ns]:
                del self.ids[key]
        return (command.commander, command.id) not in self.ids

    @property
    def full(self) -> bool:
        """Whether no further id can be remembered."""
        return len(self.ids) >= IDS_MAX

    def clock_stepped(self, step_ns: int) -> None:
        """What was noted before is as long ago as it was, and the lease as long."""
        self.until_ns += step_ns
        self.owed_ns += step_ns
        self.written_ns += step_ns if self.written_ns else 0
        self.writes = deque(t_ns + step_ns for t_ns in self.writes)

    def remember(self, command: Command) -> None:
        """The command's id is used up; those of rules are made here and never come again."""
        if command.origin != "rule":
            self.ids[command.commander, command.id] = command.issued_ns + command.ttl_ns


def make_output(twin: str, name: str, spec: OutputSpec, states: frozenset[str]) -> Output:
    """An output as it is at the start. ConfigError for an interlock that cannot be read."""
    interlock = parse_condition(spec.interlock, states) if spec.interlock else None
    return Output(twin, name, spec, interlock, armed=spec.armed)
