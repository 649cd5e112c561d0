"""The outbox in memory: bound, epochs. test_contract.py has what any store promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.codec.decoder import FrameDecoder
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.codec.foresight import exact
from edgetwin.codec.frames import Frame, FrameGap, PlainEncoder, decode_frame
from edgetwin.records import Report
from edgetwin.uplink.encoding import make_encoder
from edgetwin.uplink.outbox import Outbox
from edgetwin.uplink.queued import split
from tests.codec.build import T0, report
from tests.engine.build import config, twin
from tests.uplink.build import fill

PLENTY = 1 << 24


def frames(outbox: Outbox) -> list[Frame]:
    return [decode_frame(queued.data) for queued in outbox]


def size_of_one() -> int:
    outbox = Outbox("g", PLENTY)
    fill(outbox, 1)
    return outbox.bytes


def test_epochs_differ() -> None:
    assert Outbox("g", PLENTY).epoch != Outbox("g", PLENTY).epoch


def test_when_full_the_oldest_goes_and_the_next_frame_says_so() -> None:
    outbox = Outbox("g", 3 * size_of_one() + 300, epoch=7)
    fill(outbox, 6)
    kept = frames(outbox)
    assert outbox.bytes <= 3 * size_of_one() + 300
    assert outbox.counters.dropped == 6 - len(kept)
    told = [gap for frame in kept for gap in frame.gaps] + outbox._gaps
    lost = {seq for gap in told for seq in range(gap.first, gap.last + 1)}
    assert lost == set(range(6)) - {f.seq for f in kept}
    assert {(g.epoch, g.reason) for g in told} == {(7, "outbox_full")}
    assert sum(g.count for g in told) == 6 * len(lost)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=40), st.integers(1, 6))
def test_every_number_is_delivered_or_accounted_for(steps: list[tuple[int, int]], room: int) -> None:
    """Whatever is acknowledged when: delivered, waiting and gap records together are all numbers, each once."""
    outbox = Outbox("g", room * size_of_one() + 500, epoch=7)
    delivered: list[Frame] = []
    for burst, acknowledged in steps:
        fill(outbox, burst)
        for queued in list(outbox)[:acknowledged]:
            delivered.append(decode_frame(queued.data))
            outbox.acknowledge(queued.key)
    known = delivered + frames(outbox)
    gaps = [gap for frame in known for gap in frame.gaps] + outbox._gaps
    numbers = [f.seq for f in known] + [n for gap in gaps for n in range(gap.first, gap.last + 1)]
    total = sum(burst for burst, _ in steps)
    assert sorted(numbers) == list(range(total))
    assert sum(f.values for f in known) + sum(g.count for g in gaps) == 6 * total


def test_a_frame_larger_than_the_outbox_becomes_a_gap() -> None:
    outbox = Outbox("g", 100, epoch=7)
    fill(outbox, 2)
    assert (len(outbox), outbox.bytes) == (0, 0)
    assert outbox._gaps == [FrameGap(7, 0, 1, "outbox_full", 12)]


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 12))
def test_split_keeps_order_and_bound(sizes: list[int], bound: int) -> None:
    sent = [Report(i, (("a", "b", "c"),) * n, np.arange(n) * 1.0, np.ones(n), np.zeros(n, np.uint8)) for i, n in enumerate(sizes)]  # fmt: skip
    groups = split(sent, bound)
    assert all(0 < sum(map(len, g)) <= bound for g in groups)
    assert [(r.t_ns, v) for g in groups for r in g for v in r.mean.tolist()] == [
        (i, float(v)) for i, n in enumerate(sizes) for v in range(n)
    ]


# ---- runs of frames


def filled(n: int, keys: tuple[int, ...], bytes_max: int = PLENTY) -> Outbox:
    """Frames of codec twin-1 with key frames at 0 and at ``keys``."""
    outbox = Outbox("g", bytes_max, epoch=7, encoder=FrameEncoder("g"))
    for k in range(n):
        if k in keys:
            outbox.encoder.request_key()
        outbox.put([report(T0 + k, seed=k)])
    return outbox


def told(outbox: Outbox) -> dict[int, str]:
    """Reasons of the gap records not sent yet, by number."""
    return {n: gap.reason for gap in outbox._gaps for n in range(gap.first, gap.last + 1)}


def test_an_outbox_that_is_full_keeps_what_can_be_decoded() -> None:
    """However little room there is, all that waits is decoded in its order, and the rest is accounted for."""
    for room in range(1_000, 20_000, 950):
        outbox = filled(60, keys=tuple(range(4, 60, 4)), bytes_max=room)
        assert outbox.bytes <= room
        decoder = FrameDecoder()
        kept = [decoder.decode(q.data) for q in outbox]
        gaps = [gap for f in kept for gap in f.gaps] + outbox._gaps
        lost = [n for gap in gaps for n in range(gap.first, gap.last + 1)]
        assert sorted([f.seq for f in kept] + lost) == list(range(60))
        assert kept or room < 8_000


@pytest.mark.parametrize(("codec", "kind"), [("twin-1", FrameEncoder), ("plain-1", PlainEncoder)])
def test_the_configuration_chooses_the_codec(codec: str, kind: type) -> None:
    uplink = {"kind": "mqtt", "url": "mqtt://127.0.0.1", "codec": codec}
    assert isinstance(make_encoder(config([twin()], uplink=uplink), exact, PLENTY), kind)
