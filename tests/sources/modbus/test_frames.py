"""Frames."""
# ---- answers


def frame(tid: int, unit: int, body: bytes, protocol: int = 0) -> bytes:
    return struct.pack(">HHHB", tid, protocol, len(body) + 1, unit) + body


def request(function: int = 3, count: int = 2, tid: int = 7, unit: int = 1) -> bytes:
    return frame(tid, unit, struct.pack(">BHH", function, 0, count))


GOOD = frame(7, 1, b"\x03\x04\x00\x01\x00\x02")


def test_a_sound_answer_is_awaited_to_its_last_byte() -> None:
    for cut in range(len(GOOD)):
        assert not check_answer(request(), GOOD[:cut])
    assert check_answer(request(), GOOD)
    assert check_answer(request(1, 9), frame(7, 1, b"\x01\x02\xff\x01"))
    assert check_answer(request(), frame(7, 1, b"\x83\x02"))


@pytest.mark.parametrize(
    "answer",
    [
        frame(7, 1, b"\x04\x04\x00\x01\x00\x02"),  # another function
        frame(7, 1, b"\x84\x02"),  # an exception to another function
        frame(7, 1, b"\x83\x02\x00"),  # an exception too long
        frame(7, 1, b"\x03\x02\x00\x01"),  # too few
        frame(7, 1, b"\x03\x06\x00\x01\x00\x02\x00\x03"),  # too many
        frame(7, 1, b"\x03\x05\x00\x01\x00\x02\x00"),  # odd
        frame(7, 1, b"\x03\x04\x00\x01"),  # byte count and length disagree
        frame(7, 1, b"\x03\x02\x00\x01\x00\x02"),
    ],
)
def test_a_whole_frame_that_is_not_the_answer_costs_its_block(answer: bytes) -> None:
    with pytest.raises(PayloadError):
        check_answer(request(), answer)


@pytest.mark.parametrize(
    "answer",
    [
        frame(8, 1, GOOD[7:]),  # another transaction
        frame(7, 2, GOOD[7:]),  # another unit
        frame(7, 1, GOOD[7:], protocol=1),
        b"HTTP/1.1 400 Bad Request\r\n",
        GOOD + b"\x00",
        GOOD + GOOD,
        frame(7, 1, b"")[:6] + b"\x01\x03",  # length 1
        frame(7, 1, bytes(300)),
    ],
)
def test_a_stream_out_of_step_costs_the_connection(answer: bytes) -> None:
    with pytest.raises(FramingError):
        check_answer(request(), answer)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda at, byte, cut: (GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])[:cut],
            st.integers(0, len(GOOD) - 1),
            st.integers(0, 255),
            st.integers(0, len(GOOD)),
        ),
    )
)
def test_only_the_right_header_is_accepted(data: bytes) -> None:
    try:
        sound = check_answer(request(), data)
    except (FramingError, PayloadError):
        return
    if sound:
        exception = frame(7, 1, b"\x83" + data[-1:])
        assert (data[:9] == GOOD[:9] and len(data) == len(GOOD)) or data == exception


