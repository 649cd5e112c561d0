"""The receiver on every store: each frame once, every loss told, nothing lost or doubled by a crash."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest

from edgetwin.clock import ManualClock
from edgetwin.codec.frames import FrameGap, encode_frame
from edgetwin.codec.limits import U64_MAX
from edgetwin.errors import JournalError, StoreError
from edgetwin.receive.deadletters import DeadLetters
from edgetwin.receive.receiver import Outcome, Receiver
from edgetwin.receive.share import Share, share_of
from edgetwin.receive.stores.port import iso
from edgetwin.records import Event, Report
from tests.codec.build import T0
from tests.receive.build import KINDS, Place, frame, read, report_of, rows_of
from tests.receive.postgres import Cluster

Places = Callable[..., Place]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of each kind."""
    kind = request.param
    url = request.getfixturevalue("postgres").url if kind == "postgresql" else ""
    return Place(kind, tmp_path, url)


def take(receiver: Receiver, *frames: bytes) -> list[Outcome]:
    return [receiver.take(payload).outcome for payload in frames]


def correction(seq: int, row: int, mean: float) -> Event:
    """What a gateway sends when the ``row``-th state of report ``seq`` was wrong."""
    report = report_of(seq)
    twin, state, _ = report.columns[row]
    return Event("correction", report.t_ns, {"twin": twin, "state": state, "mean": mean, "std": 0.5})


# ---- on every store


def test_frames_become_rows_exactly(place: Place) -> None:
    receiver = place.open()
    take(receiver, *(frame(seq) for seq in range(5)))
    receiver.commit()
    receiver.commit()
    receiver.store.close()
    assert place.rows() == rows_of([report_of(seq) for seq in range(5)])
    assert place.gaps() == []


def test_a_frame_is_stored_once_however_often_it_comes(place: Place) -> None:
    receiver = place.open()
    take(receiver, *(frame(seq) for seq in (0, 1, 0, 1, 1, 2)))
    take(receiver, frame(0, epoch=8), frame(0, gateway="other"))
    receiver.commit()
    receiver.store.close()
    c = receiver.counters
    assert (c.payloads, c.stored, c.duplicates) == (8, 5, 3)
    expected = rows_of([report_of(seq) for seq in (0, 1, 2, 0)]) + rows_of([report_of(0)], "other")
    assert place.rows() == expected


def test_skipped_frames_are_asked_for_and_stored_when_they_come_late(place: Place) -> None:
    receiver = place.open()
    take(receiver, frame(0), frame(3))
    (ack,) = receiver.commit().acks
    assert (ack.gateway, ack.epoch, ack.through, ack.resend) == ("g", 7, 0, ((1, 2),))
    receiver.store.close()
    again = place.open()  # what is missing is known after a restart
    assert again.ack("g") == ack
    take(again, frame(2))
    (ack,) = again.commit().acks
    assert (ack.through, ack.resend) == (0, ((1, 1),))
    take(again, frame(1))
    (ack,) = again.commit().acks
    assert (ack.through, ack.resend) == (3, ())
    again.store.close()
    missing, filled = (7, 1, 2, "missing", "skipped"), "filled"
    assert place.gaps() == [missing, (7, 2, 2, filled, "came_late"), (7, 1, 1, filled, "came_late")]
    assert Counter(place.rows()) == Counter(rows_of([report_of(seq) for seq in range(4)]))


def test_a_gap_record_closes_a_hole_and_counts_once_however_often_it_comes(place: Place) -> None:
    receiver = place.open()
    take(receiver, frame(0), frame(2), frame(3, gaps=[FrameGap(7, 0, 2, "outbox_full", 96)]))
    (ack,) = receiver.commit().acks
    assert (ack.through, ack.resend) == (3, ())
    receiver.store.close()
    again = place.open()
    take(again, frame(4, gaps=[FrameGap(7, 0, 2, "outbox_full", 96)]))
    take(again, frame(0, epoch=8, gaps=[FrameGap(7, 5, U64_MAX, "unclean_stop")]))
    take(again, frame(1, epoch=8, gaps=[FrameGap(7, 5, U64_MAX, "unclean_stop")]))
    again.commit()
    again.store.close()
    assert (receiver.counters.lost, again.counters.lost) == (1, 1)
    assert place.gaps() == [
        (7, 1, 1, "missing", "skipped"),
        (7, 1, 1, "lost", "outbox_full"),
        (7, 5, U64_MAX, "lost", "unclean_stop"),
    ]


