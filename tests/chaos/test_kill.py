"""A few kills of real processes; ``python -m tests.chaos.kill`` does hundreds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.kill import run
from tests.conftest import Broker


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_gateway_that_is_killed_is_as_one_that_never_stopped(tmp_path: Path, broker: Broker, protocol: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    print(run(tmp_path, broker, kills=3, seed=seed, protocol=protocol, receiver_too=True))
