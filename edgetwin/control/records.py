"""What travels through the control of outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from edgetwin.records import Quality


class Step(Enum):
    """Where a command was stopped, in the order in which the gate asks."""

    AUTHORISED = "authorised"
    ARMED = "armed"
    LISTED = "listed"
    RANGE = "range"
    RATE = "rate"
    INTERLOCK = "interlock"
    COMMAND = "command"
    LEASE = "lease"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Command:
    """A wish to set ``output`` of ``twin`` to ``value``.

    ``id`` is unique among the commands of ``commander``; ``issued_ns`` wall time; ``ttl_ns`` how long it may be carried
    out. ``origin`` says which way it came: ``http``, ``mqtt`` or ``rule``.
    """

    id: str
    commander: str
    twin: str
    output: str
    value: float
    issued_ns: int
    ttl_ns: int
    origin: str


@dataclass(frozen=True, slots=True)
class State:
    """One state as conditions see it; ``at_ns`` is the time of the last sample that it comes from, ``quality`` that of
    the filter it belongs to."""

    mean: float
    std: float
    at_ns: int
    quality: Quality = Quality.GOOD


Outlook = Mapping[str, State]
"""What is known of a twin at the moment of a decision, by name of the state."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer. ``step`` is where it stopped, None when it was let through; ``writes``: the value is new."""

    command: Command
    step: Step | None
    reason: str
    writes: bool = False

    @property
    def accepted(self) -> bool:
        """Whether it was let through."""
        return self.step is None


class Result(Enum):
    """How a command that was let through ended."""

    WRITTEN = "written"
    RENEWED = "renewed"
    FAILED = "failed"
