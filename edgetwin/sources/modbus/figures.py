"""What a source has seen of each unit, for metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgetwin.clock import NS
from edgetwin.instruments import Histogram

OUTCOMES = ("answered", "refused", "wrong", "timed_out", "lost")
"""``refused``: exception responses; ``wrong``: what could not be the answer; ``lost``: the connection broke."""


@dataclass(slots=True)
class UnitFigures:
    """``requests``: seconds from request to answer, refusals included; ``outcomes``: requests by outcome; ``up``: the
    last request was answered; ``error``: why not."""

    requests: Histogram = field(default_factory=Histogram)
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    up: bool = False
    error: str = ""

    def answered(self, took_ns: int) -> None:
        """The device gave what was asked."""
        self.requests.observe(took_ns / NS)
        self.outcomes["answered"] += 1
        self.up, self.error = True, ""

    def refused(self, took_ns: int) -> None:
        """It said that it would not."""
        self.requests.observe(took_ns / NS)
        self.outcomes["refused"] += 1
        self.up, self.error = True, ""

    def failed(self, outcome: str, error: str) -> None:
        """Nothing usable came."""
        self.outcomes[outcome] += 1
        self.up, self.error = False, error
