"""Reading a device of which nothing is known: which addresses it gives, and what stands there at several times.

Reads only. Requests are paced, and there are at most so many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgetwin.clock import NS, Clock
from edgetwin.config.registers import is_bit_table
from edgetwin.errors import PayloadError, SourceError
from edgetwin.sources.modbus.frames import UNREACHED, NoAnswerError, RefusalError
from edgetwin.sources.modbus.link import Link

BLOCK = 64
ILLEGAL_FUNCTION = 1


@dataclass(slots=True, eq=False)
class Span:
    """Addresses of a table that are given, side by side; ``readings`` uint16[n, count] as they are made."""

    table: str
    address: int
    count: int
    readings: list[NDArray[np.uint16]] = field(default_factory=list)


class Surveyor:
    """Reads a unit through ``link``, at most ``rate`` requests a second and ``requests_max`` in all."""

    def __init__(
        self, link: Link, unit: int, clock: Clock, *, timeout_s: float, rate: float, requests_max: int
    ) -> None:
        self.requests = 0
        self.exhausted = False
        self._link = link
        self._unit = unit
        self._clock = clock
        self._timeout_s = timeout_s
        self._pause_ns = round(NS / rate)
        self._requests_max = requests_max
        self._next_ns = 0
        self._answered = False

    async def read(self, table: str, address: int, count: int) -> NDArray[np.uint16]:
        """Registers or bits. RefusalError when the device refuses, SourceError when there is no answer."""
        await asyncio.sleep(max(0, self._next_ns - self._clock.monotonic_ns()) / NS)
        self._next_ns = self._clock.monotonic_ns() + self._pause_ns
        self.requests += 1
        try:
            found = await self._link.read(self._unit, table, address, count, timeout_s=self._timeout_s)
        except RefusalError as exc:
            self._answered = self._answered or exc.code not in UNREACHED
            raise
        self._answered = True
        return found.values

    async def find(self, table: str, first: int, last: int) -> list[Span]:
        """The addresses from ``first`` to ``last`` that are given; refused blocks are halved.

        Empty for a table that the device does not have. A device that is silent about an address refuses it; one that
        never answered is a SourceError.
        """
        found: list[Span] = []
        todo = [(start, min(BLOCK, last + 1 - start)) for start in range(first, last + 1, BLOCK)][::-1]
        while todo:
            if self.requests >= self._requests_max:
                self.exhausted = True
                break
            start, count = todo.pop()
            try:
                await self.read(table, start, count)
            except RefusalError as exc:
                if exc.code in UNREACHED:
                    raise SourceError(exc.message, hint="check --unit") from exc
                if exc.code == ILLEGAL_FUNCTION:
                    return []
                todo += _halves(start, count)
            except NoAnswerError:
                if not self._answered:
                    raise
                todo += _halves(start, count)
            else:
                _join(found, table, start, count)
        return found

    async def follow(self, spans: list[Span], readings: int, every_s: float) -> None:
        """Read all of ``spans`` so often; a reading of a span that fails in one of its blocks is left out."""
        for k in range(readings):
            if k:
                await asyncio.sleep(every_s)
            for span in spans:
                await self._follow(span)

    async def _follow(self, span: Span) -> None:
        parts = [await self._part(span, start, count) for start, count in _blocks(span)]
        if all(part is not None for part in parts):
            span.readings.append(np.concatenate([part for part in parts if part is not None]))

    async def _part(self, span: Span, start: int, count: int) -> NDArray[np.uint16] | None:
        try:
            return await self.read(span.table, start, count)
        except (PayloadError, SourceError):
            return None


def _halves(start: int, count: int) -> list[tuple[int, int]]:
    """The first half is last: it is next."""
    if count == 1:
        return []
    half = count // 2
    return [(start + half, count - half), (start, half)]


def _join(found: list[Span], table: str, start: int, count: int) -> None:
    if found and found[-1].address + found[-1].count == start:
        found[-1].count += count
    else:
        found.append(Span(table, start, count))


def _blocks(span: Span) -> Iterator[tuple[int, int]]:
    size = BLOCK * 16 if is_bit_table(span.table) else BLOCK
    for start in range(span.address, span.address + span.count, size):
        yield start, min(size, span.address + span.count - start)
