"""Parts of the MQTT source without a network: packets that are too long, topic bindings, reading a socket."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.clock import ManualClock, SystemClock
from edgetwin.engine import Engine
from edgetwin.records import Outcome
from edgetwin.sources.mqtt import MqttSource
from edgetwin.sources.mqtt.bindings import TopicBindings
from edgetwin.sources.mqtt.datapath import PIECE_BYTES_MIN, DataPath
from edgetwin.sources.mqtt.oversize import NotMqttError, Oversize, oversize_at
from edgetwin.sources.mqtt.receiver import Receiver
from tests.kernels.wire import array, publish, variable
from tests.sources.broker_double import broker_double
from tests.sources.mqtt_rig import PLAIN, config, running, template

# ---- packets that are too long


@given(st.binary(min_size=1, max_size=300), st.integers(0, 2), st.integers(1, 65_535), st.booleans(), st.data())
def test_an_oversize_packet_is_told_from_its_head(
    topic: bytes, qos: int, mid: int, dup: bool, data: st.DataObject
) -> None:
    packet = publish(topic, b"9" * 2000, qos=qos, mid=mid, dup=dup)
    head = packet[: data.draw(st.integers(5, len(packet)))]
    seen = oversize_at(head, 1000)
    start = 1 + len(variable(len(packet) - 3))
    if len(head) < start + 2 + len(topic) + 2:
        assert seen is None
        return
    answer = (b"", b"\x40\2" + mid.to_bytes(2, "big"), b"\x50\2" + mid.to_bytes(2, "big"))[qos]
    assert seen == Oversize(len(packet), topic, answer, dup)


@given(st.binary(min_size=5, max_size=40), st.integers(0, 3000))
def test_any_bytes_are_oversize_or_unknown_or_no_mqtt(head: bytes, packet_max: int) -> None:
    try:
        seen = oversize_at(head, packet_max)
    except NotMqttError:
        return
    assert head[0] >> 4 == 3
    if seen is not None:
        assert seen.length > packet_max


@pytest.mark.parametrize(
    "head",
    [
        b"\x30\xff\xff\xff\xff\x01\0",
        b"\x20\xff\x7f\0\0\0",
        b"\x36\xff\x7f\0\1t\0\1",
        b"\x30\x02\0\1t",
        b"\x30\xff\x7f\xff\xff" + bytes(10),
        b"\x32\xff\x7f\0\1t\0\0",
    ],
    ids=["length", "no_publish", "qos_3", "not_long", "topic_beyond_packet", "identifier_0"],
)
def test_what_is_not_a_long_publish_is_no_mqtt(head: bytes) -> None:
    with pytest.raises(NotMqttError):
        oversize_at(head, 100)


# ---- bindings


def bindings(twins: list[dict[str, Any]], limit: int = 100) -> tuple[TopicBindings, Engine]:
    engine = Engine(config(1, twins, limits={"twins": limit}))
    return TopicBindings("plant", engine, ManualClock()), engine


def signal(topic: str) -> dict[str, Any]:
    return {"source": "plant", "topic": topic, "noise": 1.0}


def test_filters_stand_for_placeholders_and_cover_each_other() -> None:
    topics = {"a": "plant/{l}/{m}/t", "b": "plant/x/{m}/t", "c": "hall/{m}", "e": "$SYS/{m}", "f": "z/{l}/{m}"}
    twins = [template({"x": signal(topic)}, f"{name}-{{m}}") for name, topic in topics.items()]
    found, _ = bindings([*twins, template({"x": signal("{l}/{m}")}, "g-{m}")])
    assert found.filters() == ["$SYS/+", "+/+", "plant/+/+/t", "z/+/+"]


def test_a_topic_makes_its_twin_and_binds_its_other_topics() -> None:
    found, engine = bindings([template({"x": signal("plant/{m}/t"), "y": signal("plant/{m}/p")}, "{m}")])
    assert engine.names() == []
    assert found.hear(b"plant/a/t") is None
    assert engine.names() == ["a"]
    (twin,) = engine.instances()
    assert [b.slot for b in found.table.lookup(b"plant/a/t") or ()] == [twin.slots["x"]]
    assert [b.slot for b in found.table.lookup(b"plant/a/p") or ()] == [twin.slots["y"]]


def test_a_placeholder_used_twice_must_repeat_its_value() -> None:
    found, engine = bindings([template({"x": signal("{m}/copy/{m}")}, "{m}")])
    assert found.hear(b"a/copy/b") == Outcome.UNMATCHED
    assert found.hear(b"a/copy/a") is None
    assert engine.names() == ["a"]


def test_unmatched_topics_are_remembered_and_crowded_ones_are_not() -> None:
    found, _ = bindings([template({"x": signal("plant/{l}/{m}")}, "{m}")], limit=1)
    assert found.hear(b"plant/1/a") is None
    assert found.hear(b"plant/2/a") == Outcome.UNMATCHED
    assert found.hear(b"plant/1/b") == Outcome.OVERFLOW
    assert found.table.lookup(b"plant/2/a") == ()
    assert found.table.lookup(b"plant/1/b") is None


def test_names_that_are_not_utf8_do_no_harm() -> None:
    found, engine = bindings([template({"x": signal("plant/{m}")}, "{m}")])
    found.hear(b"plant/\xff\xfe")
    assert len(engine.names()) <= 1


# ---- reading


class Paho:
    """What the data path touches of paho."""

    def __init__(self) -> None:
        self._out_packet: deque[dict[str, Any]] = deque()

    def _packet_queue(self, command: int, packet: bytearray, _mid: int, _qos: int) -> None:
        self._out_packet.append({"command": command, "packet": packet, "pos": 0, "to_process": len(packet)})


@pytest.fixture
def wired() -> Any:
    """(data path, the broker's end of its connection, paho, source)."""
    settings = config(1, [template(PLAIN)], protocol="3.1.1")
    source = MqttSource(settings.sources[0], Engine(settings), SystemClock())  # type: ignore[arg-type]
    listener = socket.create_server(("127.0.0.1", 0))
    near, paho = socket.create_connection(listener.getsockname()), Paho()
    far, _ = listener.accept()
    near.setblocking(False)
    yield DataPath(near, paho, source.receiver), far, paho, source
    for s in (listener, near, far):
        s.close()


def test_acknowledgements_join_what_is_not_yet_being_written(wired: Any) -> None:
    datapath, far, paho, _ = wired

    def deliver(mid: int) -> None:
        far.sendall(publish(b"t", b"1", qos=1, mid=mid))
        with pytest.raises(BlockingIOError):
            datapath.recv(1)

    deliver(1)
    deliver(2)
    (only,) = paho._out_packet
    assert only["packet"] == b"\x40\2\0\1\x40\2\0\2"
    assert only["to_process"] == 8
    only["pos"] = 3  # a part of it is on its way
    deliver(3)
    paho._out_packet.append({"command": 0x80, "packet": b"a SUBSCRIBE", "pos": 0, "to_process": 11})
    deliver(4)
    assert [bytes(p["packet"]) for p in paho._out_packet] == [
        b"\x40\2\0\1\x40\2\0\2",
        b"\x40\2\0\3",
        b"a SUBSCRIBE",
        b"\x40\2\0\4",
    ]


def test_other_bytes_reach_paho_unchanged_and_in_order(wired: Any) -> None:
    datapath, far, _, source = wired
    control = [b"\x20\2\0\0", b"\x90\3\0\1\1", publish(b"t", b"two", qos=2, mid=5), b"\xd0\0"]
    far.sendall(publish(b"t", b"1").join([b"", *control, b""]))
    got = b""
    while len(got) < sum(map(len, control)):
        got += datapath.recv(3)
    assert got == b"".join(control)
    assert datapath.pending() == 0
    assert source.messages == 5
    far.close()
    assert datapath.recv(1) == b""
    assert datapath.fault == "the broker closed the connection"


def test_it_reads_less_at_a_time_while_what_comes_is_slow(wired: Any) -> None:
    datapath, _, _, _ = wired
    whole = datapath._piece
    for _ in range(20):
        datapath._adapt(1.0)
    assert datapath._piece == PIECE_BYTES_MIN
    for _ in range(20):
        datapath._adapt(0.0)
    assert datapath._piece == whole


def test_arrival_stamps_increase_though_the_clock_stands_or_slips_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []
    monkeypatch.setattr(Engine, "ingest", lambda _s, _source, batch, _now: times.extend(batch.t_ns.tolist()))
    settings = config(1, [template(PLAIN)], protocol="3.1.1")
    clock = ManualClock(10**18)
    source = MqttSource(settings.sources[0], Engine(settings), clock)  # type: ignore[arg-type]
    for step in (0, 0, -(10**8), 5):
        clock.advance(step)
        packets = array(publish(b"plant/m/temp", b"20") * 3)
        source.receiver.take(packets, len(packets), bytearray())
        source.receiver.take_message(b"plant/m/temp", b"20", False)
    assert len(times) == 16
    assert times == sorted(set(times))
    clock.advance(-(10**10))
    source.receiver.take_message(b"plant/m/temp", b"20", False)
    assert times[-1] == clock.wall_ns()  # a clock that was set back is followed


async def test_a_failure_of_our_own_is_not_taken_for_one_of_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves ``run`` as it is, for the supervisor to tell of and to start the source again; the socket is closed."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Receiver, "_deliver", broken)
    async with broker_double() as broker:
        with pytest.raises(ExceptionGroup) as caught:
            async with running(config(broker.port, [template(PLAIN)])):
                await asyncio.sleep(30)
        assert caught.group_contains(ZeroDivisionError)
        await asyncio.wait_for((await broker.connection()).closed.wait(), 10)
