"""Outboxes with frames in them, and a transport at work on one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from edgetwin.uplink.http import HttpsUplink
from edgetwin.uplink.mqtt import MqttUplink
from edgetwin.uplink.outbox import Outbox
from edgetwin.uplink.store import FrameStore
from tests.codec.build import T0, report

Transport = TypeVar("Transport", HttpsUplink, MqttUplink)


def filled(n: int) -> Outbox:
    """An outbox of epoch 7 with ``n`` frames, numbered from 0."""
    outbox = Outbox("g", 1 << 26, epoch=7)
    fill(outbox, n)
    return outbox


def fill(outbox: FrameStore, n: int) -> None:
    """Put ``n`` more frames in."""
    for i in range(n):
        outbox.put([report(T0 + i, seed=i)])


@asynccontextmanager
async def running(way: Transport) -> AsyncIterator[Transport]:
    """The transport sends until the block is left."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(way.run())
        yield way
        task.cancel()


async def until(holds: Callable[[], object]) -> None:
    """Wait until ``holds()``, which nothing announces."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)
