"""The real daemon, as a process of its own, seen through its HTTP API."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import aiohttp

from edgetwin.errors import EdgetwinError

READY_TIMEOUT_S = 600.0  # the first start compiles every kernel, on a small ARM core too
POLL_S = 0.2
STOP_TIMEOUT_S = 15.0
LOG_TAIL_LINES = 15


class Daemon:
    """`edgetwin run` on a configuration file."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self._process = process
        self._log = log
        self.url = url

    async def wait_ready(self, session: aiohttp.ClientSession) -> None:
        """Return once `/readyz` says yes; :class:`EdgetwinError` when that takes too long."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                # Another process gives no event to wait for.
                while not await self._answers(session):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
        except TimeoutError as exc:
            raise self.failure("the daemon is not ready") from exc

    async def fail_when_ended(self) -> NoReturn:
        """Wait for the daemon's untimely end and raise it as :class:`EdgetwinError`."""
        status = await self._process.wait()
        raise self.failure(f"the daemon ended with status {status}")

    async def get(self, session: aiohttp.ClientSession, path: str) -> Any:
        """The JSON answer of the API, or None when there is none at the moment."""
        try:
            async with session.get(self.url + path) as response:
                return await response.json(content_type=None) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    def failure(self, what: str) -> EdgetwinError:
        """An error that carries the end of the daemon's log."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        tail = "".join(f"\n  {line}" for line in lines)
        return EdgetwinError(what, hint=f"the end of {self._log}:{tail}")

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL to a daemon that does not drain in time."""
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(self.url + "/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@asynccontextmanager
async def running_daemon(command: Sequence[str], url: str, log: Path) -> AsyncIterator[Daemon]:
    """The daemon while the context lasts, its output appended to a file.

    The process has a group of its own: Ctrl-C reaches the demo, which then stops the daemon in order.
    """
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, process_group=0
        )
    daemon = Daemon(process, url, log)
    try:
        yield daemon
    finally:
        await daemon.stop()
