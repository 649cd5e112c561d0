"""The gate that every write passes: pure, without clock or device.

The questions are asked in the order of :class:`Step`, and the first that is answered with no decides.
"""

from __future__ import annotations

import math

from edgetwin.clock import NS
from edgetwin.config.registers import raw_number
from edgetwin.control.conditions import holds
from edgetwin.control.output import Output
from edgetwin.control.records import Command, Decision, Outlook, Step
from edgetwin.errors import ConfigError
from edgetwin.records import Quality

SKEW_NS = NS
"""How far ahead of ours the clock of a commander may be."""

IDS_FULL = "too many commands are still within their time to live"


def judge(command: Command, output: Output | None, outlook: Outlook, now_ns: int) -> Decision:
    """Whether ``command`` may be carried out now.

    Changes nothing: after an accepted command the caller remembers its id, and renews the lease.
    """
    if output is None:
        return Decision(command, Step.LISTED, f"{command.twin} has no output {command.output}")
    if not output.armed:
        why = f"{output.key} is disarmed" + (f": {output.fault}" if output.fault else "")
        return Decision(command, Step.ARMED, why)
    for step, ask in _QUESTIONS:
        reason = ask(command, output, outlook, now_ns)
        if reason:
            return Decision(command, step, reason)
    writes = not abs(output.written - command.value) <= _same(output)
    if not output.active:
        return Decision(command, Step.SHADOW, f"{output.key} is in shadow: not written", writes)
    return Decision(command, None, "", writes)


def interlock_reason(output: Output, outlook: Outlook, now_ns: int) -> str:
    """Why the interlock does not allow anything; empty when it does, or when there is none."""
    if output.interlock is None:
        return ""
    values = {}
    for name in sorted(output.interlock.names):
        state = outlook.get(name)
        if state is None or not math.isfinite(state.mean):
            return f"{name} is not known"
        if state.quality is Quality.BAD:
            return f"the estimate of {name} is bad"
        if not now_ns - state.at_ns <= output.spec.max_age * NS:
            return f"{name} is {(now_ns - state.at_ns) / NS:.1f} s old, older than max_age"
        limit = output.spec.max_std.get(name, math.inf)
        if not state.std <= limit:
            return f"{name} is uncertain: its standard deviation is {state.std:.6g}, the limit {limit:.6g}"
        values[name] = state.mean
    verdict = holds(output.interlock, values)
    if verdict is None:
        return "the interlock cannot be evaluated"
    return "" if verdict else f"the interlock does not hold: {output.spec.interlock}"


def _range(command: Command, output: Output, _outlook: Outlook, _now_ns: int) -> str:
    low, high = output.spec.range
    if not math.isfinite(command.value):
        return "the value is not a finite number"
    if not low <= command.value <= high:
        return f"{command.value:g} is outside of {low:g} to {high:g}"
    if output.spec.register is not None:
        try:
            raw_number(command.value, output.spec.register)
        except ConfigError as exc:
            return exc.message
    return ""


def _rate(command: Command, output: Output, _outlook: Outlook, now_ns: int) -> str:
    spec = output.spec
    if abs(output.written - command.value) <= _same(output):
        return ""  # nothing would be written
    since_s = (now_ns - output.written_ns) / NS
    if output.written_ns and not since_s >= spec.every:
        return f"the last write was {since_s:.1f} s ago, less than every"
    if spec.rate is not None and math.isfinite(output.written):
        change, allowed = abs(command.value - output.written), spec.rate * max(since_s, 0.0)
        if not change <= allowed:
            return f"a change of {change:g} is more than the {allowed:g} that rate allows by now"
    if output.writes_today(now_ns) >= spec.writes_per_day:
        return f"{spec.writes_per_day} writes within 24 hours are used up"
    return ""


def _interlock(_command: Command, output: Output, outlook: Outlook, now_ns: int) -> str:
    return interlock_reason(output, outlook, now_ns)


def _command(command: Command, output: Output, _outlook: Outlook, now_ns: int) -> str:
    if command.issued_ns - now_ns > SKEW_NS:
        return "it was issued in the future: are the clocks set?"
    if not now_ns < command.issued_ns + command.ttl_ns:
        return "its time to live is over"
    if not output.is_new(command, now_ns):
        return "its id was used before"
    return IDS_FULL if output.full else ""


def _lease(command: Command, output: Output, _outlook: Outlook, now_ns: int) -> str:
    if output.held(now_ns) and output.holder != command.commander:
        return f"{output.holder} holds the output for {(output.until_ns - now_ns) / NS:.1f} s more"
    return ""


def _same(output: Output) -> float:
    return 1e-12 * max(abs(bound) for bound in output.spec.range)


_QUESTIONS = (
    (Step.RANGE, _range),
    (Step.RATE, _rate),
    (Step.INTERLOCK, _interlock),
    (Step.COMMAND, _command),
    (Step.LEASE, _lease),
)
