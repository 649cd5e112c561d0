"""What the readers of recorded files have in common: arrays, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ROWS_MAX = 65_536
"""Rows read at once, unless the caller wants fewer."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Successive rows of a file: ``t_ns`` int64[n] since the epoch, ``values`` float64[n, columns] raw, NaN where a
    cell is missing."""

    t_ns: NDArray[np.int64]
    values: NDArray[np.float64]


class Recording(Protocol):
    """A file with named columns."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in the order of the file."""

    def read(self, time: str, unit: str, columns: Sequence[str], rows_max: int = ROWS_MAX) -> Iterator[Rows]:
        """The rows in pieces of at most ``rows_max``; ``time`` and ``columns`` are among ``names``, ``unit`` is a
        ``time_unit`` of the configuration. SourceError, with file and line, at what cannot be read."""
