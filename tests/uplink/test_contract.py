"""What every store of frames promises a transport (edgetwin.uplink.port.Outbox), of each of them."""

from __future__ import annotations

import random

import numpy as np

from edgetwin.clock import ManualClock
from edgetwin.codec.acks import Ack
from edgetwin.codec.decoder import FrameDecoder
from edgetwin.codec.encoder import FrameEncoder
from edgetwin.codec.frames import Frame, FrameGap, decode_frame
from edgetwin.codec.limits import U64_MAX
from edgetwin.records import Event, Report
from edgetwin.uplink.account import FrameAccount
from edgetwin.uplink.answers import Answers, Verdict
from edgetwin.uplink.outbox import Outbox
from edgetwin.uplink.queued import VALUES_PER_FRAME
from edgetwin.uplink.schedule import Schedule
from edgetwin.uplink.store import CONTINUES_LOST
from tests.codec.build import T0, report, same
from tests.uplink.stores import EITHER, Committed, Make, after_a_crash, in_journal, waiting

Either = Outbox | Committed


def frames(outbox: Either) -> list[Frame]:
    return [decode_frame(queued.data) for queued in waiting(outbox)]


def seqs(outbox: Either) -> list[int]:
    return [queued.key[1] for queued in waiting(outbox)]


def fill(outbox: Either, n: int, keys: tuple[int, ...] = ()) -> None:
    """Frames, with key frames at ``keys`` at least."""
    for i in range(n):
        if i in keys:
            outbox.encoder.request_key()
        outbox.put([report(T0 + i, seed=i)])
    assert outbox.account.balanced


def told(outbox: Either) -> dict[int, str]:
    """Reasons by number, as a new frame tells the cloud."""
    before = len(outbox)
    outbox.put([report(T0 + 99)])
    assert len(outbox) == before + 1
    gaps = [gap for frame in frames_of_runs(outbox)[before:] for gap in frame.gaps]
    return {n: gap.reason for gap in gaps for n in range(gap.first, gap.last + 1)}


def frames_of_runs(outbox: Either) -> list[Frame]:
    decoder = FrameDecoder()
    return [decoder.decode(queued.data) for queued in waiting(outbox)]


@EITHER
def test_frames_are_numbered_from_zero_and_kept_until_acknowledged(make: Make) -> None:
    outbox = make()
    assert outbox.drained.is_set() and outbox.front == outbox.end and outbox.read(0) is None
    fill(outbox, 3)
    assert [(f.gateway, f.epoch, f.seq) for f in frames(outbox)] == [("g", 7, 0), ("g", 7, 1), ("g", 7, 2)]
    assert outbox.changed.is_set() and not outbox.drained.is_set() and outbox.backlog_bytes > 0
    assert outbox.acknowledge((7, 1)) == 2
    assert outbox.acknowledge((7, 1)) == 0
    assert seqs(outbox) == [2] and outbox.key_at(outbox.front) == (7, 2)
    assert outbox.acknowledge((8, 99)) == 0, "an epoch that is not known"
    assert outbox.acknowledge((7, 2)) == 1
    assert (len(outbox), outbox.backlog_bytes, outbox.drained.is_set()) == (0, 0, True)
    account = outbox.account
    assert (account.enqueued, account.acknowledged, account.waiting) == (3, 3, 0) and account.balanced


@EITHER
def test_positions_are_those_of_numbers_and_holes_are_passed_over(make: Make) -> None:
    outbox = make()
    fill(outbox, 6)
    outbox.drop((7, 3), "test")
    outbox.acknowledge((7, 0))
    for queued in waiting(outbox):
        assert outbox.locate(queued.key) == queued.position and outbox.key_at(queued.position) == queued.key
        assert outbox.read(queued.position) == queued
    assert seqs(outbox) == [1, 2, 4, 5]
    hole = outbox.locate((7, 3))
    assert hole is not None
    assert outbox.read(hole).key == (7, 4)  # type: ignore[union-attr]
    assert outbox.read(outbox.end) is None and outbox.locate((9, 0)) is None and outbox.key_at(-1) is None
    assert outbox.front == outbox.locate((7, 1)) and outbox.end == outbox.locate((7, 6))