def test_the_end_of_an_epoch_is_no_loss(place: Place) -> None:
    receiver = place.open()
    take(receiver, frame(0), frame(0, epoch=8, gaps=[FrameGap(7, 1, U64_MAX, "epoch_ended")]))
    (old, new) = sorted(receiver.commit().acks, key=lambda ack: ack.epoch)
    assert (old.through, old.resend, new.through) == (0, (), 0)
    receiver.store.close()
    assert receiver.counters.lost == 0 and place.gaps() == []


def test_a_receiver_that_joins_late_says_so(place: Place) -> None:
    receiver = place.open()
    take(receiver, frame(10))
    (ack,) = receiver.commit().acks
    receiver.store.close()
    assert place.gaps() == [(7, 0, 9, "missing", "before_first")]
    assert (ack.through, ack.resend) == (-1, ((0, 9),))


def test_what_is_no_frame_is_set_aside_and_the_stream_goes_on(place: Place) -> None:
    receiver = place.open()
    cut, newer = frame(1)[:-7], bytearray(frame(1))
    newer[3] = 2
    refused = (cut, b"", bytes(newer))
    outcomes = take(receiver, frame(0), *refused, frame(2))
    other = receiver.take(frame(3, gateway="another"), "edgetwin/g/frames", "g")
    assert outcomes == [Outcome.STORED, *[Outcome.REFUSED] * 3, Outcome.STORED]
    assert other.outcome is Outcome.REFUSED and "'another'" in other.reason
    receiver.commit()
    receiver.store.close()
    assert receiver.counters.dead == 4
    letters = sorted((place.folder / "dead-letters").glob("*.frame"))
    assert [p.read_bytes() for p in letters] == [*refused, frame(3, gateway="another")]
    reasons = [json.loads(p.with_suffix(".json").read_bytes())["reason"] for p in letters]
    assert "newer" in reasons[2]
    assert place.rows() == rows_of([report_of(0), report_of(2)])


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_at_any_point_loses_and_doubles_nothing(place: Place, seed: int) -> None:
    """Frames since the last commit come again after the crash, as they were not acknowledged. A crash may also come
    after the commit and before anybody is told."""
    print("seed", seed)
    rng = random.Random(seed)
    arrivals = [rng.randrange(12) for _ in range(40)]
    told = 0
    while told < len(arrivals):
        receiver = place.open()
        for at in range(told, min(told + 12, len(arrivals))):
            receiver.take(frame(arrivals[at]))
            if rng.random() < 0.3:
                batch = receiver.begin()
                if batch:
                    receiver.store.apply(batch)
                if rng.random() < 0.5:
                    break
                receiver.done(batch)
                told = at + 1
        receiver.store.close()
    assert Counter(place.rows()) == Counter(rows_of([report_of(seq) for seq in set(arrivals)]))


