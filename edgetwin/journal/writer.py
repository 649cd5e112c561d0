"""Groups from the event loop to the disk: one thread writes, and whatever gathers meanwhile goes in one sync."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from edgetwin.errors import EdgetwinError
from edgetwin.journal.group import Group
from edgetwin.journal.journal import Journal

log = structlog.get_logger()

MAINTAIN_EVERY_S = 10.0


@dataclass(slots=True)
class _Submitted:
    group: Group
    done: asyncio.Future[None]


class JournalWriter:
    """``async with asyncio.TaskGroup() as tasks: tasks.create_task(writer.run())``; then :meth:`commit` from any task.

    At most ``bytes_max`` bytes wait to be written; beyond, :meth:`commit` waits before it takes its turn.
    """

    def __init__(self, journal: Journal, *, bytes_max: int = 64 * 1024 * 1024) -> None:
        self.journal = journal
        self._bytes_max = bytes_max
        self._bytes = 0
        self._submitted: list[_Submitted] = []
        self._changed = asyncio.Condition()

    async def commit(self, group: Group) -> None:
        """Return when ``group`` is durable; groups become so in the order of the calls.

        JournalFullError, JournalWriteError: it is not, and may be committed again. Groups that waited at the same time
        fail with it. A cancelled call may leave its group to be written.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._bytes == 0 or self._bytes + group.bytes <= self._bytes_max)
            submitted = _Submitted(group, asyncio.get_running_loop().create_future())
            self._submitted.append(submitted)
            self._bytes += group.bytes
            self._changed.notify_all()
        await submitted.done

    async def run(self) -> None:
        """Write until cancelled; what was submitted by then is written first. Every :data:`MAINTAIN_EVERY_S` seconds
        without groups the marks alone are written."""
        with ThreadPoolExecutor(1, thread_name_prefix="journal") as thread:
            while True:
                try:
                    batch = await self._batch()
                except asyncio.CancelledError:
                    await self._write(thread, self._take())
                    raise
                await self._write(thread, batch)

    async def _batch(self) -> list[_Submitted]:
        async with self._changed:
            try:
                async with asyncio.timeout(MAINTAIN_EVERY_S):
                    await self._changed.wait_for(lambda: self._submitted)
            except TimeoutError:
                pass
            return self._take()

    def _take(self) -> list[_Submitted]:
        batch, self._submitted = self._submitted, []
        return batch

    async def _write(self, thread: ThreadPoolExecutor, batch: list[_Submitted]) -> None:
        """Commit the batch in the thread. A cancellation waits for it: the outcome must be told either way."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(thread, self.journal.commit, *[s.group for s in batch])
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as exc:
                cancelled = exc
        error = work.exception()
        self._tell(batch, error)
        async with self._changed:
            self._bytes -= sum(s.group.bytes for s in batch)
            self._changed.notify_all()
        if error is not None and not isinstance(error, EdgetwinError):
            raise error
        if cancelled is not None:
            raise cancelled

    def _tell(self, batch: list[_Submitted], error: BaseException | None) -> None:
        for submitted in batch:
            if submitted.done.done():
                continue  # its caller was cancelled
            if error is None:
                submitted.done.set_result(None)
            else:
                submitted.done.set_exception(error)
        if error is not None and not batch:
            log.warning("journal_marks_not_written", error=str(error))
