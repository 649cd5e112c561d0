"""A few of the random runs of :mod:`tests.sources.modbus.runs`; thousands are a command of their own."""

from __future__ import annotations

import random

import pytest

from tests.sources.modbus.memory import URLS
from tests.sources.modbus.runs import EVERY_S, run

SEED = random.SystemRandom().randrange(10**9)


@pytest.mark.parametrize("part", range(8))
def test_no_wrong_value_and_no_register_lost(part: int) -> None:
    kinds, faults = set(), 0
    for seed in range(SEED + 10 * part, SEED + 10 * part + 10):
        one, result = run(seed)
        assert not result.wrong, f"seed {seed} ({one.kind}): {result.wrong}"
        assert result.samples, f"seed {seed}"
        if result.alone:
            assert result.recovery_s <= 2 * EVERY_S, f"seed {seed} ({one.kind})"
        kinds.add(one.kind)
        faults += result.faults
    assert faults > 50
    assert kinds <= set(URLS)
    assert len(kinds) > 1
