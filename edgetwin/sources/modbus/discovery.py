"""Points that signals ask for by name: the devices are asked where they stand before they can be polled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
import structlog
from numpy.typing import NDArray

from edgetwin.config.sunspec import Model
from edgetwin.errors import ConfigError, PayloadError
from edgetwin.ratelimit import RateLimiter
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.modbus.bindings import Binding
from edgetwin.sources.modbus.frames import LinkError
from edgetwin.sources.modbus.link import Link
from edgetwin.sources.modbus.plan import Limits, check_fits
from edgetwin.sources.modbus.sunspec import Reader, Wanted, find_models, locate

log = structlog.get_logger()

FIRST_S, MAX_S = 1.0, 60.0
"""Pauses between attempts to find the models of a unit."""


class Discovery:
    """Finds the registers of SunSpec points, unit by unit; a unit that fails is asked again after a pause.

    ``found`` is called with the bindings of a unit. Points that it does not have are reported and given up until the
    next reload. The chain of models is walked once: a device that moves its models has to be followed by a reload.
    """

    def __init__(
        self,
        source: str,
        link: Link,
        limits: Limits,
        timeout_s: float,
        models: Callable[[], Mapping[int, Model]],
        found: Callable[[list[Binding]], None],
        warnings: RateLimiter,
    ) -> None:
        self._source = source
        self._link = link
        self._limits = limits
        self._timeout_s = timeout_s
        self._models = models
        self._found = found
        self._warnings = warnings
        self._asked = asyncio.Event()
        self._wanted: dict[int, list[Wanted]] = {}
        self._errors: dict[int, str] = {}

    @property
    def errors(self) -> list[str]:
        """What is amiss, unit by unit."""
        return [f"unit {unit}: {error}" for unit, error in self._errors.items()]

    def ask(self, unit: int, wanted: Wanted) -> None:
        """Find this too."""
        self._wanted.setdefault(unit, []).append(wanted)
        self._asked.set()

    def forget(self) -> None:
        """Nothing is asked for any more, as other twins are going to be bound."""
        self._wanted = {}
        self._errors = {}

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(FIRST_S, MAX_S)
        while True:
            self._asked.clear()
            for unit in list(self._wanted):
                if self._link.wait_ns(unit) <= 0:
                    await self._discover(unit)
            if not self._wanted:
                backoff.reset()
                await self._asked.wait()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.next_s()):
                    await self._asked.wait()

    async def _discover(self, unit: int) -> None:
        async def read(address: int, count: int) -> NDArray[np.uint16]:
            return (await self._link.read(unit, "holding", address, count, timeout_s=self._timeout_s)).values

        everything = self._wanted
        asked = list(everything.get(unit, ()))
        try:
            bindings, missing, numbers = await self._locate(asked, read)
        except (PayloadError, LinkError) as exc:
            if everything is self._wanted:
                self._failed(unit, str(exc))
            return
        if everything is not self._wanted:
            return  # a reload has come between; it has asked anew
        log.info("sunspec_found", source=self._source, unit=unit, models=numbers, points=len(bindings))
        for wanted, reason in missing:
            log.error("sunspec_point_missing", source=self._source, unit=unit, signal=wanted.signal, error=str(reason))
        self._errors.pop(unit, None)
        if missing:
            self._errors[unit] = f"{missing[0][0].signal}: {missing[0][1].message}"
        everything[unit] = everything[unit][len(asked) :]
        if not everything[unit]:
            del everything[unit]
        self._found(bindings)

    async def _locate(
        self, asked: list[Wanted], read: Reader
    ) -> tuple[list[Binding], list[tuple[Wanted, ConfigError]], list[int]]:
        """Bindings of the points that are there, the others with the reason, and the numbers of the models."""
        placed = await find_models(read)
        models = self._models()
        bindings: list[Binding] = []
        missing: list[tuple[Wanted, ConfigError]] = []
        for wanted in asked:
            try:
                register = await locate(wanted.point, models, placed, read, self._limits.words_max)
                binding = Binding(wanted.slot, register)
                check_fits(binding, self._limits)
            except ConfigError as exc:
                missing.append((wanted, exc))
            else:
                bindings.append(binding)
        return bindings, missing, [p.id for p in placed]

    def _failed(self, unit: int, error: str) -> None:
        self._errors[unit] = error
        suppressed = self._warnings.allow(("sunspec", unit))
        if suppressed is not None:
            log.warning("sunspec_discovery_failed", source=self._source, unit=unit, error=error, suppressed=suppressed)
