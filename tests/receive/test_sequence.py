"""Received numbers against a plain set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgetwin.receive.sequence import Arrival, Received, Tracker

NUMBERS = st.integers(0, 30) | st.integers(2**64 - 4, 2**64 - 1)


@given(st.lists(NUMBERS))
def test_ranges_hold_exactly_what_came(numbers: list[int]) -> None:
    received, oracle = Received(), set[int]()
    for seq in numbers:
        top = max(oracle, default=-1)
        arrival = received.add(seq)
        assert arrival.new == (seq not in oracle)
        assert arrival.filled == (arrival.new and seq < top)
        assert arrival.missing == ((top + 1, seq - 1) if seq > top + 1 else None)
        oracle.add(seq)
    held = received.ranges
    assert sum(last - first + 1 for first, last in held) == len(oracle)
    assert all(seq in oracle for first, last in held for seq in (first, last))
    assert all(a[1] + 1 < b[0] for a, b in pairwise(held))


@given(st.lists(st.integers(0, 30)), st.integers(0, 30), st.integers(0, 30))
def test_missing_is_the_complement(numbers: list[int], a: int, b: int) -> None:
    received = Received()
    for seq in numbers:
        received.add(seq)
    first, last = sorted((a, b))
    holes = {n for low, high in received.missing(first, last) for n in range(low, high + 1)}
    assert holes == set(range(first, last + 1)) - set(numbers)


def test_the_lowest_hole_is_given_up_when_there_are_too_many() -> None:
    received = Received(ranges_max=2)
    for seq in (0, 2, 4):
        received.add(seq)
    assert received.ranges == ((0, 2), (4, 4))
    assert received.add(1) == Arrival(False)
    assert received.add(3) == Arrival(True, None, filled=True)


def test_the_epoch_heard_longest_ago_is_forgotten_first() -> None:
    tracker = Tracker(epochs_max=2)
    for epoch in (1, 2, 1, 3):
        tracker.of("g", epoch).add(0)
    assert [row[1] for row in tracker.snapshot()] == [1, 3]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2**64 - 1), NUMBERS)))
def test_a_tracker_survives_a_restart(arrivals: list[tuple[str, int, int]]) -> None:
    tracker, again = Tracker(), Tracker()
    for gateway, epoch, seq in arrivals:
        tracker.of(gateway, epoch).add(seq)
    again.restore(tracker.snapshot())
    assert again.snapshot() == tracker.snapshot()
    assert not any(again.of(gateway, epoch).add(seq).new for gateway, epoch, seq in arrivals)
