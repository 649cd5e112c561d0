"""Twins in order of name: pages of them, and names that look like another."""

from __future__ import annotations

import asyncio
import difflib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.engine import Engine
from edgetwin.records import Quality

SCAN_CHUNK = 4096
NEIGHBOURS = 64
NAME_MAX = 256


@dataclass(frozen=True, slots=True)
class Selection:
    """Which twins are asked for: those after ``after`` that pass every filter, at most ``limit``."""

    prefix: str
    search: str
    quality: Quality | None
    after: str
    limit: int


class TwinIndex:
    """Sorted names of an engine's twins; made again when twins were added or the engine was replaced."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._names: list[str] = []
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)

    def refresh(self, engine: Engine) -> None:
        """Follow ``engine``. Twins are never removed, so their number tells whether anything changed."""
        names = engine.names()
        if engine is self._engine and len(names) == len(self._names):
            return
        order = sorted(range(len(names)), key=names.__getitem__)
        self._engine = engine
        self._order = np.array(order, np.int64)
        self._names = [names[i] for i in order]

    def __len__(self) -> int:
        return len(self._names)

    async def select(self, wanted: Selection, quality: NDArray[np.uint8]) -> tuple[list[str], str | None]:
        """Names in order, and the last of them if more follow. Lets the loop breathe on long scans.

        ``quality`` uint8[twins] is in the engine's order.
        """
        names, order = self._names, self._order
        search = wanted.search.casefold()
        found: list[str] = []
        place = max(bisect_right(names, wanted.after) if wanted.after else 0, bisect_left(names, wanted.prefix))
        for scanned, k in enumerate(range(place, len(names)), start=1):
            name = names[k]
            if not name.startswith(wanted.prefix):
                break
            matches = search in name.casefold() if search else True
            if matches and (wanted.quality is None or quality[order[k]] == wanted.quality):
                if len(found) == wanted.limit:
                    return found, found[-1]
                found.append(name)
            if scanned % SCAN_CHUNK == 0:
                await asyncio.sleep(0)
        return found, None

    def nearest(self, name: str, n: int = 3) -> list[str]:
        """Up to ``n`` names like ``name``, best first, looked for among its neighbours in the order."""
        if len(name) > NAME_MAX:
            return []
        place = bisect_left(self._names, name)
        around = self._names[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS]
        ends = self._names[:NEIGHBOURS] + self._names[-NEIGHBOURS:]
        folded: dict[str, str] = {}
        for candidate in around + ends:
            folded.setdefault(candidate.casefold(), candidate)
        return [folded[key] for key in difflib.get_close_matches(name.casefold(), folded, n, 0.6)]
