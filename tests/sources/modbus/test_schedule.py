"""The grid of polls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgetwin.sources.modbus.schedule import Schedule, phase, spread


def test_schedule_keeps_to_its_grid() -> None:
    schedule = Schedule(5_000_000, 10_000_000)
    assert schedule.advance(8_000_000) == 0
    assert schedule.due_ns == 15_000_000
    assert schedule.advance(31_000_000) == 0  # late by less than a period: the next follows at once
    assert schedule.due_ns == 25_000_000
    assert schedule.advance(58_000_000) == 2  # those due at 35 and 45 are left out
    assert schedule.due_ns == 55_000_000


@given(st.integers(10**6, 10**12), st.lists(st.integers(0, 10**12), max_size=30))
def test_schedule_never_drifts(period: int, steps: list[int]) -> None:
    schedule, now, overruns = Schedule(7, period), 7, 0
    for k, step in enumerate(steps, 1):
        now = max(now, schedule.due_ns) + step
        overruns += schedule.advance(now)
        assert schedule.due_ns == 7 + (k + overruns) * period
        assert now - schedule.due_ns < period


@given(st.integers(0, 10**12), st.integers(10**6, 10**12), st.integers(0, 10**12))
def test_after_a_failure_the_next_poll_is_when_told_and_then_on_the_grid(now: int, period: int, pause: int) -> None:
    schedule = Schedule(7, period)
    schedule.skip(now, now + pause)
    assert schedule.due_ns == now + pause
    assert schedule.advance(now + pause) == 0  # what passed meanwhile is no overrun
    assert schedule.due_ns > now + pause
    assert (schedule.due_ns - 7) % period == 0
    assert schedule.due_ns <= max(now + pause + period, 7)


def test_sources_start_apart_and_each_always_at_the_same_phase() -> None:
    phases = [phase(f"plc-{i}", 1) for i in range(50)]
    assert phases == [phase(f"plc-{i}", 1) for i in range(50)]
    assert all(0 <= p < 1 for p in phases)
    assert len(set(phases)) == 50


@given(st.floats(0, 1, exclude_max=True), st.integers(10**6, 10**13))
def test_the_first_poll_is_soon_and_the_grid_is_spread_over_the_whole_period(part: float, period: int) -> None:
    schedule = spread(1000, period, part)
    assert schedule.due_ns - 1000 <= 10**9
    schedule.advance(schedule.due_ns)
    grid = schedule.due_ns
    assert (grid - 1000 - round(part * period)) % period == 0
    schedule.advance(grid)
    assert schedule.due_ns == grid + period
