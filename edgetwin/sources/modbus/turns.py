"""Whose request is next on a link: writes before reads, else first come, first served."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush


class Turns:
    """``capacity`` turns at a time. As a lock: ``await take(...)`` and, whatever happens then, ``give()``."""

    def __init__(self, capacity: int = 1) -> None:
        self._free = capacity
        self._arrivals = 0
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []

    async def take(self, *, urgent: bool = False) -> None:
        """Wait for a turn; urgent ones pass all that are not."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heappush(self._waiting, (not urgent, self._arrivals, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()  # it had been handed to us already
            raise

    def give(self) -> None:
        """The turn is over: hand it to the next."""
        while self._waiting:
            _, _, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
