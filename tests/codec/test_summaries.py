"""Summaries of raw samples in frames: exact, and nothing but FrameError for damage."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgetwin.codec import summaries
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.codec.frames import decode_frame
from edgetwin.errors import FrameError
from edgetwin.records import SignalSummary
from edgetwin.uplink.outbox import Outbox
from tests.codec.build import I64, NAMES, T0, report


@st.composite
def any_summary(draw: st.DrawFn) -> SignalSummary:
    signals = draw(st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=8, unique=True))
    n = len(signals)
    counts = draw(hnp.arrays(np.int64, n, elements=st.integers(1, 2**63 - 1)))
    low, high, mean, duration = draw(hnp.arrays(np.float64, (4, n), elements=st.floats(allow_nan=False)))
    return SignalSummary(draw(I64), tuple(signals), counts, low, high, mean, duration)


def same(a: SignalSummary, b: SignalSummary) -> bool:
    arrays = [(s.count, s.low, s.high, s.mean, s.duration_s) for s in (a, b)]
    return (a.t_ns, a.signals) == (b.t_ns, b.signals) and all(
        x.tobytes() == y.tobytes() for x, y in zip(*arrays, strict=True)
    )


def summary(t_ns: int = T0, n: int = 3) -> SignalSummary:
    signals = tuple((f"m{k}", "x", "bar") for k in range(n))
    count = np.arange(1, n + 1)
    return SignalSummary(t_ns, signals, count, -1.0 * count, 1.0 * count, 0.1 * count, 60.0 * count)


@given(st.lists(any_summary(), max_size=4))
def test_summaries_are_exact(sent: list[SignalSummary]) -> None:
    found = summaries.decode(summaries.encode(sent))
    assert len(found) == len(sent) and all(map(same, found, sent))


@pytest.mark.parametrize("reports", [[], [report()]])
def test_they_travel_in_frames_of_either_codec(reports: list[Any]) -> None:
    frame = decode_frame(FrameEncoder("g").encode(reports, 1, 0, (), (), [summary()]))
    assert len(frame.signals) == 1 and same(frame.signals[0], summary())
    assert len(frame.reports) == len(reports)


def test_the_outbox_puts_one_into_each_frame() -> None:
    outbox = Outbox("g", 1 << 20, encoder=FrameEncoder("g"))
    assert outbox.put([report()], (), [summary(T0), summary(T0 + 1)]) == 2
    frames = [decode_frame(q.data) for q in outbox]
    assert [(len(f.reports), [s.t_ns for s in f.signals]) for f in frames] == [(1, [T0]), (0, [T0 + 1])]


def packed(*parts: object) -> bytes:
    return zlib.compress(msgpack.packb(list(parts)))


GOOD = msgpack.unpackb(zlib.decompress(summaries.encode([summary()])))


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"x",
        zlib.compress(b""),
        zlib.compress(bytes(2**24 + 1)),
        packed(1),
        packed(GOOD[0], GOOD[1], None),
        packed(GOOD[0], GOOD[1][:2], GOOD[2]),
        packed([], [], GOOD[2]),
        packed(GOOD[0], GOOD[1], GOOD[2][:-1]),
        packed(GOOD[0], GOOD[1], GOOD[2] + b"\0"),
        packed(GOOD[0], GOOD[1], GOOD[2][:24] + bytes(8) + GOOD[2][32:]),
        packed(GOOD[0], GOOD[1], GOOD[2][:24] + b"\xff" * 8 + GOOD[2][32:]),
    ],
)
def test_anything_else_is_refused(data: object) -> None:
    with pytest.raises(FrameError):
        summaries.decode(data)


def test_what_is_malformed_is_not_written() -> None:
    good = summary()
    bad = SignalSummary(T0, good.signals, good.count[:1], good.low, good.high, good.mean, good.duration_s)
    surrogate = SignalSummary(T0, (("\ud800", "x", ""),), *(a[:1] for a in (good.count, good.low, good.high, good.mean, good.duration_s)))  # fmt: skip
    for one in (bad, surrogate):
        with pytest.raises(FrameError):
            summaries.encode([one])
