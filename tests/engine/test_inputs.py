"""An engine that was cut off goes on from a snapshot and the log of its inputs as if nothing had happened."""

from __future__ import annotations

import os
import struct
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from google_crc32c import value as crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.engine import Engine
from edgetwin.engine.events import EVENTS_MAX
from edgetwin.engine.inputs import InputLog, replay
from edgetwin.engine.packing import pack
from edgetwin.errors import JournalError
from edgetwin.records import Batch, Outcome
from tests.engine.build import SECOND, T0, config, feed, twin
from tests.engine.life import PEND, ROOM, SOURCES, TWINS, Call, give, life, plant
from tests.engine.same import differences
from tests.kernels.wire import COMPILED

LIVES = int(os.environ.get("EDGETWIN_LIVES", "3"))
"""Lives to live, each of another seed."""
SEED = int(os.environ.get("EDGETWIN_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
STEPS = 400 if COMPILED else 60
FAR = T0 + 10**17


class Disk:
    """What is left of an engine when its process is killed: the last snapshot and the logs since."""

    def __init__(self, engine: Engine) -> None:
        self.base = b""
        self.logs: list[bytes] = []
        engine.inputs = InputLog()

    def checkpoint(self, engine: Engine, *, whole: bool) -> None:
        assert engine.inputs is not None
        self.logs.append(engine.inputs.take())
        if whole:
            self.base, self.logs = engine.snapshot(), []

    def recover(self, engine: Engine, now_ns: int) -> Engine:
        """Bring a new engine to where the old one was."""
        if self.base:
            engine.restore(self.base, now_ns)
        for log in self.logs:
            replay(engine, log)
        engine.inputs = InputLog()
        return engine


@pytest.mark.parametrize("number", range(LIVES))
def test_killed_at_any_instants_it_ends_as_if_never_killed(number: int) -> None:
    seed = SEED + number
    print(f"EDGETWIN_SEED={seed} EDGETWIN_LIVES=1")
    rng = np.random.default_rng(seed)
    whole, cut = Engine(plant()), Engine(plant())
    disk, latest = Disk(cut), T0
    for call in life(seed, STEPS):
        latest = max(latest, call.now_ns)
        told, again = give(whole, call), give(cut, call)
        assert pack(_plain(told)) == pack(_plain(again)), call
        chance = rng.random()
        if chance < 0.05:
            disk.checkpoint(cut, whole=bool(rng.random() < 0.2))
        elif chance < 0.065:
            disk.checkpoint(cut, whole=bool(rng.random() < 0.2))
            killed, cut = cut, disk.recover(Engine(plant()), latest)
            assert differences(killed, cut) == [], call
    assert differences(whole, cut) == []
    assert whole.ledger.balanced()


def _plain(outcome: Any) -> Any:
    return [[e.kind, e.t_ns, dict(e.data)] for e in outcome] if isinstance(outcome, list) else outcome


@pytest.mark.skipif(not COMPILED, reason="hundreds of runs in plain Python take minutes")
def test_lives_are_eventful() -> None:
    """The test above is worth as much as what happens in its lives."""
    kinds: Counter[str] = Counter()
    outcomes = np.zeros(len(Outcome), np.int64)
    trials = 0
    for seed in range(3):
        engine = Engine(plant())
        for call in life(seed, STEPS):
            told = give(engine, call)
            kinds.update(event.kind for event in told or () if call.what == "gather")
            trials = max(trials, engine.isolation.trials)
        outcomes += engine.ledger.counts.sum(axis=0)
        assert any(name.startswith("fridge") for name in engine.names())
    assert trials > 0
    assert {"correction", "twin_restarted", "sensor_fault", "clock_ahead", "something"} <= set(kinds)
    assert (outcomes > 0).all(), dict(zip(Outcome, outcomes.tolist(), strict=True))


@pytest.mark.parametrize("samples", [191, 192, 193, 200])
def test_late_samples_find_the_past_of_seasons_that_has_been_halved(samples: int) -> None:
    """Entries of the ring that are no longer live are asked for again when a row goes back to before the halving."""
    spec = {"name": "m", "lateness": 30.0, "signals": {"x": {"source": "plant", "topic": "t"}}}
    whole, cut = Engine(config([spec])), Engine(config([spec]))
    values = np.random.default_rng(SEED).normal(size=samples + 20)
    for engine in (whole, cut):
        feed(engine, values[:samples])
    again = Engine(config([spec]))
    again.restore(cut.snapshot(), FAR)
    for engine in (whole, again):
        feed(
            engine,
            [0.3, *values[samples:]],
            [T0 + (samples - 15) * SECOND + 5, *T0 + np.arange(samples, samples + 20) * SECOND],
        )
    assert whole.ledger.counts[0, Outcome.LATE_FUSED] == 1
    assert differences(whole, again) == []


def test_what_seldom_happens_is_kept_as_well() -> None:
    """A trial that has looked for parameters, and more events than are held."""
    engine = Engine(plant())
    for call in life(1, 20):
        give(engine, call)
    number = [bank.name for bank in engine.banks].index("library/thermal_two_node")
    engine.isolation.begin_trial((number, 0), (0, 1)).fit_again = 60
    for k in range(EVENTS_MAX + 3):
        engine.tell("something", k)
    again = Engine(plant())
    again.restore(engine.snapshot(), FAR)
    assert differences(engine, again) == []
    assert again.events.take()[0].kind == "events_lost"


def test_who_only_looks_leaves_no_mark() -> None:
    engine = Engine(config([twin(signal={"noise": 1.0})]))
    for k, value in enumerate(np.random.default_rng(1).normal(size=150)):
        feed(engine, [value], [T0 + k], now=T0 + SECOND)  # judged at the first only
    before = engine.snapshot()
    assert engine.estimate("m", None, T0).signals["x"].health is not None
    engine.noise("m"), engine.quality_counts(T0), engine.foresee([("m", "x", "")])
    assert engine.snapshot() == before


def test_calls_within_a_call_are_entered_once() -> None:
    engine, log = Engine(plant()), InputLog()
    engine.inputs = InputLog()
    engine.gather(T0, last=True)
    log.call("gather", T0, last=True)
    assert engine.inputs.take() == log.take()


def test_what_waits_for_a_frame_is_there_again() -> None:
    engine = Engine(plant())
    disk = Disk(engine)
    disk.checkpoint(engine, whole=True)
    give(engine, Call("ingest", T0, ("plant", [("cart", "x", T0, 1.0)])))
    engine.tell("something", T0, number=1)
    engine.gather(T0 + 2 * SECOND)
    engine.tell("later", T0)
    disk.checkpoint(engine, whole=False)
    again = disk.recover(Engine(plant()), FAR)
    assert [event.kind for event in again.gathering.events] == ["something"]
    assert [report.columns[0][:2] for report in again.gathering.reports] == [("cart", "x")]
    assert [event.kind for event in again.events.take()] == ["later"]

    engine.gathered()
    disk.checkpoint(engine, whole=False)
    again = disk.recover(Engine(plant()), FAR)
    assert not again.gathering
    assert [event.kind for event in again.events.take()] == ["later"]


def test_without_an_uplink_nothing_is_gathered() -> None:
    engine = Engine(config())
    engine.tell("something", T0)
    assert [event.kind for event in engine.gather(T0)] == ["something"]
    assert not engine.gathering
    assert engine.events.take() == []


def test_a_batch_is_entered_as_it_came() -> None:
    """Before clocks have replaced stamps, and not as a view of the scanner's arrays."""
    stamp = T0 + 400 * 86_400 * SECOND
    spec = twin(signal={"value": "$.v", "time": "$.t"})
    engine, again = Engine(config([spec])), Engine(config([spec]))
    for one in (engine, again):
        one.trust_clock(False)
    engine.inputs = InputLog()
    batch = Batch(np.zeros(1, np.int32), np.array([stamp]), np.ones(1))
    engine.ingest(0, batch, T0)
    assert batch.t_ns[0] == T0
    batch.slot[:], batch.t_ns[:], batch.value[:] = 7, 7, 7.0
    assert replay(again, engine.inputs.take()) == 1
    assert differences(engine, again) == []


# ---- a changed configuration


def changed() -> list[dict[str, Any]]:
    """The twins in another order, one gone, a template gone, a signal gone and one new."""
    twins = {spec["name"]: msgspec.to_builtins(spec) for spec in reversed(TWINS)}
    del twins["cart"], twins["pump-{n}"]
    twins["pair"]["signals"]["new"] = twins["pair"]["signals"].pop("p")
    twins["fridge-{n}"]["signals"] = {s: twins["fridge-{n}"]["signals"][s] for s in ("out",)}
    return list(twins.values())


def test_numbers_are_read_by_the_names_they_had() -> None:
    print(f"EDGETWIN_SEED={SEED}")
    calls = list(life(SEED, STEPS // 4))
    old, sources = Engine(plant()), [*reversed(SOURCES), {"name": "third", "kind": "mqtt", "url": "mqtt://127.0.0.1"}]
    direct, again = (Engine(plant(changed(), sources=sources)) for _ in range(2))
    disk = Disk(old)
    disk.checkpoint(old, whole=True)
    for k, call in enumerate(calls):
        give(old, call)
        give(direct, call)
        if k % 50 == 0:
            disk.checkpoint(old, whole=False)
    disk.checkpoint(old, whole=False)
    disk.recover(again, FAR)
    assert differences(direct, again) == []
    assert again.ledger.balanced()
    assert again.ledger.counts[again.source_index("plant"), Outcome.UNMATCHED] > 0


def test_what_came_from_a_source_that_is_gone_is_left_out() -> None:
    old = Engine(plant())
    disk = Disk(old)
    disk.checkpoint(old, whole=True)
    give(old, Call("ingest", T0, ("field", [("logger", "v", T0, 1.0)])))
    give(old, Call("count", T0, ("field", Outcome.INVALID, 3)))
    disk.checkpoint(old, whole=False)
    logger = [
        {**spec, "signals": {"v": {"source": "plant", "topic": "t"}}} for spec in TWINS if spec["name"] == "logger"
    ]
    again = disk.recover(Engine(plant(logger, sources=SOURCES[:1])), FAR)
    assert again.ledger.received.tolist() == [0]


def test_a_changed_twin_goes_on_from_its_state_and_the_log() -> None:
    """No bits are promised here, but nothing is lost."""
    old = Engine(plant())
    disk = Disk(old)
    calls = list(life(SEED, 60))
    for call in calls[: len(calls) // 2]:
        give(old, call)
    disk.checkpoint(old, whole=True)
    for call in calls[len(calls) // 2 :]:
        give(old, call)
    disk.checkpoint(old, whole=False)
    twins = [{**spec, "gate": 6.0} for spec in TWINS]
    again = disk.recover(Engine(plant(twins)), FAR)
    assert again.names() == old.names()
    assert again.ledger.balanced()
    np.testing.assert_array_equal(again.ledger.received, old.ledger.received)
    for name in old.names():
        assert again.estimate(name, None, T0).last_ns == old.estimate(name, None, T0).last_ns


def test_what_the_model_says_wins_when_it_has_changed() -> None:
    """Its values are in the rows, though neither in the twin's configuration nor in the kernels."""
    old, same = Engine(plant()), Engine(plant())
    new = Engine(plant(models=[{**ROOM, "parameters": {"c": 500.0}}, PEND]))
    for call in life(1, 20):
        give(old, call)
    for engine in (same, new):
        engine.restore(old.snapshot(), FAR)
    number = [bank.name for bank in old.banks].index("room")
    old_row, same_row, new_row = (engine.banks[number].rows[0] for engine in (old, same, new))
    assert (old_row["p0"], same_row["p0"], new_row["p0"]) == (300.0, 300.0, 500.0)
    assert old_row["x0"] == same_row["x0"] == new_row["x0"]


# ---- the format

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(width=64) | st.text(max_size=8)
BATCHES = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-(2**63), 2**63 - 1), st.floats(width=64)), max_size=5
)  # fmt: skip
ENTRIES = st.one_of(
    st.tuples(st.just("ingest"), BATCHES, st.integers(0, 2**62)),
    st.tuples(st.just("count"), st.sampled_from(Outcome), st.integers(0, 100)),
    st.tuples(st.just("tell"), st.text(max_size=5), st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)),
    st.tuples(st.just("hear"), st.text(max_size=5), st.none()),
)


def small() -> Engine:
    return Engine(config([twin(), twin("{n}", model="constant_velocity")]))


def record(engine: Engine, entries: list[tuple[Any, ...]]) -> bytes:
    engine.inputs = InputLog()
    for what, first, second in entries:
        match what:
            case "ingest":
                slot, t_ns, value = zip(*first, strict=True) if first else ((), (), ())
                slots = np.minimum(np.array(slot, np.int32), len(engine.slot_names) - 1).astype(np.int32)
                engine.ingest(0, Batch(slots, np.array(t_ns, np.int64), np.array(value, np.float64)), second)
            case "count":
                engine.count(0, first, second)
            case "tell":
                engine.tell(first, T0, **second)
            case "hear":
                engine.hear(engine.config.twins[1], {"n": first})
    size = engine.inputs.bytes
    data = engine.inputs.take()
    assert len(data) == (size + 5 if size else 0)
    assert engine.inputs.take() == b""
    engine.inputs = None
    return data


@settings(max_examples=50, deadline=None)
@given(st.lists(ENTRIES, max_size=8))
def test_any_calls_can_be_made_again(entries: list[tuple[Any, ...]]) -> None:
    engine, again = small(), small()
    replay(again, record(engine, entries))
    assert differences(engine, again) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=4), st.data())
