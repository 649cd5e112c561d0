"""The wire kernel on streams of packets: against the slow path, cut anywhere, bounded everywhere."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.errors import PayloadError
from edgetwin.kernels import mqtt
from edgetwin.kernels.mqtt import BROKEN, FULL, Output, make_output, scan
from edgetwin.kernels.redelivery import make_fused
from edgetwin.kernels.topics import Binding, TopicTable
from edgetwin.sources.payload import read_payload, split_publish
from tests.kernels.wire import array, examples, publish, variable

NOW = 1_700_000_000_000_000_000
PACKET_MAX = 4096
FUSED = make_fused()

PINGRESP = b"\xd0\x00"

CONNACK = b"\x20\x03\x00\x00\x00"

PLAIN, PAIR, ONE, TWO, MIXED = b"plant/line3/machine012/temp", b"p", b"json/one", b"json/two", b"mixed"
TABLE: dict[bytes, list[Binding]] = {
    PLAIN: [Binding(1)],
    PAIR: [Binding(2), Binding(3)],
    ONE: [Binding(4, ("v",), ("t",))],
    TWO: [Binding(5, ("v",), ("t",), "ms"), Binding(6, ("w", 0)), Binding(7, ("s",), ("i",), "iso", True)],
    MIXED: [Binding(8), Binding(9, ())],
}


def make_table() -> TopicTable:
    table = TopicTable(ignored_max=100, seed=1)
    for topic, bindings in TABLE.items():
        table.add(topic, bindings)
    table.ignore(b"unwanted")
    table.add_pattern(["site", None, "temp"])
    return table


@dataclass
class Heard:
    """Everything that came of a stream, slow packets resolved in their places; spans as bytes."""

    samples: list[tuple[int, int, bytes]] = field(default_factory=list)
    control: bytes = b""
    acks: bytes = b""
    messages: int = 0
    unmatched: int = 0
    overflow: int = 0
    invalid: int = 0
    late_dropped: int = 0
    strangers: list[bytes] = field(default_factory=list)
    used: int = 0
    broken: bool = False

    def read(self, message: Any, table: TopicTable, stamp: int) -> None:
        """The slow path on one PUBLISH."""
        bindings = table.lookup(message.topic) if message.alias is None else None
        if bindings is None:
            self.strangers.append(message.topic)
            return
        reading = read_payload(message.payload, bindings, stamp, message.retain)
        self.samples += [as_bits(*sample) for sample in reading.samples]
        self.invalid += reading.invalid
        self.late_dropped += reading.late_dropped


def as_bits(slot: int, t_ns: int, value: float) -> tuple[int, int, bytes]:
    return int(slot), int(t_ns), struct.pack("d", value)


def by_kernel(
    data: bytes, *, v5: bool = False, table: TopicTable | None = None, out: Output | None = None, guard: bytes = b""
) -> Heard:
    """Scan a stream until nothing more can be consumed."""
    table = table or make_table()
    out = out or make_output(64, 16)
    heard = Heard()
    while True:
        buf = array(data[heard.used :] + guard)
        n = len(data) - heard.used
        used, status = scan(buf, n, table.view, out, FUSED, NOW + heard.messages, PACKET_MAX, v5)
        collect(heard, bytes(buf), out, table, v5)
        heard.used += int(used)
        if status != FULL:
            heard.broken = status == BROKEN
            return heard
        assert used > 0


def collect(heard: Heard, data: bytes, out: Output, table: TopicTable, v5: bool) -> None:
    c = out.counters.tolist()
    done = 0
    for start, end, before, stamp, ack in out.slow[: c[mqtt.SLOWS]].tolist():
        heard.samples += rows(out, done, before)
        done = before
        message = split_publish(data[start:end], v5)
        assert (ack >= 0) == (message.qos == 1)
        if message.qos == 1:
            assert out.ack[ack : ack + 4].tobytes() == b"\x40\x02" + message.mid.to_bytes(2, "big")
        heard.read(message, table, stamp)
    heard.samples += rows(out, done, c[mqtt.SAMPLES])
    for start, end in out.control[: c[mqtt.CONTROLS]].tolist():
        heard.control += data[start:end]
    heard.acks += out.ack[: c[mqtt.ACK_BYTES]].tobytes()
    heard.messages += c[mqtt.MESSAGES]
    heard.unmatched += c[mqtt.UNMATCHED]
    heard.overflow += c[mqtt.OVERFLOWED]
    heard.invalid += c[mqtt.INVALIDS]
    heard.late_dropped += c[mqtt.LATE_DROPPED]


def rows(out: Output, first: int, last: int) -> list[tuple[int, int, bytes]]:
    columns = (x[first:last].tolist() for x in (out.slot, out.t_ns, out.value))
    return [as_bits(*row) for row in zip(*columns, strict=True)]


def by_python(data: bytes, *, v5: bool = False) -> Heard:
    """What should come of a stream, packet by packet in plain Python."""
    table = make_table()
    heard = Heard()
    while heard.used < len(data):
        size, shift, i = 0, 0, heard.used + 1
        while i < len(data) and data[i] & 128 and shift < 21:
            size, shift, i = size | (data[i] & 127) << shift, shift + 7, i + 1
        if i >= len(data):
            break
        end = i + 1 + (size | (data[i] & 127) << shift)
        if data[i] & 128 or end - heard.used > PACKET_MAX:
            heard.broken = True
            break
        if end > len(data):
            break
        packet = data[heard.used : end]
        if packet[0] >> 4 != 3 or packet[0] >> 1 & 3 == 2:
            heard.control += packet
        else:
            try:
                message = split_publish(packet, v5)
            except PayloadError:
                heard.broken = True
                break
            python_message(heard, message, table)
        heard.used = end
    return heard


def python_message(heard: Heard, message: Any, table: TopicTable) -> None:
    stamp = NOW + heard.messages
    heard.messages += 1
    if message.qos == 1:
        heard.acks += b"\x40\x02" + message.mid.to_bytes(2, "big")
    slow = message.alias is not None or not message.topic or table.captures(message.topic)
    if not slow and not table.lookup(message.topic):
        heard.unmatched += 1
    else:
        heard.read(message, table, stamp)


# ---- known packets


def test_a_plain_message() -> None:
    heard = by_kernel(publish(PLAIN, b"23.417"))
    assert heard.samples == [as_bits(1, NOW, 23.417)]
    assert (heard.messages, heard.control, heard.acks) == (1, b"", b"")


def test_a_json_message_with_its_own_time() -> None:
    heard = by_kernel(publish(ONE, b'{"t":1700000000.123,"v":20.1234,"q":"good"}'))
    assert heard.samples == [as_bits(4, 1_700_000_000_123_000_000, 20.1234)]


def test_messages_of_one_read_are_never_the_same_instant() -> None:
    heard = by_kernel(publish(PLAIN, b"1") * 3 + publish(PAIR, b"2") + publish(PLAIN, b"3"))
    assert [t - NOW for _, t, _ in heard.samples] == [0, 1, 2, 3, 3, 4]


def test_several_signals_in_one_payload() -> None:
    heard = by_kernel(publish(TWO, b'{"v":1,"w":[2],"s":"3","t":1500,"i":"1970-01-01T00:00:02Z"}'))
    assert heard.samples == [as_bits(5, 1_500_000_000, 1.0), as_bits(6, NOW, 2.0), as_bits(7, 2 * 10**9, 3.0)]


@pytest.mark.parametrize(
    ("topic", "payload", "samples", "invalid"),
    [
        (PLAIN, b"", 0, 1),
        (PAIR, b"", 0, 1),
        (TWO, b"", 0, 1),
        (PAIR, b"x", 0, 2),
        (TWO, b"{", 0, 3),
        (TWO, b"{}", 0, 1),
        (TWO, b'{"v":1}', 1, 0),
        (TWO, b'{"v":null,"w":[1]}', 1, 1),
        (TWO, b'{"v":1,"t":"noon","w":[1]}', 1, 1),
        (ONE, b'{"v":1e400}', 0, 1),
        (PLAIN, b"NaN", 0, 1),
        (PLAIN, b"9" * 400, 0, 1),
        (PLAIN, b"0." + b"9" * 400, 1, 0),
        (MIXED, b"5", 2, 0),
        (MIXED, b'"x"', 0, 2),
    ],
)
def test_what_becomes_of_payloads(topic: bytes, payload: bytes, samples: int, invalid: int) -> None:
    heard = by_kernel(publish(topic, payload))
    assert (len(heard.samples), heard.invalid) == (samples, invalid)


def test_a_retained_message_without_a_time_is_no_fresh_measurement() -> None:
    heard = by_kernel(
        publish(PLAIN, b"1", retain=True)
        + publish(ONE, b'{"v":1,"t":5}', retain=True)
        + publish(ONE, b'{"v":1}', retain=True)
        + publish(PLAIN, b"x", retain=True)
    )
    assert heard.samples == [as_bits(4, 5 * 10**9, 1.0)]
    assert (heard.late_dropped, heard.invalid) == (2, 1)


def test_strangers_are_counted_and_those_of_a_pattern_go_to_python() -> None:
    table = make_table()
    stream = b"".join(
        publish(t, b"1") for t in (b"unwanted", b"unknown", b"site/7/temp", b"site//temp", b"site/7/temp/x")
    )
    heard = by_kernel(stream, table=table)
    assert (heard.unmatched, heard.strangers, heard.overflow) == (4, [b"site/7/temp"], 0)
    table.set_patterns_full(True)
    heard = by_kernel(stream, table=table)
    assert (heard.unmatched, heard.strangers, heard.overflow) == (4, [], 1)


def test_slow_packets_keep_their_place_among_the_samples() -> None:
    long = b"0." + b"1" * 40
    heard = by_kernel(b"".join(publish(PLAIN, p) for p in (b"1", long, b"2", b"3", long)))
    assert heard.samples == [
        as_bits(1, NOW + k, float(p)) for k, p in enumerate((b"1", long, b"2", b"3", long))
    ]  # fmt: skip


def test_control_packets_and_qos_2_are_handed_on_unchanged() -> None:
    two = publish(PLAIN, b"1", qos=2)
    heard = by_kernel(CONNACK + publish(PLAIN, b"1") + PINGRESP + two + publish(PLAIN, b"1"))
    assert heard.control == CONNACK + PINGRESP + two
    assert heard.messages == 2


def test_qos_1_is_acknowledged_whatever_became_of_the_message() -> None:
    stream = b"".join(
        publish(topic, payload, qos=1, mid=mid)
        for mid, topic, payload in (
            (1, PLAIN, b"1"),
            (513, b"unknown", b""),
            (65535, PLAIN, b"x"),
            (7, b"site/1/temp", b"1"),
        )
    )
    assert by_kernel(stream).acks == b"".join(b"\x40\x02" + struct.pack(">H", m) for m in (1, 513, 65535, 7))


def test_properties_are_skipped_and_an_alias_goes_to_python() -> None:
    properties = (
        b"\x01\x01" + b"\x02\x00\x00\x00\x05" + b"\x03\x00\x01x" + b"\x08\x00\x00" + b"\x09\x00\x02\x23\x23"
        + b"\x0b\x81\x01" + b"\x26\x00\x01a\x00\x01b" * 60
    )  # fmt: skip
    heard = by_kernel(publish(PLAIN, b"4", properties=properties), v5=True)
    assert heard.samples == [as_bits(1, NOW, 4.0)]
    aliased = publish(PLAIN, b"4", properties=b"\x23\x00\x09")
    assert split_publish(aliased, True).alias == 9
    assert by_kernel(aliased, v5=True).strangers == [PLAIN]


def test_the_first_invalid_packet_is_pointed_at() -> None:
    out = make_output(8, 8)
    good, bad = publish(PLAIN, b"1"), publish(PLAIN, b"x")
    scan(array(good + bad + bad), len(good + bad + bad), make_table().view, out, FUSED, NOW, PACKET_MAX, False)
    start, end = out.counters[mqtt.INVALID_START], out.counters[mqtt.INVALID_END]
    assert (start, end) == (len(good), len(good + bad))


# ---- bad streams

BAD = [
    (b"\x30\xff\xff\xff\xff\x01", False),
    (b"\x30" + variable(PACKET_MAX), False),
    (b"\xd0" + variable(PACKET_MAX), False),
    (b"\x30\x00", False),
    (b"\x30\x01\x00", False),
    (b"\x30\x03\x00\x02a", False),
    (b"\x36\x06\x00\x01a\x00\x01x", False),
    (b"\x32\x03\x00\x01a", False),
    (publish(PLAIN, b"1", qos=1, mid=0), False),
    (b"\x30\x03\x00\x01a", True),
    (b"\x30\x04\x00\x01a\x01", True),
    (b"\x30\x08\x00\x01a\xff\xff\xff\xff\x01", True),
    (publish(PLAIN, b"1", properties=b"\x7f\x00"), True),
    (publish(PLAIN, b"1", properties=b"\x02\x00"), True),
    (publish(PLAIN, b"1", properties=b"\x03\x00\x09x"), True),
    (publish(PLAIN, b"1", properties=b"\x0b\xff\xff\xff\xff\x01"), True),
    (publish(PLAIN, b"1", properties=b"\x26\x00\x00"), True),
]


@pytest.mark.parametrize(("bad", "v5"), BAD)
def test_a_malformed_packet_breaks_the_stream_after_what_came_before(bad: bytes, v5: bool) -> None:
    good = publish(PLAIN, b"1", properties=b"" if v5 else None)
    heard = by_kernel(good + bad, v5=v5)
    assert heard.broken
    assert heard.used == len(good)
    assert len(heard.samples) == 1


def test_the_longest_packet_is_accepted() -> None:
    packet = publish(PLAIN, b" " * (PACKET_MAX - len(publish(PLAIN, b" " * 200)) + 198) + b"7 ")
    assert len(packet) == PACKET_MAX
    assert by_kernel(packet).samples == [as_bits(1, NOW, 7.0)]


# ---- bounds


@pytest.mark.parametrize(("samples", "packets"), [(1, 1), (2, 1), (3, 2), (64, 1)])
def test_small_outputs_only_mean_more_calls(samples: int, packets: int) -> None:
    stream = b"".join(
        [publish(PLAIN, b"1", qos=1), PINGRESP, publish(TWO, b'{"v":1,"w":[2],"s":"3"}'), publish(PAIR, b"2"), CONNACK,
         publish(b"site/1/temp", b"", qos=1, mid=9), publish(MIXED, b"5"), PINGRESP, publish(PLAIN, b"8")]
    )  # fmt: skip
    small = by_kernel(stream, out=make_output(samples, packets))
    large = by_kernel(stream)
    assert small == large


# ---- properties

NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: repr(x).encode())
PAYLOADS = st.one_of(
    NUMBERS,
    st.sampled_from(
        [b"", b"true", b" 1 ", b"1e400", b"nan", b"{}", b"[1]", b'{"v":1,"t":2,"w":[3],"s":"4"}', b"0" * 300]
    ),
    st.binary(max_size=12),
    st.builds(lambda v, t: b'{"t":%b,"v":%b,"w":[%b]}' % (t, v, v), NUMBERS, NUMBERS | st.just(b"null")),
    st.builds(lambda v: b'{"s":"%b","i":"2024-01-01T00:00:00Z","v":"\\u00b0"}' % v, NUMBERS),
)
TOPICS = st.sampled_from([*TABLE, b"unwanted", b"unknown", b"site/1/temp", b"site/2/temp/", b"\xff"])
PROPERTIES = st.sampled_from([b"", b"\x01\x00", b"\x02\x00\x00\x00\x01\x26\x00\x01a\x00\x00", b"\x23\x00\x01"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A few packets and the protocol they are of."""
    v5 = draw(st.booleans())
    message = st.builds(
        publish, TOPICS, PAYLOADS, qos=st.integers(0, 2), mid=st.integers(1, 65535), retain=st.booleans(),
        properties=PROPERTIES if v5 else st.none(),
    )  # fmt: skip
    packets = draw(st.lists(message | st.sampled_from([PINGRESP, CONNACK]), max_size=6))
    return b"".join(packets), v5


