"""What happened to twins reaches whoever takes it, once."""

from __future__ import annotations

from edgetwin.engine import Engine
from edgetwin.engine.events import EVENTS_MAX, EventLog
from tests.engine.build import SECOND, T0, config, feed, twin

JUMP = [1.0] * 20 + [500.0] * 6
AFTER = T0 + len(JUMP) * SECOND


def test_a_full_log_says_how_many_events_went() -> None:
    log = EventLog()
    for k in range(EVENTS_MAX + 3):
        log.add("something", k)
    taken = log.take()
    assert (taken[0].kind, taken[0].data) == ("events_lost", {"count": 3})
    assert [event.t_ns for event in taken[1:]] == list(range(3, EVENTS_MAX + 3))
    assert log.take() == []


def test_a_filter_that_starts_again_says_so_once() -> None:
    engine = Engine(config())
    feed(engine, JUMP)
    engine.report(AFTER)
    (event,) = engine.events.take()
    assert event.kind == "twin_restarted"
    assert event.data == {"twin": "m", "state": "x", "restarts": 1}
    engine.report(AFTER + SECOND)
    assert engine.events.take() == []


def test_a_restart_told_before_a_stop_is_not_told_again() -> None:
    engine, again, changed = Engine(config()), Engine(config()), Engine(config([twin(gate=4.0)]))
    feed(engine, JUMP)
    engine.report(AFTER)
    assert len(engine.events.take()) == 1
    for new in (again, changed):
        assert new.restore(engine.snapshot(), AFTER) == 1
        new.report(AFTER + SECOND)
        assert new.events.take() == []


def test_an_event_that_was_not_taken_before_a_stop_is_not_lost() -> None:
    engine, again = Engine(config()), Engine(config())
    engine.tell("something", T0, number=1)
    feed(engine, JUMP)
    again.restore(engine.snapshot(), AFTER)
    again.look()
    assert [event.kind for event in again.events.take()] == ["something", "twin_restarted"]
