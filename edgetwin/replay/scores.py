"""Rows of ``scores.csv``: every sample beside what was foreseen, and how unusual the difference is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine import Engine
from edgetwin.engine.trace import Trace
from edgetwin.kernels.learning import WARMUP
from edgetwin.kernels.scores import rank_scores
from edgetwin.records import Outcome
from edgetwin.replay.feed import Block
from edgetwin.replay.tables import Table

WINDOW = 1000
"""Latest innovations of a signal against which the next is ranked."""


class Scores:
    """Scores samples and writes them; docs/replay.md says what a score means."""

    def __init__(self, engine: Engine, table: Table) -> None:
        self._table = table
        names = [(twin.name, signal) for twin in engine.instances() for signal in twin.slots]
        self._names: NDArray[np.object_] = np.array(names, object).reshape(-1, 2)
        self._recent = np.empty((len(names), WINDOW))
        self._seen = np.full(len(names), -WARMUP, np.int64)

    def add(self, block: Block, trace: Trace) -> None:
        """Score and write the samples of a block."""
        score = np.empty(len(block))
        rank_scores(block.slot, trace.nis, self._recent, self._seen, score)
        score[trace.outcome == Outcome.OUT_OF_RANGE] = 1.0
        name = self._names[block.slot]
        numbers = [trace.value, trace.predicted, trace.std, trace.nis, score]
        self._table.write(block.t_ns, [name[:, 0].tolist(), name[:, 1].tolist()], numbers)
