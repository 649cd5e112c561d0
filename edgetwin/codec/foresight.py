"""What the encoder asks of the twins: how exactly each column is wanted, and what the model says comes next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgetwin.codec.columns import Column
from edgetwin.records import Foreseen

STATES_MAX = 64
UNCERTAIN_SHARE = 0.5
"""Tolerance where none is known, in standard deviations of the estimate when it is first reported in a run."""

Foresight = Callable[[Sequence[Column]], Foreseen]


def exact(columns: Sequence[Column]) -> Foreseen:
    """The foresight of one who knows nothing: every mean to the bit."""
    return Foreseen(np.zeros(len(columns)))
