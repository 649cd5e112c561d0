"""Keeps the daemon's services running: a service that fails is started again, alone, after a jittered pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from edgetwin.sources.backoff import Backoff

log = structlog.get_logger()

Service = Callable[[], Awaitable[None]]


class Supervisor:
    """Named services in one TaskGroup; use as ``async with``. Leaving the context cancels what still runs."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failures = 0

    async def __aenter__(self) -> Supervisor:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def start(self, name: str, service: Service) -> None:
        """Run ``service`` until :meth:`stop`; it is not expected to return, and is restarted when it raises."""
        assert name not in self._tasks, name
        self._tasks[name] = self._group.create_task(self._supervise(name, service), name=name)

    async def stop(self, name: str) -> None:
        """Cancel a service and wait until it has cleaned up."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def running(self) -> list[str]:
        """Names of the services, in the order in which they were started."""
        return list(self._tasks)

    async def _supervise(self, name: str, service: Service) -> None:
        backoff = Backoff(first_s=0.5, max_s=30.0)
        while True:
            try:
                await service()
                return
            except Exception as exc:  # one service's fault must not end the others
                self.failures += 1
                pause = backoff.next_s()
                log.error("service_failed", service=name, error=repr(exc), retry_in_s=round(pause, 2), exc_info=exc)
                await asyncio.sleep(pause)
