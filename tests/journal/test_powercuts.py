"""A share of the seeds of ``python -m tests.journal.powercuts``, fresh ones in each run."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.journal.powercuts import run


@pytest.mark.parametrize("faults", [False, True])
def test_power_cuts(faults: bool) -> None:
    first = random.randrange(10**9)
    seen: Counter[str] = Counter()
    for seed in range(first, first + 100):
        print("python -m tests.journal.powercuts --seeds 1 --first", seed, "--faults" if faults else "")
        run(seed, faults=faults, seen=seen)
    assert {"write", "sync", "sync_directory", "create", "allocate", "unlink"} <= seen.keys()
    assert not faults or {"EIO at sync", "ENOSPC"} <= seen.keys()


@pytest.mark.parametrize("seed", [228, 1687, 200_093, 200_151])
def test_seeds_that_failed_once(seed: int) -> None:
    run(seed, faults=True)


def test_every_operation_of_a_short_life() -> None:
    """The power is cut once at each operation, whatever the dice of the other tests say."""
    for at in range(1, 60):
        run(7, cut_at=at)