def test_frames_of_earlier_epochs_come_first() -> None:
    old = in_journal()
    fill(old, 5)
    old.drop((7, 3), "test")
    assert old.acknowledge((7, 1)) == 2
    fill(old, 1)
    outbox = after_a_crash(old)
    fill(outbox, 2)
    new = outbox.epoch
    assert [q.key for q in waiting(outbox)] == [(7, 2), (7, 4), (7, 5), (new, 0), (new, 1)]
    for queued in waiting(outbox):
        assert outbox.locate(queued.key) == queued.position and outbox.key_at(queued.position) == queued.key
    ended = [gap for f in frames(outbox)[3:] for gap in f.gaps]
    assert [(g.epoch, g.first, g.last, g.count) for g in ended] == [(7, 6, U64_MAX, 0)]
    assert outbox.acknowledge((new, 0)) == 1, "an epoch in front does not hold up those behind it"
    assert outbox.acknowledge((7, 2**40)) == 3, "nor does one touch another"
    assert [q.key for q in waiting(outbox)] == [(new, 1)]
    assert outbox.account == FrameAccount(2, 3, 4, 0, 1, 0) and outbox.account.balanced
    third = after_a_crash(outbox)
    assert [q.key for q in waiting(third)] == [(new, 1)]


def test_an_answer_about_an_earlier_epoch_may_go_beyond_what_is_left_of_it() -> None:
    """The cloud accounts for what was given up, and knows of frames that an old copy of the directory does not."""
    old = in_journal()
    fill(old, 6)
    old.drop((7, 5), "test")
    outbox = after_a_crash(old)
    schedule = Schedule(outbox, ManualClock())
    fill(outbox, 1)
    assert Answers(outbox, schedule, ManualClock()).take(Ack("g", 7, 40)) == Verdict(None, 5)
    assert [q.key for q in waiting(outbox)] == [(outbox.epoch, 0)]


@EITHER
def test_a_frame_given_up_is_told_once_by_the_next(make: Make) -> None:
    outbox = make()
    fill(outbox, 4)
    outbox.drop((7, 2), "larger_than_the_broker_takes")
    outbox.drop((7, 2), "again")
    outbox.drop((7, 9), "never made")
    assert outbox.dropped == 1 and outbox.account.balanced
    fill(outbox, 2)
    assert [f.gaps for f in frames(outbox)[-2:]] == [(FrameGap(7, 2, 2, "larger_than_the_broker_takes", 6),), ()]


@EITHER
def test_a_frame_given_up_takes_those_that_continue_it_along(make: Make) -> None:
    outbox = make(encoder=FrameEncoder("g"))
    fill(outbox, 9, keys=(3, 6))
    outbox.drop((7, 4), "larger_than_the_broker_takes")
    assert seqs(outbox) == [0, 1, 2, 3, 6, 7, 8]
    assert outbox.dropped == 2 and outbox.account.balanced
    assert told(outbox) == {4: "larger_than_the_broker_takes", 5: "continues_a_lost_frame"}


@EITHER
def test_a_run_that_is_broken_is_not_continued(make: Make) -> None:
    outbox = make(encoder=FrameEncoder("g"))
    fill(outbox, 3)
    outbox.drop((7, 1), "test")
    outbox.put([report(T0 + 9)])
    assert [(f.seq, f.key) for f in frames_of_runs(outbox)] == [(0, 0), (3, 3)]
    assert [q.key_frame for q in waiting(outbox)] == [True, True]


@EITHER
def test_gaps_of_a_frame_that_is_given_up_are_told_again(make: Make) -> None:
    outbox = make()
    fill(outbox, 2)
    outbox.drop((7, 0), "first")
    fill(outbox, 1)
    outbox.drop((7, 2), "second")
    assert told(outbox) == {0: "first", 2: "second"}


