"""The count of every sample by outcome; it always balances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetwin.records import Outcome


class Ledger:
    """``counts`` int64[source, outcome] and ``received`` int64[source].

    ``received`` is counted where samples enter, ``counts`` where their fate is decided, so that
    :meth:`balanced` is a check and not an identity.
    """

    def __init__(self, sources: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((sources, len(Outcome)), np.int64)
        self.received: NDArray[np.int64] = np.zeros(sources, np.int64)

    def balanced(self) -> bool:
        """Whether every sample received has exactly one outcome."""
        return bool(np.array_equal(self.counts.sum(axis=1), self.received))
