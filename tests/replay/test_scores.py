"""What docs/replay.md says of a score, on samples of known distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgetwin.kernels.scores import rank_scores
from edgetwin.replay.scores import WINDOW


@pytest.mark.parametrize("tail", ["gaussian", "student", "lognormal"])
@pytest.mark.parametrize("alpha", [0.1, 0.01, 0.005])
def test_the_false_alarm_rate_is_as_stated_whatever_the_distribution(tail: str, alpha: float) -> None:
    rng = np.random.default_rng(5)
    draw = {
        "gaussian": lambda n: rng.normal(size=n) ** 2,
        "student": lambda n: rng.standard_t(2, n) ** 2,
        "lognormal": lambda n: np.exp(2 * rng.normal(size=n)),
    }[tail]
    n = 60_000
    score = np.empty(n)
    rank_scores(np.zeros(n, np.int32), draw(n), np.empty((1, WINDOW)), np.zeros(1, np.int64), score)
    alarms = np.mean(score > 1 - alpha)
    # Ranks in a sliding window are dependent; their spread is within three times that of independent ones.
    assert abs(alarms - alpha) < 9 * math.sqrt(alpha * (1 - alpha) / n)
