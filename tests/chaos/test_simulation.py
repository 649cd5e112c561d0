"""Fresh seeds of :mod:`tests.chaos.simulation`."""

from __future__ import annotations

import random

import pytest

from tests.chaos.simulation import run


@pytest.mark.timeout(300)
def test_lives_end_as_if_nothing_had_happened() -> None:
    first = random.randrange(10**9)
    for seed in range(first, first + 20):
        print(f"seed {seed}")
        run(seed)
