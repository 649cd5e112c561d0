"""The daemon's clock is set while it runs."""

from __future__ import annotations

from pathlib import Path

from edgetwin.clock import NOT_BEFORE_NS, NS, ManualClock
from edgetwin.journal.layout import Kind
from edgetwin.runtime.checkpoint import Positions, restore
from edgetwin.runtime.daemon import Daemon
from tests.engine.build import config, feed

TODAY = 1_800_000_000 * NS


def test_booted_in_1970_and_set_later(tmp_path: Path) -> None:
    machine = ManualClock(12 * NS, synchronized=False)
    daemon = Daemon(tmp_path / "x.yaml", config(), machine)
    keeper = daemon.timekeeper
    keeper.look()
    for _ in range(20):
        machine.advance(NS)
        feed(daemon.engine, [1.0], [daemon.clock.wall_ns()], now=daemon.clock.wall_ns())
        keeper.look()
    before = daemon.engine.estimate("m", None, daemon.clock.wall_ns())
    assert before.last_ns == NOT_BEFORE_NS + 20 * NS
    assert any(reason.startswith("clock: ") for reason in daemon.reasons)

    machine.set(TODAY, synchronized=True)
    keeper.look()
    after = daemon.engine.estimate("m", None, daemon.clock.wall_ns())
    assert after.last_ns == TODAY
    assert after.states == before.states
    assert after.quality == before.quality
    assert not any(reason.startswith("clock: ") for reason in daemon.reasons)
    told = {event.kind: event for event in daemon.engine.events.take()}
    assert list(told) == ["clock_untrusted", "clock_stepped", "clock_trusted"]
    assert told["clock_stepped"].data == {"seconds": (TODAY - NOT_BEFORE_NS) / NS - 20, "states_moved": True}


def test_a_clock_without_battery_goes_on_from_the_last_save(tmp_path: Path) -> None:
    first = Daemon(tmp_path / "x.yaml", config(), ManualClock(TODAY, synchronized=True))
    feed(first.engine, [1.0] * 5)
    state = [(Kind.STATE_BASE, first.engine.snapshot())]

    again = Daemon(tmp_path / "x.yaml", config(), ManualClock(0, synchronized=False))
    found = restore(state, Positions("g", first.clock.wall_ns()).pack(), again.engine, again.clock.wall_ns())
    assert found is not None
    again.clock.not_before(found.wall_ns)
    assert again.clock.wall_ns() == TODAY
    assert again.engine.estimate("m", None, TODAY).states == first.engine.estimate("m", None, TODAY).states
