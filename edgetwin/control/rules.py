"""Rules: conditions on states that ask for a value, with hysteresis and a time they must hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgetwin.clock import NS
from edgetwin.config.expressions import Expression, parse, parse_condition
from edgetwin.config.schema import Rule as RuleSpec
from edgetwin.control.conditions import evaluate, holds
from edgetwin.control.records import State


@dataclass(slots=True)
class Rule:
    """One rule of one twin. ``on`` while it holds; ``since_ns`` is when its condition began to hold (0: it does not).

    ``told`` is what the gate last answered, so that a refusal repeated ten times a second is told once.
    """

    twin: str
    spec: RuleSpec
    when: Expression
    clear: Expression | None
    to: Expression | None
    otherwise: float
    on: bool = False
    ended: bool = False
    since_ns: int = 0
    told: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The states that it looks at."""
        return frozenset().union(*(e.names for e in (self.when, self.clear, self.to) if e is not None))

    @property
    def commander(self) -> str:
        """As the holder of a lease."""
        return f"rule {self.spec.name}"

    def wish(self, states: Mapping[str, State], now_ns: int) -> float | None:
        """The value that the rule asks for now; None: it asks for nothing.

        A rule that has ended asks for ``otherwise``: on and on when the configuration says so, else, it being the
        fallback, until :meth:`settled`. When a condition cannot be evaluated the rule
        stays as it is and asks for nothing, so that its lease runs out.
        """
        values = {name: state.mean for name, state in states.items()}
        held = holds(self.when, values)
        if held is None:
            return None
        if self.on:
            over = not held if self.clear is None else holds(self.clear, values)
            if over is None:
                return None
            if over:
                self.on, self.ended, self.since_ns = False, True, 0
        elif held:
            self.since_ns = self.since_ns or now_ns
            if now_ns - self.since_ns >= self.spec.for_ * NS:
                self.on, self.ended = True, False
        else:
            self.since_ns = 0
        if self.on:
            value = self.spec.to if isinstance(self.spec.to, float) else evaluate(self._target(), values)
            return None if math.isnan(value) else value
        return self.otherwise if self.ended else None

    def settled(self) -> None:
        """What the ended rule asked for has been written."""
        self.ended = self.spec.otherwise is not None

    def _target(self) -> Expression:
        assert self.to is not None
        return self.to


def make_rule(twin: str, spec: RuleSpec, states: frozenset[str], fallback: float) -> Rule:
    """A rule at its start. ConfigError for expressions that cannot be read."""
    return Rule(
        twin,
        spec,
        parse_condition(spec.when, states),
        parse_condition(spec.clear, states) if spec.clear else None,
        parse(spec.to, states) if isinstance(spec.to, str) else None,
        fallback if spec.otherwise is None else spec.otherwise,
    )
