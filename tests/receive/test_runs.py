"""Frames of codec twin-1 through the receiver: decoding goes on after any stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.clock import ManualClock
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.errors import JournalError
from edgetwin.receive import runs
from edgetwin.receive.config import CsvStore
from edgetwin.receive.receiver import Receiver
from edgetwin.receive.store import iso
from edgetwin.records import Foreseen, SignalSummary
from tests.codec.build import T0, report
from tests.receive.build import read

FRAMES = 12


def frames(
    gateway: str = "g", epoch: int = 7, first: int = 0, n: int = FRAMES, keys: tuple[int, ...] = ()
) -> list[bytes]:
    """One report in each; key frames at the first and at ``keys``."""
    encoder = FrameEncoder(gateway, lambda columns: Foreseen(np.full(len(columns), 0.01)))
    made = []
    for seq in range(first, first + n):
        if seq in keys:
            encoder.request_key()
        made.append(encoder.encode([report(T0 + seq * 10**9, seed=seq)], epoch, seq))
    return made


def open_csv(directory: Path) -> Receiver:
    return Receiver(CsvStore(str(directory)), directory, ManualClock(T0))


def expected(tmp_path: Path, sent: list[bytes]) -> list[tuple[str, ...]]:
    """What a receiver that is never stopped makes of the frames."""
    whole = open_csv(tmp_path)
    for data in sent:
        whole.take(data)
    whole.commit()
    whole.close()
    return read(tmp_path / "states.csv")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=6))
@settings(max_examples=12, deadline=None)
def test_stopped_anywhere_and_as_often_as_may_be(
    tmp_path_factory: pytest.TempPathFactory, stops: list[tuple[int, int]]
) -> None:
    """Between two stops some frames are committed and some are lost, which the broker sends again."""
    folder = tmp_path_factory.mktemp("store")
    sent = frames(keys=(5,))
    at = 0
    for committed, lost in [*stops, (FRAMES, 0)]:
        receiver = open_csv(folder)
        for data in sent[at : at + committed]:
            receiver.take(data)
        receiver.commit()
        at = min(at + committed, FRAMES)
        for data in sent[at : at + lost]:
            receiver.take(data)
        receiver.close()
        assert receiver.counters.dead == 0
    assert read(folder / "states.csv") == expected(tmp_path_factory.mktemp("whole"), sent)


def test_repeats_are_counted_before_they_are_decoded(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    sent = frames()
    for data in (*sent[:3], sent[1], sent[0], sent[2], *sent[3:]):
        receiver.take(data)
    assert (receiver.counters.stored, receiver.counters.duplicates, receiver.counters.dead) == (FRAMES, 3, 0)


def test_a_frame_without_its_run_is_set_aside_and_a_key_frame_wanted(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    sent = frames(keys=(6,))
    for data in (*sent[:2], *sent[3:6]):
        receiver.take(data)
    assert receiver.key_wanted == {"g"}
    assert (receiver.counters.stored, receiver.counters.dead) == (2, 3)
    for data in sent[6:]:
        receiver.take(data)
    assert receiver.key_wanted == set()
    assert (receiver.counters.stored, receiver.counters.missing) == (FRAMES - 4, 4)


def test_the_file_is_compacted_to_the_runs_that_are_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "COMPACT_LEAST_BYTES", 1_000)
    sent = frames(n=60, keys=tuple(range(4, 60, 4)))
    other = frames("h", n=3)
    sizes = []
    for k in range(0, 60, 3):
        receiver = open_csv(tmp_path)
        for data in (*sent[k : k + 3], *other[: k == 0 and 3]):
            receiver.take(data)
        receiver.commit()
        receiver.close()
        (file,) = tmp_path.glob("runs-*.etf")
        sizes.append(file.stat().st_size)
    assert file.name != "runs-00000000.etf"
    assert max(sizes) < 1_000 + 10 * len(b"".join(sent[:12]))
    receiver = open_csv(tmp_path)
    receiver.take(frames("h", n=4)[3])
    assert receiver.counters.stored == 1  # the run of the quiet gateway is still there


def test_committed_frames_that_are_gone_are_told(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    receiver.take(frames()[0])
    receiver.commit()
    receiver.close()
    (file,) = tmp_path.glob("runs-*.etf")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(JournalError, match="shorter than its last commit"):
        open_csv(tmp_path)


def test_summaries_of_raw_samples_are_stored(tmp_path: Path) -> None:
    one = np.array([1.0])
    summary = SignalSummary(T0, (("m", "x", "bar"),), np.array([60]), -one, 2 * one, one / 3, 59 * one)
    receiver = open_csv(tmp_path)
    receiver.take(FrameEncoder("g").encode([], 7, 0, (), (), [summary]))
    receiver.commit()
    receiver.take(FrameEncoder("g").encode([], 7, 1, (), (), [summary]))
    receiver.close()  # the second is not committed
    rows = read(tmp_path / "signals.csv")
    assert rows == [("g", "m", "x", "bar", str(T0), iso(T0), "60", "-1.0", "2.0", repr(1 / 3), "59.0")]