def test_a_store_that_fails_is_taken_up_where_it_stands(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the failed batch had become durable or not, what is in memory is applied once."""
    receiver = place.open()
    apply = receiver.store.apply
    for durable, seqs in ((True, (0, 1)), (False, (2, 3))):
        take(receiver, *(frame(seq) for seq in seqs))
        batch = receiver.begin()
        if durable:
            apply(batch)
        take(receiver, frame(seqs[0]))  # again, as it was not acknowledged
        receiver.load()
        acks = receiver.commit().acks
        assert [(ack.through, ack.resend) for ack in acks] == [(seqs[1], ())]
    receiver.store.close()
    assert place.rows() == rows_of([report_of(seq) for seq in range(4)])
    assert (receiver.counters.stored, receiver.counters.duplicates, receiver.pending_bytes) == (4, 2, 0)


def test_rotation_by_rows_is_asked_for(place: Place) -> None:
    place.config = type(place.config)(
        **{f: getattr(place.config, f) for f in place.config.__struct_fields__} | {"rows_max": 10}
    )
    receiver = place.open()
    for seq in range(5):
        take(receiver, frame(seq))
        if receiver.full:
            receiver.commit()
    receiver.commit()
    receiver.store.close()
    assert place.rows() == rows_of([report_of(seq) for seq in range(5)])
    if place.kind == "parquet":
        files = sorted(place.folder.glob("*.parquet"))
        assert [pq.read_metadata(p).num_rows for p in files] == [12, 12, 6]


# ---- databases


@pytest.fixture(params=["duckdb", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store in each database."""
    url = request.getfixturevalue("postgres").url if request.param == "postgresql" else ""
    return Place(request.param, tmp_path, url)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 1, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
@pytest.mark.parametrize("together", [True, False])
def test_a_corrected_state_is_what_a_person_sees(database: Place, order: tuple[int, ...], together: bool) -> None:
    """In whatever order frames come, the newest correction counts."""
    frames = {
        0: frame(0),
        1: frame(1, events=[correction(0, 0, 11.0), correction(0, 1, 12.0)]),
        2: frame(2, events=[correction(1, 0, 13.0)]),
        3: frame(3, events=[correction(0, 0, 14.0), Event("correction", T0, {"twin": 1})]),
    }
    receiver = database.open()
    for seq in order:
        take(receiver, frames[seq])
        if not together:
            receiver.commit()
    receiver.commit()
    receiver.store.close()
    seen = {(w, s, int(t)): (float(m), float(d)) for _, w, s, _, t, _, m, d, _ in database.rows()}
    expected = {
        (w, s, int(t)): (float(m), float(d)) for _, w, s, _, t, _, m, d, _ in rows_of([report_of(n) for n in range(4)])
    }
    for seq, row, mean in ((0, 0, 14.0), (0, 1, 12.0), (1, 0, 13.0)):
        twin, state, _ = report_of(seq).columns[row]
        expected[twin, state, report_of(seq).t_ns] = (mean, 0.5)
    assert {k: repr(v) for k, v in seen.items()} == {k: repr(v) for k, v in expected.items()}
    assert database.query("SELECT count(*) FROM events WHERE kind = 'correction'") == [(5,)]


def test_events_and_gateways_can_be_asked_for(database: Place) -> None:
    clock = ManualClock(T0 + 100 * 10**9)
    receiver = database.open(clock=clock)
    take(
        receiver, frame(0, events=[Event("twin_restarted", T0, {"twin": "press", "state": "temp", "x": float("nan")})])
    )
    take(receiver, frame(2), frame(0, epoch=8, gateway="h"))
    clock.advance(1)
    take(receiver, frame(0, epoch=3))
    receiver.commit()
    receiver.store.close()
    ((gateway, kind, twin, data),) = database.query("SELECT gateway, kind, twin, data FROM events")
    assert (gateway, kind, twin) == ("g", "twin_restarted", "press")
    assert (json.loads(data) if isinstance(data, str) else data) == {"twin": "press", "state": "temp", "x": None}
    found = database.query("SELECT gateway, epoch, watermark, missing, frames, rows FROM gateways ORDER BY gateway")
    n = len(report_of(0))
    assert [tuple(map(str, row)) for row in found] == [
        ("g", "3", "0", "0", "1", str(n)),
        ("h", "8", "0", "0", "1", str(n)),
    ]
    holes = database.query("SELECT watermark, missing, rows FROM progress WHERE epoch = 7")
    assert [tuple(map(int, row)) for row in holes] == [(0, 1, 2 * n)]


def test_tables_of_a_newer_program_are_left_alone(database: Place) -> None:
    database.open().store.close()
    if database.kind == "postgresql":
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(f"INSERT INTO {database.schema}.schema_version VALUES (99, now())")
    else:
        import duckdb

        with duckdb.connect(str(database.folder / "edgetwin.duckdb")) as connection:
            connection.execute("INSERT INTO schema_version VALUES (99, NULL)")
    with pytest.raises(JournalError, match="update the receiver"):
        database.open()


# ---- PostgreSQL


def test_two_receivers_of_one_share_take_turns(postgres: Cluster, tmp_path: Path) -> None:
    place = Place("postgresql", tmp_path, postgres.url)
    first = place.open()
    with pytest.raises(StoreError, match="another receiver looks after share 0/1"):
        place.open()
    first.store.close()
    place.open().store.close()


def test_receivers_with_overlapping_shares_apply_each_frame_once(postgres: Cluster, tmp_path: Path) -> None:
    """A mistake in the configuration: 0/1 and 0/2 both have the gateway."""
    place = Place("postgresql", tmp_path, postgres.url)
    gateway = next(name for name in "abcdefgh" if share_of(name, 2) == 0)
    one, two = place.open(), place.open(Share(0, 2))
    take(one, frame(0, gateway=gateway))
    take(two, frame(0, gateway=gateway), frame(1, gateway=gateway))
    one.commit()
    with pytest.raises(StoreError, match="another receiver has stored frames"):
        two.commit()
    two.load()
    two.commit()
    one.store.close()
    two.store.close()
    assert place.rows() == rows_of([report_of(0), report_of(1)], gateway)


def test_a_text_that_postgresql_cannot_hold_is_refused(postgres: Cluster, tmp_path: Path) -> None:
    place = Place("postgresql", tmp_path, postgres.url)
    receiver = place.open()
    bad = [
        frame(0, events=[Event("a", T0, {"k": "x\0y"})]),
        frame(0, events=[Event("a", T0, {"k\0": 1})]),
        frame(0, gateway="g\0"),
        frame(0, gaps=[FrameGap(7, 0, 1, "\0")]),
        encode_frame([_renamed("a\0b")], "g", 7, 0),
    ]
    assert take(receiver, *bad, frame(0)) == [*[Outcome.REFUSED] * len(bad), Outcome.STORED]
    receiver.commit()
    receiver.store.close()
    assert place.rows() == rows_of([report_of(0)])


def _renamed(twin: str) -> Report:
    r = report_of(0)
    return Report(r.t_ns, tuple((twin, state, unit) for _, state, unit in r.columns), r.mean, r.std, r.quality)


def test_estimates_become_a_hypertable_where_timescaledb_is(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extension is not in Debian: a function in its place shows that it is asked, and how."""
    url = postgres.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE asked (t text); CREATE FUNCTION create_hypertable(relation regclass, time_column_name name,"
            " create_default_indexes boolean) RETURNS void LANGUAGE sql AS"
            " 'INSERT INTO public.asked VALUES (relation::text || time_column_name::text)'"
        )
    from edgetwin.receive.stores import postgres_schema

    monkeypatch.setattr(postgres_schema, "TIMESCALE", "plpgsql")
    place = Place("postgresql", tmp_path, url)
    place.open().store.close()
    place.open().store.close()
    assert place.query("SELECT t FROM public.asked") == [("estimatest",)]


# ---- files


def csv_place(folder: Path, **options: object) -> Place:
    return Place("csv", folder, **options)


def test_events_are_kept(tmp_path: Path) -> None:
    receiver = csv_place(tmp_path).open()
    take(receiver, frame(0, events=[Event("started", T0, {"version": "1", "n": 2})]))
    receiver.commit()
    receiver.store.close()
    assert read(tmp_path / "events.csv") == [("g", "7", "0", iso(T0), "started", '{"version":"1","n":2}')]


def test_csv_goes_on_in_another_file_when_one_is_full(tmp_path: Path) -> None:
    """And forgets a file that no commit tells of."""
    place = csv_place(tmp_path, file_bytes_max=1_024)
    for seq in range(6):
        receiver = place.open()
        take(receiver, frame(seq))
        receiver.commit()
        saved = (tmp_path / "progress.json").read_bytes()
        take(receiver, *(frame(n) for n in range(90, 96)))
        receiver.commit()
        receiver.store.close()
        (tmp_path / "progress.json").write_bytes(saved)
    place.open().store.close()
    files = sorted(tmp_path.glob("states*.csv"))
    assert len(files) > 2
    assert all(path.stat().st_size < 3_000 for path in files)
    assert place.rows() == rows_of([report_of(seq) for seq in range(6)])


def test_the_positions_of_an_older_release_are_followed(tmp_path: Path) -> None:
    receiver = csv_place(tmp_path).open()
    take(receiver, frame(0), frame(2))
    receiver.commit()
    receiver.store.close()
    sizes = {name: (tmp_path / f"{name}.csv").stat().st_size for name in ("states", "gaps", "events")}
    old = {"version": 1, "kind": "csv", "positions": sizes, "received": [["g", 7, [[0, 0], [2, 2]]]]}
    (tmp_path / "progress.json").write_text(json.dumps(old))
    again = csv_place(tmp_path).open()
    assert take(again, frame(0), frame(1), frame(2)) == [Outcome.DUPLICATE, Outcome.STORED, Outcome.DUPLICATE]
    again.commit()
    again.store.close()
    assert csv_place(tmp_path).rows() == rows_of([report_of(seq) for seq in (0, 2, 1)])


def test_states_of_unknown_origin_are_not_cut(tmp_path: Path) -> None:
    (tmp_path / "states.csv").write_text("somebody's work\n")
    with pytest.raises(JournalError, match="without"):
        csv_place(tmp_path).open()
    assert (tmp_path / "states.csv").read_text() == "somebody's work\n"


def test_a_store_of_another_kind_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    csv_place(tmp_path).open().store.close()
    with pytest.raises(JournalError, match="another store"):
        Place("parquet", tmp_path).open()
    (tmp_path / "progress.json").write_text("{")
    with pytest.raises(JournalError, match="cannot be read"):
        csv_place(tmp_path).open()


def test_parquet_forgets_what_no_commit_tells_of(tmp_path: Path) -> None:
    place = Place("parquet", tmp_path)
    receiver = place.open()
    take(receiver, frame(0))
    receiver.commit()
    saved = (tmp_path / "progress.json").read_bytes()
    take(receiver, frame(1))
    receiver.commit()
    receiver.store.close()
    (tmp_path / "progress.json").write_bytes(saved)  # on disk, and no progress to tell of it
    (tmp_path / "states-00000002.parquet.partial").write_bytes(b"PAR1")
    again = place.open()
    take(again, frame(1), frame(2))
    again.commit()
    again.store.close()
    assert place.rows() == rows_of([report_of(seq) for seq in range(3)])
    assert not list(tmp_path.glob("*.partial"))


def test_dead_letters_are_bounded(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path, count_max=3, bytes_max=10)
    for payload in (b"a", b"bb", b"ccc", b"dddd", b"eeeee", b"f" * 20):
        dead.add(payload, "t", "why")
    assert [p.read_bytes() for p in sorted(tmp_path.glob("*.frame"))] == [b"f" * 10]
    again = DeadLetters(tmp_path, count_max=3, bytes_max=100)
    for payload in (b"g", b"h", b"i"):
        again.add(payload, "t", "why")
    assert [p.read_bytes() for p in sorted(tmp_path.glob("*.frame"))] == [b"g", b"h", b"i"]


def test_a_dead_letter_that_comes_again_is_kept_once(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path)
    for payload in (b"a", b"b", b"a"):
        dead.add(payload, "t", "why")
    DeadLetters(tmp_path).add(b"b", "t", "why")
    assert [p.read_bytes() for p in sorted(tmp_path.glob("*.frame"))] == [b"a", b"b"]
