"""The head of a frame tells its time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.codec.encoder import FrameEncoder
from edgetwin.codec.frames import encode_frame
from edgetwin.codec.header import chain_of, newest_time
from edgetwin.errors import FrameError
from edgetwin.records import Event
from tests.codec.build import T0, report


def test_the_time_of_the_last_report() -> None:
    longest = "ñ" * 128
    assert newest_time(encode_frame([report(T0), report(T0 + 5)], longest, 2**64 - 1, 2**64 - 1)) == T0 + 5
    assert newest_time(encode_frame([], "g", 1, 0, [Event("e", T0)])) is None


@given(st.binary(max_size=64))
def test_anything_else_is_no_frame(data: bytes) -> None:
    with pytest.raises(FrameError):
        newest_time(data)


def test_a_frame_says_what_it_continues() -> None:
    encoder = FrameEncoder("g")
    chains = []
    for seq in range(5, 12):
        if seq == 9:
            encoder.request_key()
        reports = [report(T0 + seq)] if seq != 7 else []
        frame = encoder.encode(reports, 1, seq, [Event("e", T0)])
        assert encoder.run == (None if chain_of(frame) is None else chain_of(frame)[0])  # type: ignore[index]
        chains.append(chain_of(frame))
    assert chains == [(5, 5), (5, 5), None, (5, 6), (9, 9), (9, 9), (9, 10)]
    assert chain_of(encode_frame([report()], "g", 1, 0)) is None, "of codec plain-1"


@given(st.binary(max_size=200))
def test_what_is_no_frame_continues_nothing(data: bytes) -> None:
    with pytest.raises(FrameError):
        chain_of(data)
    frame = FrameEncoder("g").encode([report()], 1, 0)
    with pytest.raises(FrameError):
        chain_of(frame[: len(frame) // 2])
