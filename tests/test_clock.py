"""The gateway's time: follows the machine's, never goes back between steps, and knows when it was never set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.clock import NOT_BEFORE_NS, NS, STEP_LEAST_NS, GatewayClock, ManualClock, Step, SystemClock

T = 1_800_000_000 * NS
DAY = 86_400 * NS


def test_it_runs_with_the_machine() -> None:
    machine = ManualClock(T)
    clock = GatewayClock(machine)
    machine.advance(5)
    assert (clock.wall_ns(), clock.monotonic_ns(), clock.trusted) == (T + 5, 5, True)


def test_the_systems_clock_can_be_followed() -> None:
    system = SystemClock()
    assert system.synchronized() in (True, False, None)
    assert system.elapsed_ns() >= 0
    assert abs(GatewayClock(system).wall_ns() - system.wall_ns()) < NS


def test_a_step_is_seen_only_when_looked_for() -> None:
    machine = ManualClock(T)
    clock = GatewayClock(machine)
    machine.set(T - DAY)
    assert clock.wall_ns() == T
    assert clock.poll() == Step(-DAY, was_wrong=True)
    assert clock.wall_ns() == T - DAY
    machine.set(T + 7 * DAY)
    assert clock.poll() == Step(8 * DAY, was_wrong=False)
    assert clock.poll() is None


@given(st.lists(st.tuples(st.integers(0, NS), st.integers(-STEP_LEAST_NS // 2, STEP_LEAST_NS // 2)), max_size=50))
def test_between_steps_it_never_goes_back(moves: list[tuple[int, int]]) -> None:
    machine = ManualClock(T)
    clock = GatewayClock(machine)
    last = clock.wall_ns()
    for advance, adjustment in moves:
        machine.advance(advance)
        machine.set(machine.wall_ns() + adjustment)
        stepped = clock.poll() is not None
        now = clock.wall_ns()
        assert stepped or now >= last
        last = now


def test_a_small_error_is_slewed_away() -> None:
    machine = ManualClock(T)
    clock = GatewayClock(machine)
    machine.set(T - NS // 4)
    for _ in range(20):
        machine.advance(NS // 4)
        assert clock.poll() is None
    assert clock.wall_ns() == machine.wall_ns()


@pytest.mark.parametrize("synchronized", [None, False])
def test_a_clock_that_was_never_set_starts_at_the_floor_until_it_is(synchronized: bool | None) -> None:
    machine = ManualClock(3 * NS, synchronized)
    clock = GatewayClock(machine)
    assert (clock.wall_ns(), clock.trusted) == (NOT_BEFORE_NS, False)
    clock.not_before(T)
    machine.advance(NS)
    assert clock.poll() is None
    assert clock.wall_ns() == T + NS
    machine.set(T + DAY, synchronized=True)
    assert clock.poll() == Step(DAY - NS, was_wrong=True)
    assert clock.trusted


def test_a_synchronised_clock_is_believed_though_a_file_says_it_was_later() -> None:
    machine = ManualClock(T, synchronized=True)
    clock = GatewayClock(machine)
    clock.not_before(T + 7 * DAY)
    assert (clock.wall_ns(), clock.trusted) == (T, True)
