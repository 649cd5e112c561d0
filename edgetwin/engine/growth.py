"""Covariances that grow although samples come: states which no sensor holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.engine.bank import Bank

LOOK_EVERY_NS = 60 * NS
GROWTH_LEAST = 1.05
LOOKS = 5


class Growth:
    """Looks at the standard deviations of every row with new samples once in LOOK_EVERY_NS of the engine's time.

    A state whose deviation has grown by 5 % or more in LOOKS looks in a row is unobserved, until it shrinks.
    """

    def __init__(self, banks: Sequence[Bank]) -> None:
        self._banks = banks
        self._looked_ns = 0
        self._fused: dict[int, NDArray[np.int64]] = {}
        self._std: dict[int, NDArray[np.float64]] = {}
        self._grown: dict[int, NDArray[np.uint8]] = {}

    def look(self, now_ns: int) -> None:
        """Compare with the last look, when it is time."""
        if 0 <= now_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        for number, bank in enumerate(self._banks):
            if len(bank):
                self._look(number, bank)

    def unobserved(self, number: int) -> NDArray[np.bool_]:
        """bool[rows] of a bank: whether any state is unobserved."""
        wrong = np.zeros(len(self._banks[number]), np.bool_)
        grown = self._grown.get(number)
        if grown is not None:
            wrong[: len(grown)] = (grown >= LOOKS).any(axis=1)
        return wrong

    def states(self, number: int, row: int) -> list[int]:
        """Indices of the unobserved states of a row."""
        grown = self._grown.get(number)
        return [] if grown is None or row >= len(grown) else np.flatnonzero(grown[row] >= LOOKS).tolist()

    def dump(self) -> list[Any]:
        """For a snapshot."""
        return [self._looked_ns, self._fused, self._std, self._grown]

    def resume(self, saved: list[Any]) -> None:
        """Go on from what :meth:`dump` gave for the same rows."""
        self._looked_ns, self._fused, self._std, self._grown = saved

    def _look(self, number: int, bank: Bank) -> None:
        fused = bank.rows["fused"].copy()
        known = self._fused.get(number, np.zeros(0, np.int64))
        more = len(fused) - len(known)
        before = np.concatenate([known, np.zeros(more, np.int64)])
        std = np.concatenate([self._std.get(number, np.zeros((0, bank.size))), np.full((more, bank.size), np.nan)])
        grown = np.concatenate(
            [self._grown.get(number, np.zeros((0, bank.size), np.uint8)), np.zeros((more, bank.size), np.uint8)]
        )
        fresh = np.flatnonzero((fused != before) & (bank.rows["updates"] > 0))
        if len(fresh):
            _, now = bank.predict(fresh, 0)  # 0: each at its own time
            count = np.where(now >= GROWTH_LEAST * std[fresh], grown[fresh] + 1, 0)
            latched = (grown[fresh] >= LOOKS) & (now > std[fresh])
            grown[fresh] = np.minimum(np.where(latched, LOOKS, count), LOOKS)
            std[fresh] = now
        self._fused[number], self._std[number], self._grown[number] = fused, std, grown