@EITHER
def test_a_key_frame_that_is_asked_for_tells_of_gaps_that_frames_before_it_tell_of(make: Make) -> None:
    """It goes before them when much waits, and the cloud acknowledges only as far as every number is accounted for."""
    outbox = make(encoder=FrameEncoder("g"))
    fill(outbox, 3, keys=(1, 2))
    outbox.drop((7, 0), "test")
    fill(outbox, 40)
    outbox.drop((7, 1), "test")
    outbox.request_key()
    fill(outbox, 2)
    first, second = frames_of_runs(outbox)[-2:]
    assert first.key == first.seq and second.gaps == ()
    assert first.gaps == (FrameGap(7, 1, 1, "test", 6), FrameGap(7, 0, 0, "test", 6))
    outbox.drop((7, first.seq), "lost again")
    fill(outbox, 1)
    last = frames_of_runs(outbox)[-1]
    assert [(g.first, g.last, g.reason) for g in last.gaps] == [
        (1, 1, "test"),
        (43, 43, "lost again"),
        (44, 44, CONTINUES_LOST),
    ]


@EITHER
def test_large_reports_are_split_and_none_of_their_values_lost(make: Make) -> None:
    n = 2 * VALUES_PER_FRAME + 10
    rng = np.random.default_rng(3)
    columns = tuple((f"m{i}", "s", "u") for i in range(n))
    big = Report(T0, columns, rng.normal(size=n), rng.normal(size=n), np.zeros(n, np.uint8))
    outbox = make()
    made = outbox.put([report(), big], [Event("e", T0)])
    sent = frames(outbox)
    assert made == len(sent) and sum(len(f.events) for f in sent) == 1
    parts = [r for f in sent for r in f.reports if len(r) != 6]
    joined = Report(
        T0,
        tuple(c for p in parts for c in p.columns),
        np.concatenate([p.mean for p in parts]),
        np.concatenate([p.std for p in parts]),
        np.concatenate([p.quality for p in parts]),
    )
    assert same(joined, big)


@EITHER
def test_long_names_split_further_and_no_number_is_left_out(make: Make) -> None:
    names = [("n" * 60_000 + str(i), "s", "u") for i in range(100)]
    long = Report(T0, tuple(names), np.ones(100), np.ones(100), np.zeros(100, np.uint8))
    outbox = make()
    made = outbox.put([long])
    assert made > 1 and seqs(outbox) == list(range(made))
    assert [c for f in frames(outbox) for r in f.reports for c in r.columns] == names


@EITHER
def test_events_alone_make_a_frame_and_nothing_makes_none(make: Make) -> None:
    outbox = make()
    assert outbox.put([]) == 0 and len(outbox) == 0
    assert outbox.put([], [Event("started", T0)]) == 1
    assert frames(outbox)[0].events == (Event("started", T0),)


@EITHER
def test_whatever_happens_frames_are_delivered_or_told_of_and_the_account_balances(make: Make) -> None:
    for seed in range(20):
        rng, outbox = random.Random(seed), make(encoder=FrameEncoder("g"))
        decoder, known = FrameDecoder(), list[Frame]()
        for _ in range(30):
            match rng.randrange(4):
                case 0 | 1:
                    fill(outbox, rng.randrange(4), keys=(rng.randrange(8),))
                case 2:
                    for queued in list(waiting(outbox))[: rng.randrange(5)]:
                        known.append(decoder.decode(queued.data))
                        assert outbox.acknowledge(queued.key) == 1
                case 3 if len(outbox):
                    outbox.drop(rng.choice(list(waiting(outbox))).key, "poison")
            assert outbox.account.balanced, f"seed {seed}"
        fill(outbox, 1)  # tells of everything
        known += [decoder.decode(queued.data) for queued in waiting(outbox)]
        gone = [n for frame in known for gap in frame.gaps for n in range(gap.first, gap.last + 1)]
        assert sorted([f.seq for f in known] + gone) == list(range(outbox.counters.enqueued)), f"seed {seed}"
