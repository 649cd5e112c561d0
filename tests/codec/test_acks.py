"""Acknowledgements: what is written is read, and nothing else is accepted."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.codec.acks import Ack, decode_ack, encode_ack
from edgetwin.errors import FrameError

U64 = st.integers(0, 2**64 - 1)
RANGES = st.tuples(U64, U64).map(lambda pair: (min(pair), max(pair)))


@given(
    st.builds(
        Ack,
        gateway=st.text(min_size=1, max_size=20),
        epoch=U64,
        through=st.integers(-1, 2**64 - 1),
        resend=st.lists(RANGES, max_size=5).map(tuple),
        key=st.booleans(),
    )
)
def test_what_is_written_is_read(ack: Ack) -> None:
    assert decode_ack(encode_ack(ack)) == ack


@given(st.binary(max_size=64))
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_ack(data)


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"gateway": ""}, {"epoch": -1}, {"through": -2}, {"resend": [[3, 2]]}, {"resend": [[1]]}, {"key": 1}],
)
def test_a_field_out_of_bounds_is_refused(change: dict[str, object]) -> None:
    good = {"v": 1, "gateway": "g", "epoch": 7, "through": 4, "resend": [[6, 9]], "key": False}
    assert decode_ack(msgpack.packb(good)) == Ack("g", 7, 4, ((6, 9),), False)
    with pytest.raises(FrameError):
        decode_ack(msgpack.packb(good | change))
