"""The head of a frame tells its time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.codec.frames import encode_frame
from edgetwin.codec.header import newest_time
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
