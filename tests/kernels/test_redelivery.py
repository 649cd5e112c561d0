"""Redeliveries found inside the scan, against a plain list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.kernels import mqtt
from edgetwin.kernels.bits import Array
from edgetwin.kernels.mqtt import FULL, make_output, scan
from edgetwin.kernels.redelivery import (
    EXPECTED,
    EXPECTED_END,
    HOLDING,
    RING,
    RING_MASK,
    Fused,
    is_redelivery,
    make_fused,
    message_hash,
    note_fused,
)
from edgetwin.kernels.topics import Binding, TopicTable
from tests.kernels.wire import array, examples, publish

CONTENTS = [(b"one", b"20"), (b"one", b"21"), (b"one", b"hot"), (b"two", b"20"), (b"stranger", b"1"), (b"site/a", b"1")]
"""A sample, another, none, two samples, no binding, and one that is left to Python."""
NOW, PACKET_MAX = 1_700_000_000_000_000_000, 4096


@dataclass(frozen=True)
class Message:
    """A QoS 1 message as it is sent."""

    mid: int
    content: int
    dup: bool

    def packet(self) -> bytes:
        topic, payload = CONTENTS[self.content]
        return publish(topic, payload, qos=1, mid=self.mid, dup=self.dup)


def make_table() -> TopicTable:
    table = TopicTable(ignored_max=100, seed=1)
    table.add(b"one", [Binding(0)])
    table.add(b"two", [Binding(1), Binding(2)])
    table.add_pattern(["site", None])
    return table


def hash_of(topic: bytes, payload: bytes) -> int:
    buf = array(topic + payload)
    return int(message_hash(buf, 0, len(topic), len(topic), len(buf)))


def expecting(messages: list[Message], first: int) -> Fused:
    """After these, numbered from ``first`` on, were fused on the last connection."""
    fused = make_fused()
    fused.state[:] = 1, first, first + len(messages)
    for number, m in enumerate(messages, first):
        fused.mid[number & RING_MASK] = m.mid
        fused.hash[number & RING_MASK] = hash_of(*CONTENTS[m.content])
        fused.last[m.mid] = number + 1
    return fused


def by_kernel(stream: list[Message], fused: Fused, packets: int) -> tuple[list[int], int, list[int]]:
    """(slots of the samples, duplicates, identifiers in the PUBACKs)"""
    table, out = make_table(), make_output(16, packets)
    data = b"".join(publish(b"one", b"5") + m.packet() for m in stream)
    slots: list[int] = []
    mids: list[int] = []
    used, duplicates, status = 0, 0, FULL
    while status == FULL:
        rest = array(data[used:])
        step, status = scan(rest, len(rest), table.view, out, fused, NOW, PACKET_MAX, False)
        c = out.counters.tolist()
        slots += out.slot[: c[mqtt.SAMPLES]].tolist()
        duplicates += c[mqtt.DUPLICATES]
        acks = out.ack[: c[mqtt.ACK_BYTES]].reshape(-1, 4)
        mids += (acks[:, 2].astype(int) << 8 | acks[:, 3]).tolist()
        used += step
        slots += [-1] * c[mqtt.SLOWS]
    assert used == len(data)
    return slots, duplicates, mids


def by_list(stream: list[Message], fused: list[Message]) -> tuple[list[int], int]:
    expected, slots, duplicates = list(fused), [], 0
    for m in stream:
        slots.append(0)  # of the QoS 0 message before each
        at = [k for k, e in enumerate(expected) if (e.mid, e.content) == (m.mid, m.content)]
        if m.dup and at:
            del expected[: at[0] + 1]
            duplicates += 1
            continue
        expected = []
        slots += {0: [0], 1: [0], 3: [1, 2], 5: [-1]}.get(m.content, [])
    return slots, duplicates


MESSAGES = st.builds(Message, st.integers(1, 40), st.sampled_from(range(len(CONTENTS))), st.booleans())


@examples(200)
@given(st.data(), st.integers(1, 5), st.sampled_from([0, 7, RING - 3]))
def test_same_as_a_list(data: st.DataObject, packets: int, first: int) -> None:
    fused = data.draw(st.lists(MESSAGES, max_size=10, unique_by=lambda m: m.mid))
    acknowledged = data.draw(st.integers(0, len(fused)))
    again = [Message(m.mid, m.content, True) for m in fused[acknowledged:]]
    stream = again + data.draw(st.lists(MESSAGES, max_size=6))
    if data.draw(st.booleans()):
        stream = data.draw(st.lists(MESSAGES | st.sampled_from(again or stream), max_size=10)) if stream else stream
    slots, duplicates, mids = by_kernel(stream, expecting(fused, first), packets)
    want, repeated = by_list(stream, fused)
    assert (sorted(slots), duplicates) == (sorted(want), repeated)
    assert mids == [m.mid for m in stream]


def test_without_holding_nothing_is_recognised() -> None:
    fused = expecting([Message(1, 0, True)], 0)
    fused.state[HOLDING] = 0
    assert by_kernel([Message(1, 0, True)], fused, 4) == ([0, 0], 0, [1])


def test_the_hash_tells_topic_from_payload_and_never_changes() -> None:
    """It is kept on disk: a release that computed another would not know its own messages again."""
    assert hash_of(b"ab", b"c") != hash_of(b"a", b"bc")
    assert hash_of(b"plant/line3/machine012/temp", b'{"t": 1700000000, "v": 21.5}') == 8_521_048_909_542_808_498
    assert hash_of(b"t", b"") == -5_063_512_285_472_112_380


@examples(100)
@given(st.lists(st.integers(1, 6), max_size=30), st.data())
def test_an_identifier_used_again_tells_what_was_acknowledged(mids: list[int], data: st.DataObject) -> None:
    sent = data.draw(st.integers(0, len(mids)))
    cut = data.draw(st.integers(0, sent))
    fused, first, broken = make_fused(), 0, 0
    for part, offset in ((mids[:cut], 0), (mids[cut:], cut)):
        acks = np.array([[0x40, 2, 0, mid] for mid in part], np.uint8).reshape(-1)
        first, bad = note_fused(fused, acks, np.arange(offset, len(mids)), len(part), offset, first, sent)
        broken = broken or bad
    repeats = [k for k, mid in enumerate(mids) if mid in mids[k + 1 :]]
    assert first == max(repeats, default=-1) + 1
    too_early = any(k >= sent for k in repeats)
    assert bool(broken) == too_early
    assert fused.hash[: len(mids)].tolist() == list(range(len(mids)))


def test_a_single_message_is_recognised_as_in_the_scan() -> None:
    fused = expecting([Message(1, 0, True), Message(2, 0, True), Message(3, 0, True)], 5)
    known: Array = hash_of(*CONTENTS[0])
    assert is_redelivery(fused, 2, known, True)
    assert fused.state[EXPECTED] == 7
    assert not is_redelivery(fused, 3, known, False)
    assert fused.state[EXPECTED_END] == fused.state[EXPECTED]
    assert not is_redelivery(fused, 3, known, True)
