from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.codec.container import append_frame, read_frames
from edgetwin.errors import FrameError

FRAMES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def file_of(frames: list[bytes]) -> bytes:
    file = io.BytesIO()
    assert sum(append_frame(file, frame) for frame in frames) == len(file.getvalue())
    return file.getvalue()


@given(FRAMES)
def test_round_trip(frames: list[bytes]) -> None:
    assert list(read_frames(io.BytesIO(file_of(frames)))) == frames


@given(FRAMES.filter(bool), st.data())
def test_a_cut_file_gives_its_whole_frames(frames: list[bytes], data: st.DataObject) -> None:
    whole = file_of(frames)
    cut = data.draw(st.integers(0, len(whole)))
    got = []
    bounds = [len(file_of(frames[:k])) for k in range(len(frames) + 1)]
    reader = read_frames(io.BytesIO(whole[:cut]))
    if cut in bounds:
        assert list(reader) == frames[: bounds.index(cut)]
        return
    with pytest.raises(FrameError, match="ends inside a frame"):
        got.extend(reader)
    assert got == frames[: len(got)]


def test_another_kind_of_file() -> None:
    with pytest.raises(FrameError, match="byte 0: a frame of"):
        list(read_frames(io.BytesIO(b"t,twin,state,mean,std\n")))
