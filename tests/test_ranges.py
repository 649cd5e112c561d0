"""Ranges against a set of integers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgetwin.ranges import Range, Ranges

STEPS = st.lists(st.tuples(st.booleans(), st.integers(-5, 40), st.integers(0, 15)), max_size=30)


@given(STEPS, st.integers(-8, 60), st.integers(0, 40))
def test_they_are_a_set_of_integers(steps: list[tuple[bool, int, int]], n: int, length: int) -> None:
    ranges, plain = Ranges(), set[int]()
    for put, first, count in steps:
        if put:
            ranges.add(first, first + count)
            plain |= set(range(first, first + count))
        else:
            ranges.discard(first, first + count)
            plain -= set(range(first, first + count))
    held = list(ranges)
    assert members(held) == plain
    assert all(low < high for low, high in held)
    assert all(a[1] < b[0] for a, b in pairwise(held)), "neighbours must be joined"
    assert ranges.count() == len(plain)
    assert ranges.count(n) == len([i for i in plain if i < n])
    assert (n in ranges) == (n in plain)
    assert ranges.skip(n) == next(i for i in range(n, 100) if i not in plain)
    assert ranges.first(n) == min((i for i in plain if i >= n), default=None)
    assert ranges.stop == max(plain, default=-1) + 1
    asked = set(range(n, n + length))
    assert members(ranges.common(n, n + length)) == plain & asked
    assert members(ranges.missing(n, n + length)) == asked - plain
    assert list(Ranges(reversed(held))) == held and len(ranges) == len(held)


def members(ranges: list[Range]) -> set[int]:
    return {i for low, high in ranges for i in range(low, high)}


def test_a_copy_is_its_own() -> None:
    ranges = Ranges()
    ranges.add(0, 3)
    other = ranges.copy()
    other.add(3, 5)
    ranges.clear()
    assert list(other) == [(0, 5)] and list(ranges) == []