def test_damage_is_a_journal_error(entries: list[tuple[Any, ...]], data: st.DataObject) -> None:
    log = record(small(), [("tell", "first", {}), *entries])
    cut = data.draw(st.integers(1, len(log) - 1))
    at, bit = data.draw(st.integers(0, len(log) - 1)), data.draw(st.integers(0, 7))
    flipped = log[:at] + bytes([log[at] ^ 1 << bit]) + log[at + 1 :]
    for bad in (log[:cut], flipped, log + b"\0", data.draw(st.binary(min_size=1, max_size=40))):
        engine = small()
        with pytest.raises(JournalError):
            replay(engine, bad)
        assert differences(engine, small()) == []

    sealed = flipped[:1] + struct.pack("<I", crc32c(flipped[5:])) + flipped[5:]
    with suppress(JournalError):  # what nobody wrote but has the right checksum may be refused, in no other way
        replay(small(), sealed)


def test_a_log_of_another_engine_is_refused() -> None:
    other = Engine(plant())
    other.inputs = InputLog()
    give(other, Call("ingest", T0, ("field", [("logger", "v", T0, 1.0)])))
    with pytest.raises(JournalError, match="source 1 is unknown"):
        replay(small(), other.inputs.take())
    feed(other, [1.0], slot=9)
    with pytest.raises(JournalError, match="slot is unknown"):
        replay(small(), other.inputs.take())


def test_older_snapshots_and_logs_are_refused_with_a_hint() -> None:
    engine = small()
    with pytest.raises(JournalError, match="version 1, this release reads 2"):
        engine.restore(pack({"version": 1}), T0)
    with pytest.raises(JournalError, match="version 9"):
        replay(engine, b"\x09\0\0\0\0\0")