@examples(500)
@given(streams())
def test_same_as_packet_by_packet_in_python(stream: tuple[bytes, bool]) -> None:
    data, v5 = stream
    assert by_kernel(data, v5=v5) == by_python(data, v5=v5)
    assert by_kernel(data, v5=v5).used == len(data)


@examples(1000)
@given(streams(), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4))
def test_same_on_damaged_streams(stream: tuple[bytes, bool], damage: Sequence[tuple[int, int]]) -> None:
    data, v5 = bytearray(stream[0]), stream[1]
    for position, byte in damage:
        if data:
            data[position % len(data)] = byte
    assert by_kernel(bytes(data), v5=v5) == by_python(bytes(data), v5=v5)


@examples(300)
@given(st.binary(max_size=80), st.booleans())
def test_same_on_noise(data: bytes, v5: bool) -> None:
    assert by_kernel(b"\x30" + data, v5=v5) == by_python(b"\x30" + data, v5=v5)


@examples(60)
@given(streams(), st.binary(min_size=9, max_size=9))
def test_cut_at_every_byte(stream: tuple[bytes, bool], guard: bytes) -> None:
    data, v5 = stream
    table, out = make_table(), make_output(64, 16)
    for cut in range(len(data) + 1):
        first = by_kernel(data[:cut], v5=v5, table=table, out=out, guard=guard)
        assert first == by_kernel(data[:cut], v5=v5, table=table, out=out, guard=data[cut:])
        assert first == by_python(data[:cut], v5=v5)
        assert first.used <= cut
