"""Clocks that are wrong: devices' and the gateway's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgetwin.engine import Engine
from edgetwin.records import Batch, Outcome
from tests.engine.build import SECOND, T0, config, feed, twin

DAY = 86_400 * SECOND
TIMED = {"signal": {"value": "$.v", "time": "$.t"}}


def timed(unit: str = "s", **extra: Any) -> dict[str, Any]:
    return twin(signal={"value": "$.v", "time": "$.t", "time_unit": unit}, **extra)


def mqtt(**extra: Any) -> list[dict[str, Any]]:
    return [{"name": "plant", "kind": "mqtt", "url": "mqtt://127.0.0.1", **extra}]


def state(engine: Engine) -> bytes:
    return engine.banks[0].rows.tobytes()


@pytest.mark.parametrize(
    ("unit", "stamp", "kind", "hint"),
    [
        ("s", T0 + 11 * SECOND, "clock_ahead", "set the device's clock"),
        ("s", T0 - 11 * 365 * DAY, "clock_behind", "set the device's clock"),
        ("s", T0 + 11 * 365 * DAY, "clock_ahead", "set the device's clock"),
        ("s", 5_000 * SECOND, "clock_behind", "count from its start"),
        ("s", 0, "clock_behind", "count from its start"),
        ("ms", T0 // 1000, "clock_behind", "if it is in s:"),
        ("us", T0 // 1000, "clock_behind", "if it is in ms:"),
        ("ns", T0 // 1000, "clock_behind", "if it is in us:"),
    ],
)
def test_absurd_times_change_nothing_and_are_told_once(unit: str, stamp: int, kind: str, hint: str) -> None:
    engine = Engine(config([timed(unit)]))
    feed(engine, [1.0] * 10, now=T0 + 10 * SECOND)
    before = state(engine)
    for _ in range(3):
        feed(engine, [2.0], [stamp], now=T0 + 10 * SECOND if kind == "clock_behind" else T0)
    assert state(engine) == before
    assert engine.ledger.counts[0, Outcome.INVALID] == 3
    assert engine.ledger.balanced()
    (event,) = engine.events.take()
    assert event.kind == kind
    assert (event.data["source"], event.data["twin"], event.data["signal"]) == ("plant", "m", "x")
    assert hint in str(event.data["hint"])


def test_good_data_after_a_future_stamp_are_not_late() -> None:
    engine = Engine(config([timed()]))
    feed(engine, [1.0, 1.0], [T0 + DAY, T0 + SECOND], now=T0 + SECOND)
    assert engine.ledger.counts[0, Outcome.FUSED] == 1


def test_while_the_gateway_is_not_trusted_arrival_stands_in() -> None:
    engine = Engine(config([timed()]))
    engine.trust_clock(False)
    now = T0 - 400 * DAY
    for k in range(5):
        feed(engine, [1.0], [T0 + k * SECOND], now=now + k * SECOND)
    assert engine.ledger.counts[0, Outcome.FUSED] == 5
    assert engine.estimate("m", None, now).last_ns == now + 4 * SECOND


def test_corrected_times_are_those_of_the_gateway() -> None:
    engine = Engine(config([timed()], sources=mqtt(clock="corrected")))
    for k in range(100):
        feed(engine, [1.0], [T0 + k * SECOND + 600 * SECOND], now=T0 + k * SECOND)
    assert engine.ledger.counts[0, Outcome.FUSED] == 100
    assert engine.estimate("m", None, T0).last_ns == T0 + 99 * SECOND
    offset = engine.clocks.offset(0)
    assert offset is not None
    assert offset.offset_s == 600.0
    assert engine.clocks.worst_offsets().tolist() == [600.0]


@pytest.mark.parametrize("spec", [twin(), twin(lateness=5.0), twin(model="constant_velocity", lateness=5.0)])
@pytest.mark.parametrize("step", [-DAY, 50 * 365 * DAY])
def test_a_step_of_the_gateways_clock_is_not_seen_by_filters(spec: dict[str, Any], step: int) -> None:
    """The same samples with and without a step in the middle end in the same state, apart from its date."""
    rows = []
    for jump in (0, step):
        engine = Engine(config([spec]))
        rng = np.random.default_rng(1)
        now = T0
        for k in range(60):
            if k == 30:
                engine.report(now)
                now += jump
                engine.clock_stepped(jump, shift=True)
            feed(engine, [rng.normal()], [now - (k % 3) * 2 * SECOND], now=now)
            now += SECOND
        assert engine.ledger.balanced()
        assert [r.t_ns for r in engine.report(now)] == [now - now % (10 * SECOND)]
        row = engine.banks[0].rows.copy()
        row["t"] -= jump
        row["t_seen"] -= jump
        row["reported"] = 0
        rows.append((row.tobytes(), engine.ledger.counts.tolist()))
    assert rows[0] == rows[1]


def test_twins_dated_by_devices_do_not_move_with_the_gateway() -> None:
    engine = Engine(config([timed()]))
    feed(engine, [1.0], now=T0)
    engine.clock_stepped(DAY, shift=True)
    assert engine.estimate("m", None, T0).last_ns == T0
    engine.trust_clock(False)
    feed(engine, [1.0], [T0 + 2 * DAY], now=T0 + SECOND)
    engine.clock_stepped(2 * DAY, shift=True)
    assert engine.estimate("m", None, T0).last_ns == T0 + 2 * DAY + SECOND


def test_without_a_shift_the_time_between_has_passed() -> None:
    engine = Engine(config())
    feed(engine, [1.0] * 30)
    before = engine.estimate("m", None, T0).states["x"]
    engine.clock_stepped(7 * DAY, shift=False)
    feed(engine, [1.0], [T0 + 7 * DAY], now=T0 + 7 * DAY)
    after = engine.estimate("m", None, T0).states["x"]
    assert 0 < before.std < after.std <= 0.5


def test_a_new_engine_goes_on_from_the_clocks_of_the_old() -> None:
    old, new = Engine(config([timed()])), Engine(config([twin("first"), timed()]))
    for k in range(10):
        feed(old, [1.0], [T0 + k * SECOND + 3 * SECOND], now=T0 + k * SECOND)
    feed(old, [1.0], [T0 + DAY], now=T0)
    new.restore(old.snapshot(), T0)
    assert new.clocks.offset(1) == old.clocks.offset(0) is not None
    assert new.clocks.counts.tolist() == old.clocks.counts.tolist() != [[0, 0, 0, 0]]


def test_batches_of_other_slots_cost_nothing_and_are_left_alone() -> None:
    engine = Engine(config())
    batch = Batch(np.zeros(1, np.int32), np.array([T0 + DAY]), np.ones(1))
    engine.ingest(0, batch, T0)
    assert batch.t_ns[0] == T0 + DAY
    assert engine.clocks.offset(0) is None
    assert np.isnan(engine.clocks.worst_offsets()).all()
    assert engine.events.take() == []
