"""Full jitter: bounds, growth, reset and spread."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.sources.backoff import Backoff


class Top(random.Random):
    """Draws the upper end, which shows the ceiling."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


def test_ceiling_doubles_to_the_bound_and_resets() -> None:
    backoff = Backoff(0.5, 3.0, Top())
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_s() == 0.5


@given(seed=st.integers(0, 2**32), attempts=st.integers(1, 2000))
def test_never_outside_the_bounds(seed: int, attempts: int) -> None:
    backoff = Backoff(0.5, 60.0, random.Random(seed))
    waits = [backoff.next_s() for _ in range(attempts)]
    assert 0.0 <= min(waits) <= waits[0] <= 0.5
    assert max(waits) <= 60.0


def test_two_gateways_do_not_march_in_step() -> None:
    one, two = Backoff(rng=random.Random(1)), Backoff(rng=random.Random(2))
    assert [one.next_s() for _ in range(8)] != [two.next_s() for _ in range(8)]


@pytest.mark.parametrize(("first", "most"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0)])
def test_impossible_bounds_are_refused(first: float, most: float) -> None:
    with pytest.raises(ValueError, match="first_s"):
        Backoff(first, most)
