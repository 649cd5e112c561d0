"""The MQTT source against mosquitto: every message is in the ledger, and its value in the twin."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from edgetwin.engine import Engine
from edgetwin.records import Batch
from tests.conftest import Broker
from tests.sources.mqtt_rig import JSON, PLAIN, Sent, config, eventually, publish_all, running, template

T0 = 1_700_000_000


def reading(machine: str, t: float, value: float, qos: int = 1, retain: bool = False) -> Sent:
    return Sent(f"plant/{machine}/temp", json.dumps({"t": t, "v": value}).encode(), qos, retain)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_all_messages_of_every_qos_arrive(broker: Broker, protocol: str, qos: int) -> None:
    messages = [reading(f"m{k % 10}", T0 + k // 10, float(k), qos) for k in range(600)]
    async with running(config(broker.port, [template(JSON)], protocol=protocol, qos=qos)) as rig:
        await rig.up()
        await publish_all(broker.port, messages)
        await rig.have(600)
        assert rig.ledger == {"fused": 600}
        assert rig.source.messages == 600
        assert rig.engine.names() == [f"m{k}" for k in range(10)]
        for k in range(10):
            status = rig.signal(f"m{k}")
            assert (status.value, status.at_ns, status.fused) == (590.0 + k, (T0 + 59) * 10**9, 60)


async def test_a_subscription_above_the_publishers_qos_takes_both_ways_in_one_ledger(broker: Broker) -> None:
    messages = [reading("m", T0 + k, float(k), qos=k % 3) for k in range(300)]
    async with running(config(broker.port, [template(JSON)], qos=2)) as rig:
        await rig.up()
        await publish_all(broker.port, messages)
        await rig.have(300)
        assert sum(rig.ledger.values()) == 300
        assert rig.signal("m").at_ns == (T0 + 299) * 10**9


async def test_several_signals_from_one_payload(broker: Broker) -> None:
    def signal(path: str) -> dict[str, Any]:
        return {"source": "plant", "topic": "plant/{machine}/all", "value": path, "time": "$.t", "noise": 1.0}

    signals = {"temp": signal("$.temp"), "rpm": signal("$.drive.rpm"), "on": signal("$.flags[1]")}
    async with running(config(broker.port, [template(signals)])) as rig:
        await rig.up()
        first = b'{"t": %d, "temp": 20.5, "drive": {"rpm": 1500}, "flags": [0, true]}' % T0
        second = b'{"temp": 21, "t": %d}' % (T0 + 1)
        await publish_all(broker.port, [Sent("plant/a/all", first), Sent("plant/a/all", second)])
        await rig.have(4)
        assert rig.ledger == {"fused": 4}
        signals_of_a = rig.engine.estimate("a", None, 0).signals
        assert {n: s.value for n, s in signals_of_a.items()} == {"temp": 21.0, "rpm": 1500.0, "on": 1.0}


async def test_payloads_that_are_no_samples_are_counted(broker: Broker) -> None:
    bad = [b"", b"hot", b"nan", b"{}", b"1e999"]
    with capture_logs() as logs:
        async with running(config(broker.port, [template(PLAIN)])) as rig:
            await rig.up()
            await publish_all(broker.port, [Sent("plant/m/temp", p) for p in [b"20", *bad, b"21"]])
            await rig.have(7)
            assert rig.ledger == {"fused": 2, "invalid": 5}
            assert rig.signal("m").value == 21.0
    (line,) = [entry for entry in logs if entry["event"] == "payload_invalid"]
    assert line["topic"] == "plant/m/temp"


async def test_retained_messages_count_only_with_a_time_of_their_own(broker: Broker) -> None:
    other = {"x": {"source": "plant", "topic": "other/{machine}/temp", "noise": 1.0}}
    retained = [reading("m", T0, 20.0, retain=True), Sent("other/n/temp", b"30", retain=True)]
    await publish_all(broker.port, retained)
    async with running(config(broker.port, [template(JSON), template(other, "n-{machine}")])) as rig:
        await rig.up()
        await rig.have(2)
        assert rig.ledger == {"fused": 1, "late_dropped": 1}
        assert rig.signal("m").value == 20.0
        # The same publisher live: the broker clears RETAIN towards those already subscribed.
        await publish_all(broker.port, [Sent("other/n/temp", b"31", retain=True)])
        await rig.have(3)
        assert rig.ledger == {"fused": 2, "late_dropped": 1}


async def test_beyond_the_limit_of_twins_is_overflow(broker: Broker) -> None:
    async with running(config(broker.port, [template(PLAIN)], limits={"twins": 3})) as rig:
        await rig.up()
        await publish_all(broker.port, [Sent(f"plant/m{k % 5}/temp", b"20") for k in range(50)])
        await rig.have(50)
        assert rig.ledger == {"fused": 30, "overflow": 20}
        assert len(rig.engine.names()) == 3


async def test_a_flood_of_names_beyond_the_limit_is_counted_exactly_and_not_remembered(broker: Broker) -> None:
    async with running(config(broker.port, [template(PLAIN)], limits={"twins": 10})) as rig:
        await rig.up()
        flood = [Sent(f"plant/m{k}/temp", b"20") for k in range(20_010)]
        await publish_all(broker.port, flood)
        await rig.have(20_010)
        await publish_all(broker.port, flood[-100:])
        await rig.have(20_110)
        assert rig.ledger == {"fused": 10, "overflow": 20_100}
        assert rig.source.bindings.table.remembered == 10


async def test_a_flood_of_topics_nobody_wants_is_bounded_and_counted_exactly(broker: Broker) -> None:
    """A signal that two topics would bring takes the first; others match its filter and stay unmatched."""
    signals = {"x": {"source": "plant", "topic": "plant/{line}/{machine}/temp", "noise": 1.0}}
    limits = {"topics": 1000}
    with capture_logs() as logs:
        async with running(config(broker.port, [template(signals)], limits=limits)) as rig:
            await rig.up()
            await publish_all(broker.port, [Sent(f"plant/line{k}/m/temp", b"20") for k in range(50_000)])
            await rig.have(50_000)
            assert rig.ledger == {"fused": 1, "unmatched": 49_999}
            assert rig.source.bindings.table.remembered <= 1001
            await publish_all(broker.port, [Sent("plant/line0/m/temp", b"21")])
            await rig.have(50_001)
            assert rig.ledger["fused"] == 2
    conflicts = [entry for entry in logs if entry["event"] == "topic_conflict"]
    assert 1 <= len(conflicts) < 10


async def test_topics_outside_every_pattern_are_unmatched_and_not_remembered(broker: Broker) -> None:
    """``+`` matches an empty level and a placeholder does not."""
    signals = {"x": {"source": "plant", "topic": "plant/{line}/{machine}/temp", "noise": 1.0}}
    async with running(config(broker.port, [template(signals)])) as rig:
        await rig.up()
        await publish_all(broker.port, [Sent(f"plant//m{k}/temp", b"20") for k in range(500)])
        await rig.have(500)
        assert rig.ledger == {"unmatched": 500}
        assert rig.source.bindings.table.remembered == 0
        assert rig.engine.names() == []


async def test_a_twin_that_waits_for_a_second_topic_gets_it_though_there_is_no_room_for_more(broker: Broker) -> None:
    signals = {
        "x": {"source": "plant", "topic": "plant/{machine}/temp", "noise": 1.0},
        "y": {"source": "plant", "topic": "shift/{shift}/{machine}/load", "noise": 1.0},
    }
    async with running(config(broker.port, [template(signals)], limits={"twins": 1})) as rig:
        await rig.up()
        await publish_all(
            broker.port, [Sent("plant/a/temp", b"1"), Sent("plant/b/temp", b"2"), Sent("shift/1/a/load", b"3")]
        )
        await rig.have(3)
        assert rig.ledger == {"fused": 2, "overflow": 1}
        assert rig.signal("a", "y").value == 3.0
        await publish_all(broker.port, [Sent("plant/b/temp", b"2")] * 5)
        await rig.have(8)
        assert rig.ledger == {"fused": 2, "overflow": 6}


async def test_overlapping_filters_bring_each_message_once(broker: Broker) -> None:
    one = {"name": "one", "signals": {"x": {"source": "plant", "topic": "plant/one/temp"}}, "model": "random_walk"}
    async with running(config(broker.port, [one, template(PLAIN, "t-{machine}")])) as rig:
        await rig.up()
        assert rig.source.bindings.filters() == ["plant/+/temp"]
        await publish_all(broker.port, [Sent("plant/one/temp", b"1"), Sent("plant/two/temp", b"2")])
        await eventually(lambda: rig.source.messages >= 2, "two messages")
        assert rig.source.messages == 2
        assert rig.signal("one").value == 1.0
        assert rig.signal("t-two").value == 2.0


async def test_states_are_those_of_an_engine_that_got_the_samples_directly(broker: Broker) -> None:
    machines, each = 100, 300
    values = np.random.default_rng(5).normal(20.0, 3.0, (each, machines)).round(3)
    messages = [reading(f"m{m}", T0 + k, values[k, m]) for k in range(each) for m in range(machines)]
    settings = config(broker.port, [template(JSON)])
    async with running(settings) as rig:
        await rig.up()
        await publish_all(broker.port, messages)
        await rig.have(machines * each)
        assert rig.ledger == {"fused": machines * each}
        assert rig.source.latency.counts.sum() == machines * each
    oracle = Engine(settings)
    twins = [oracle.hear(settings.twins[0], {"machine": f"m{m}"}) for m in range(machines)]
    slots = np.array([twin.slots["x"] for twin in twins if twin], np.int32)
    times = np.repeat((T0 + np.arange(each)) * 10**9, machines)
    oracle.ingest(0, Batch(np.tile(slots, each), times, values.ravel()), int(times[-1]))
    for m in range(machines):
        assert rig.engine.estimate(f"m{m}", None, 0).states == oracle.estimate(f"m{m}", None, 0).states
