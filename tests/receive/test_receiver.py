"""The receiver: each frame once, every loss told, nothing lost or doubled by a crash."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.clock import ManualClock
from edgetwin.codec.frames import FrameGap
from edgetwin.codec.limits import U64_MAX
from edgetwin.errors import JournalError
from edgetwin.receive.config import CsvStore, ParquetStore
from edgetwin.receive.deadletters import DeadLetters
from edgetwin.receive.receiver import Receiver
from edgetwin.receive.store import iso
from edgetwin.records import Event
from tests.codec.build import T0
from tests.receive.build import frame, read, report_of, rows_of


def open_csv(directory: Path) -> Receiver:
    return Receiver(CsvStore(str(directory)), directory, ManualClock(T0))


def states(directory: Path) -> list[tuple[str, ...]]:
    return read(directory / "states.csv")


def gaps(directory: Path) -> list[tuple[str, ...]]:
    """(epoch, first, last, kind, reason) of each line."""
    return [row[2:7] for row in read(directory / "gaps.csv")]


def test_frames_become_rows_exactly(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    for seq in range(5):
        receiver.take(frame(seq))
    receiver.commit()
    assert states(tmp_path) == rows_of([report_of(seq) for seq in range(5)])
    assert gaps(tmp_path) == []


def test_a_frame_is_stored_once_however_often_it_comes(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    for seq in (0, 1, 0, 1, 1, 2):
        receiver.take(frame(seq))
    receiver.take(frame(0, epoch=8))
    receiver.take(frame(0, gateway="other"))
    receiver.commit()
    c = receiver.counters
    assert (c.payloads, c.stored, c.duplicates) == (8, 5, 3)
    expected = rows_of([report_of(seq) for seq in (0, 1, 2, 0)]) + rows_of([report_of(0)], "other")
    assert states(tmp_path) == expected


def test_skipped_frames_are_told_and_stored_when_they_come_late(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    for seq in (0, 3, 2):
        receiver.take(frame(seq))
    receiver.commit()
    assert gaps(tmp_path) == [("7", "1", "2", "missing", "skipped"), ("7", "2", "2", "filled", "came_late")]
    assert receiver.counters.missing == 1
    assert states(tmp_path) == rows_of([report_of(seq) for seq in (0, 3, 2)])


def test_a_gap_record_explains_only_what_did_not_come(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    for seq in (0, 2):
        receiver.take(frame(seq))
    receiver.take(frame(3, gaps=[FrameGap(7, 0, 2, "outbox_full", 96)]))
    receiver.take(frame(0, epoch=8, gaps=[FrameGap(7, 4, U64_MAX, "unclean_stop")]))
    receiver.commit()
    assert gaps(tmp_path) == [
        ("7", "1", "1", "missing", "skipped"),
        ("7", "1", "1", "lost", "outbox_full"),
        ("7", "4", str(U64_MAX), "lost", "unclean_stop"),
    ]


def test_a_receiver_that_joins_late_says_so(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    receiver.take(frame(10))
    receiver.commit()
    assert gaps(tmp_path) == [("7", "0", "9", "missing", "before_first")]


def test_events_are_kept(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    receiver.take(frame(0, events=[Event("started", T0, {"version": "1", "n": 2})]))
    receiver.commit()
    assert read(tmp_path / "events.csv") == [("g", "7", "0", iso(T0), "started", '{"version":"1","n":2}')]


def test_what_is_no_frame_is_set_aside_and_the_stream_goes_on(tmp_path: Path) -> None:
    receiver = open_csv(tmp_path)
    cut = frame(1)[:-7]
    for payload in (frame(0), cut, b"", frame(2)):
        receiver.take(payload)
    receiver.commit()
    assert receiver.counters.dead == 2
    assert [p.read_bytes() for p in sorted((tmp_path / "dead-letters").glob("*.frame"))] == [cut, b""]
    assert states(tmp_path) == rows_of([report_of(0), report_of(2)])


@given(st.lists(st.integers(0, 8), max_size=12), st.integers(0, 12), st.integers(0, 12))
@settings(deadline=None)
def test_a_crash_at_any_point_loses_and_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[int], committed: int, crashed: int
) -> None:
    """Frames since the last commit come again after the crash, as they were not acknowledged."""
    directory = tmp_path_factory.mktemp("store")
    committed = min(committed, len(arrivals))
    crashed = max(committed, min(crashed, len(arrivals)))
    first = open_csv(directory)
    for seq in arrivals[:committed]:
        first.take(frame(seq))
    first.commit()
    for seq in arrivals[committed:crashed]:
        first.take(frame(seq))
    first._store.commit()  # type: ignore[attr-defined]  # on disk, and no progress to tell of it
    first.close()
    second = open_csv(directory)
    for seq in arrivals[committed:]:
        second.take(frame(seq))
    second.commit()
    second.close()
    assert states(directory) == rows_of([report_of(seq) for seq in dict.fromkeys(arrivals)])


def test_states_of_unknown_origin_are_not_cut(tmp_path: Path) -> None:
    (tmp_path / "states.csv").write_text("somebody's work\n")
    with pytest.raises(JournalError, match="without"):
        open_csv(tmp_path)
    assert (tmp_path / "states.csv").read_text() == "somebody's work\n"


def test_a_store_of_another_kind_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    open_csv(tmp_path).close()
    with pytest.raises(JournalError, match="another store"):
        Receiver(ParquetStore(str(tmp_path)), tmp_path, ManualClock(T0))
    (tmp_path / "progress.json").write_text("{")
    with pytest.raises(JournalError, match="cannot be read"):
        open_csv(tmp_path)


def test_dead_letters_are_bounded(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path, count_max=3, bytes_max=10)
    for payload in (b"a", b"bb", b"ccc", b"dddd", b"eeeee", b"f" * 20):
        dead.add(payload, "t", "why")
    assert [p.read_bytes() for p in sorted(tmp_path.glob("*.frame"))] == [b"f" * 10]
    again = DeadLetters(tmp_path, count_max=3, bytes_max=100)
    for payload in (b"g", b"h", b"i"):
        again.add(payload, "t", "why")
    assert [p.read_bytes() for p in sorted(tmp_path.glob("*.frame"))] == [b"g", b"h", b"i"]


# ---- Parquet


def parquet_rows(directory: Path) -> list[tuple[str, ...]]:
    rows = []
    for path in sorted(directory.glob("states-*.parquet")):
        table = pq.read_table(path)
        t = table["t"].cast("int64").to_pylist()
        columns = [table[name].to_pylist() for name in ("gateway", "twin", "state", "mean", "std", "quality", "unit")]
        rows += [
            (g, w, s, u, str(n), iso(n), repr(m), repr(d), q)
            for n, (g, w, s, m, d, q, u) in zip(t, zip(*columns, strict=True), strict=True)
        ]
    return rows


def open_parquet(directory: Path, rows_max: int = 10) -> Receiver:
    return Receiver(ParquetStore(str(directory), rows_max=rows_max), directory, ManualClock(T0))


def test_parquet_holds_the_same_rows_in_files_of_bounded_size(tmp_path: Path) -> None:
    receiver = open_parquet(tmp_path)
    for seq in range(5):
        receiver.take(frame(seq))
        if receiver.full:
            receiver.commit()
    receiver.commit()
    receiver.commit()
    receiver.close()
    assert parquet_rows(tmp_path) == rows_of([report_of(seq) for seq in range(5)])
    assert [pq.read_metadata(p).num_rows for p in sorted(tmp_path.glob("*.parquet"))] == [12, 12, 6]


def test_parquet_forgets_what_no_commit_tells_of(tmp_path: Path) -> None:
    receiver = open_parquet(tmp_path)
    receiver.take(frame(0))
    receiver.commit()
    receiver.take(frame(1))
    receiver._store.commit()  # type: ignore[attr-defined]  # on disk, and no progress to tell of it
    (tmp_path / "states-00000002.parquet.partial").write_bytes(b"PAR1")
    again = open_parquet(tmp_path)
    for seq in (1, 2):
        again.take(frame(seq))
    again.commit()
    assert parquet_rows(tmp_path) == rows_of([report_of(seq) for seq in range(3)])
    assert not list(tmp_path.glob("*.partial"))
