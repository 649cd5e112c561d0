"""Received numbers against a plain set."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.codec.acks import decode_ack, encode_ack
from edgetwin.receive.sequence import Arrival, Progress, Stream, Tracker

NUMBERS = st.integers(0, 30) | st.integers(2**64 - 4, 2**64 - 1)
SPANS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair)))
MAX = 2**64 - 1


def stream(ranges_max: int = 256) -> Stream:
    return Stream(Progress(gateway="g", epoch=7), ranges_max)


def members(ranges: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(st.lists(NUMBERS))
def test_arrivals_tell_what_they_skip_and_fill(numbers: list[int]) -> None:
    received, oracle = stream(), set[int]()
    for seq in numbers:
        top = max(oracle, default=-1)
        arrival = received.add(seq)
        assert arrival.new == (seq not in oracle)
        assert arrival.filled == (arrival.new and seq < top)
        assert arrival.missing == ((top + 1, seq - 1) if seq > top + 1 else None)
        oracle.add(seq)


@given(st.lists(st.one_of(st.integers(0, 30), SPANS), max_size=30))
def test_the_watermark_and_the_holes_follow_from_what_came_and_what_is_lost(steps: list[object]) -> None:
    made, came, lost = stream(), set[int](), set[int]()
    for step in steps:
        if isinstance(step, int):
            made.add(step)
            came.add(step)
            lost.discard(step)
        else:
            news = members(made.account(*step))
            assert news == set(range(step[0], step[1] + 1)) - came - lost
            lost |= news
    known = came | lost
    through = next(n for n in range(40) if n not in known) - 1
    assert made.through == through
    assert members(made.holes) == set(range(max(known, default=-1))) - known
    assert made.missing == len(members(made.holes))
    ack = decode_ack(encode_ack(made.ack()))
    assert (ack.through, members(ack.resend)) == (through, members(made.holes))
    again = Stream(msgspec.json.decode(msgspec.json.encode(made.progress()), type=Progress))
    assert (again.through, again.holes, again.received) == (made.through, made.holes, made.received)


def test_an_open_ended_gap_closes_the_epoch() -> None:
    made = stream()
    for seq in (0, 1, 4):
        made.add(seq)
    assert made.account(6, MAX) == [(6, MAX)]
    assert (made.through, made.holes) == (1, [(2, 3), (5, 5)])
    assert made.account(2, 5) == [(2, 3), (5, 5)]
    assert (made.through, made.missing) == (4, 0)
    assert made.add(7).filled is False  # nothing later had come
    assert (made.through, made.missing) == (7, 0)


def test_too_many_holes_are_given_up_as_lost() -> None:
    made = stream(ranges_max=2)
    for seq in (0, 2):
        made.add(seq)
    assert made.add(4) == Arrival(True, (3, 3), given_up=((1, 1),))
    assert made.received == ((0, 2), (4, 4))
    assert made.add(1) == Arrival(False)
    assert made.add(3) == Arrival(True, None, filled=True)


@given(st.lists(st.integers(0, 200), max_size=80), st.lists(st.integers(0, 200), max_size=80))
def test_memory_is_bounded_whatever_comes(came: list[int], lost: list[int]) -> None:
    made = stream(ranges_max=4)
    for seq in came:
        made.add(seq)
    for seq in lost:
        made.account(seq, seq)
    progress = made.progress()
    assert len(progress.came) <= 5 and len(progress.lost) <= 4


def test_the_epoch_heard_longest_ago_is_forgotten_first() -> None:
    tracker = Tracker(epochs_max=2)
    for now, epoch in enumerate((1, 2, 1, 3), 1):
        made = tracker.of("g", epoch)
        made.add(0)
        tracker.heard(made, now)
    assert tracker.of("g", 1).received == ((0, 0),)
    assert tracker.of("g", 2).received == ()


def test_the_current_epoch_is_the_one_that_began_last_also_after_a_restart() -> None:
    tracker = Tracker()
    for now, epoch in enumerate((1, 2, 1), 1):
        tracker.heard(tracker.of("g", epoch), now)
    assert [s.epoch for s in tracker.gateways()] == [2]
    again = Tracker()
    again.restore([tracker.of("g", 1).progress(), tracker.of("g", 2).progress()])
    current = again.current("g")
    assert current is not None and current.epoch == 2
