"""Frames of codec twin-1 through the receiver: decoding goes on after any stop, and what broke off is asked for."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from edgetwin.codec.contents import FrameGap
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.errors import JournalError
from edgetwin.receive.receiver import Outcome
from edgetwin.receive.stores import runs
from edgetwin.records import Foreseen
from tests.codec.build import T0, report
from tests.receive.build import KINDS, Place

FRAMES = 12


def frames(
    gateway: str = "g",
    epoch: int = 7,
    first: int = 0,
    n: int = FRAMES,
    keys: tuple[int, ...] = (),
    gaps: dict[int, FrameGap] = {},  # noqa: B006
) -> list[bytes]:
    """One report in each; key frames at the first and at ``keys``."""
    encoder = FrameEncoder(gateway, lambda columns: Foreseen(np.full(len(columns), 0.01)))
    made = []
    for seq in range(first, first + n):
        if seq in keys:
            encoder.request_key()
        made.append(
            encoder.encode([report(T0 + seq * 10**9, seed=seq)], epoch, seq, (), (gaps[seq],) if seq in gaps else ())
        )
    return made


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of each kind."""
    url = request.getfixturevalue("postgres").url if request.param == "postgresql" else ""
    return Place(request.param, tmp_path / "store", url)


def expected(tmp_path: Path, sent: list[bytes]) -> list[tuple[str, ...]]:
    """What a receiver that is never stopped makes of the frames."""
    whole = Place("csv", tmp_path / "whole")
    receiver = whole.open()
    for data in sent:
        assert receiver.take(data).outcome is Outcome.STORED
    receiver.commit()
    receiver.store.close()
    return whole.rows()


@pytest.mark.parametrize("seed", range(2))
def test_stopped_anywhere_and_as_often_as_may_be(place: Place, tmp_path: Path, seed: int) -> None:
    """Between two stops some frames are committed and some are lost, which come again."""
    print("seed", seed)
    rng = random.Random(seed)
    sent = frames(keys=(5,))
    at = 0
    while at < FRAMES:
        receiver = place.open()
        committed = min(at + rng.randrange(4), FRAMES)
        for data in sent[at:committed]:
            receiver.take(data)
        receiver.commit()
        for data in sent[committed : committed + rng.randrange(4)]:
            receiver.take(data)
        receiver.store.close()
        assert receiver.counters.dead == receiver.counters.deferred == 0
        at = committed
    assert place.rows() == expected(tmp_path, sent)


def test_repeats_are_known_before_they_are_decoded(tmp_path: Path) -> None:
    receiver = Place("csv", tmp_path).open()
    sent = frames()
    for data in (*sent[:3], sent[1], sent[0], sent[2], *sent[3:]):
        receiver.take(data)
    assert (receiver.counters.stored, receiver.counters.duplicates, receiver.counters.dead) == (FRAMES, 3, 0)


def test_frames_behind_a_hole_are_asked_for_with_it(place: Place, tmp_path: Path) -> None:
    receiver = place.open()
    sent = frames()
    outcomes = [receiver.take(data).outcome for data in (*sent[:2], *sent[3:6])]
    assert outcomes == [*[Outcome.STORED] * 2, *[Outcome.DEFERRED] * 3]
    (ack,) = receiver.commit().acks
    assert (ack.through, ack.resend, ack.key) == (1, ((2, 5),), False)
    for data in sent[2:]:
        receiver.take(data)
    (ack,) = receiver.commit().acks
    assert (ack.through, ack.resend, ack.key) == (FRAMES - 1, (), False)
    receiver.store.close()
    assert place.rows() == expected(tmp_path, sent)
    assert not list(tmp_path.glob("store/dead-letters/*"))


def test_a_run_that_the_decoder_has_forgotten_is_asked_for_from_its_key_frame(tmp_path: Path) -> None:
    place = Place("csv", tmp_path / "store")
    receiver = place.open()
    sent = frames(keys=(2,))
    for data in sent[:5]:
        receiver.take(data)
    receiver._decoding = type(receiver._decoding)()  # type: ignore[misc]
    assert receiver.take(sent[5]).outcome is Outcome.DEFERRED
    (ack,) = receiver.commit().acks
    assert (ack.through, ack.resend, ack.key) == (4, ((2, 5),), True)
    for data in sent[2:]:
        receiver.take(data)
    (ack,) = receiver.commit().acks
    assert (ack.through, ack.resend, ack.key) == (FRAMES - 1, (), False)
    receiver.store.close()
    assert place.rows() == expected(tmp_path, sent)


def test_what_continues_a_frame_that_was_given_up_is_lost_with_it(tmp_path: Path) -> None:
    place = Place("csv", tmp_path)
    receiver = place.open()
    sent = frames(keys=(3, 7), gaps={3: FrameGap(7, 1, 1, "outbox_full")})
    outcomes = [receiver.take(sent[seq]).outcome for seq in (0, 3, 2)]
    assert outcomes == [Outcome.STORED, Outcome.STORED, Outcome.REFUSED]
    (ack,) = receiver.commit().acks
    assert (ack.through, ack.key) == (3, True)
    for data in sent[4:]:
        receiver.take(data)
    (ack,) = receiver.commit().acks
    assert (ack.through, ack.resend, ack.key) == (FRAMES - 1, (), False)
    receiver.store.close()
    assert (7, 2, 2, "lost", "run_broken") in place.gaps()


@pytest.mark.parametrize("kind", ["duckdb", "postgresql"])
def test_a_database_keeps_the_runs_that_are_alive(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres").url if kind == "postgresql" else ""
    place = Place(kind, tmp_path, url)
    receiver = place.open()
    for data in (*frames(keys=(4, 8)), *frames("h", n=2)):
        receiver.take(data)
    receiver.commit()
    receiver.store.close()
    found = place.query("SELECT gateway, key, count(*) FROM runs GROUP BY gateway, key ORDER BY gateway, key")
    assert [(g, int(k), n) for g, k, n in found] == [("g", 4, 4), ("g", 8, 4), ("h", 0, 2)]


def test_the_file_is_compacted_to_the_runs_that_are_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "COMPACT_LEAST_BYTES", 1_000)
    sent = frames(n=60, keys=tuple(range(4, 60, 4)))
    other = frames("h", n=3)
    sizes = []
    for k in range(0, 60, 3):
        receiver = Place("csv", tmp_path).open()
        for data in (*sent[k : k + 3], *other[: k == 0 and 3]):
            receiver.take(data)
        receiver.commit()
        receiver.store.close()
        (file,) = tmp_path.glob("runs-*.etf")
        sizes.append(file.stat().st_size)
    assert file.name != "runs-00000000.etf"
    assert max(sizes) < 1_000 + 10 * len(b"".join(sent[:12]))
    receiver = Place("csv", tmp_path).open()
    receiver.take(frames("h", n=4)[3])
    assert receiver.counters.stored == 1  # the run of the quiet gateway is still there


def test_committed_frames_that_are_gone_are_told(tmp_path: Path) -> None:
    receiver = Place("csv", tmp_path).open()
    receiver.take(frames()[0])
    receiver.commit()
    receiver.store.close()
    (file,) = tmp_path.glob("runs-*.etf")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(JournalError, match="shorter than its last commit"):
        Place("csv", tmp_path).open()
