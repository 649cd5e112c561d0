"""Every question of the gate, in its order."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from edgetwin.clock import NS
from edgetwin.control.gate import SKEW_NS, judge
from edgetwin.control.output import DAY_NS, IDS_MAX, Output, make_output
from edgetwin.control.records import Command, Outlook, State, Step
from edgetwin.records import Quality
from tests.control.rig import NOW, STATES, spec

COMMAND = Command("1", "scada", "oven", "fan", 50.0, NOW, 5 * NS, "http")
OUTLOOK: Outlook = {"T": State(60.0, 0.5, NOW)}


def output(**extra: Any) -> Output:
    return make_output("oven", "fan", spec(**extra), STATES)


def stopped(out: Output | None, command: Command = COMMAND, outlook: Outlook = OUTLOOK, now: int = NOW) -> Step | None:
    decision = judge(command, out, outlook, now)
    assert decision.accepted or decision.reason
    return decision.step


def test_a_plain_command_passes() -> None:
    assert stopped(output()) is None
    assert judge(COMMAND, output(), OUTLOOK, NOW).writes


def test_armed_and_listed() -> None:
    assert stopped(None) is Step.LISTED
    assert stopped(output(armed=False)) is Step.ARMED


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.001, 100.001])
def test_range(value: float) -> None:
    assert stopped(output(), replace(COMMAND, value=value)) is Step.RANGE


@pytest.mark.parametrize(
    ("register", "value"),
    [({"enum": {"0": 0, "1": 80}}, 50.0), ({"scale": 0.001}, 99.0), ({"invalid": [50]}, 50.0)],
)
def test_a_value_that_the_register_cannot_hold(register: dict[str, Any], value: float) -> None:
    out = output(topic=None, register={"address": 10, **register})
    assert stopped(out, replace(COMMAND, value=value)) is Step.RANGE
    assert stopped(out, replace(COMMAND, value=0.0)) is None


def test_rate() -> None:
    out = output(rate=10.0)
    out.written, out.written_ns = 20.0, NOW - 2 * NS
    assert stopped(out, replace(COMMAND, value=40.0)) is None
    assert stopped(out, replace(COMMAND, value=40.1)) is Step.RATE
    assert stopped(out, replace(COMMAND, value=-0.0)) is None
    assert stopped(out, replace(COMMAND, value=20.0, issued_ns=out.written_ns), now=out.written_ns) is None


def test_interval_and_budget() -> None:
    out = output(every=5.0, writes_per_day=3)
    out.written = 20.0
    out.note_write(NOW - 4 * NS)
    assert stopped(out) is Step.RATE
    assert stopped(out, replace(COMMAND, value=20.0)) is None
    assert stopped(out, replace(COMMAND, issued_ns=NOW + NS), now=NOW + NS) is None
    out.writes.extend([NOW - 3 * NS, NOW - 2 * NS])
    assert stopped(out, replace(COMMAND, issued_ns=NOW + NS), now=NOW + NS) is Step.RATE
    later = NOW + DAY_NS - 4 * NS
    assert stopped(out, replace(COMMAND, issued_ns=later), now=later) is None


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ({"T": State(95.0, 0.5, NOW)}, "does not hold"),
        ({"T": State(60.0, 1.01, NOW)}, "uncertain"),
        ({"T": State(60.0, math.nan, NOW)}, "uncertain"),
        ({"T": State(60.0, 0.5, NOW - 11 * NS)}, "old"),
        ({"T": State(math.nan, 0.5, NOW)}, "not known"),
        ({"T": State(60.0, 0.5, NOW, Quality.BAD)}, "is bad"),
        ({}, "not known"),
    ],
)
def test_interlock(states: dict[str, State], reason: str) -> None:
    out = output(interlock="T < 90", max_age=10.0, max_std={"T": 1.0})
    assert stopped(out) is None
    decision = judge(COMMAND, out, states, NOW)
    assert decision.step is Step.INTERLOCK
    assert reason in decision.reason


def test_an_interlock_that_has_no_value_forbids() -> None:
    out = output(interlock="1/(T - 60) > 0")
    assert stopped(out) is Step.INTERLOCK


def test_time_to_live_and_replay() -> None:
    assert stopped(output(), now=NOW + 5 * NS) is Step.COMMAND
    assert stopped(output(), now=NOW + 5 * NS - 1) is None
    assert stopped(output(), replace(COMMAND, issued_ns=NOW + SKEW_NS + 1)) is Step.COMMAND
    out = output()
    out.remember(COMMAND)
    assert stopped(out) is Step.COMMAND
    assert stopped(out, replace(COMMAND, commander="other")) is None


def test_ids_are_forgotten_only_when_they_cannot_be_used_again() -> None:
    out = output()
    for k in range(IDS_MAX):
        out.remember(replace(COMMAND, id=f"a{k}", ttl_ns=10 * NS))
    assert stopped(out, replace(COMMAND, id="new")) is Step.COMMAND
    late = replace(COMMAND, id="new", issued_ns=NOW + 11 * NS)
    assert stopped(out, late, now=NOW + 11 * NS) is None
    assert stopped(out, replace(COMMAND, id="a0"), now=NOW + 11 * NS) is Step.COMMAND


def test_lease() -> None:
    out = output()
    out.renew(replace(COMMAND, commander="other"), NOW - 10 * NS)
    assert stopped(out) is Step.LEASE
    assert stopped(out, replace(COMMAND, commander="other")) is None
    late = NOW + 51 * NS
    assert stopped(out, replace(COMMAND, issued_ns=late), now=late) is None


def test_shadow_is_asked_last() -> None:
    assert stopped(output(mode="shadow")) is Step.SHADOW
    assert stopped(output(mode="shadow"), replace(COMMAND, value=200.0)) is Step.RANGE
    assert stopped(output(mode="shadow", armed=False)) is Step.ARMED
