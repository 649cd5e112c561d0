"""A receiver as far as the uplink sees it, over HTTP: it remembers frames, acknowledges, and can be made hostile."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from aiohttp import web

from edgetwin.codec.acks import Ack, encode_ack
from edgetwin.codec.container import read_frames
from edgetwin.codec.frames import Frame, decode_frame
from edgetwin.uplink.http import ACK_TYPE, FRAMES_TYPE

Behaviour = Callable[[web.Request, list[Frame]], Awaitable[web.StreamResponse | None]]
"""Answers in the cloud's place; None: the cloud answers as usual."""


@dataclass
class Cloud:
    """``seqs`` are the sequence numbers of each request; ``payload_bytes`` counts bodies and messages of any kind."""

    gateway: str = "g"
    stored: dict[int, set[int]] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    seqs: list[list[int]] = field(default_factory=list)
    payload_bytes: int = 0
    greetings: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    behaviour: Behaviour | None = None
    greeting: Behaviour | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def store(self, frame: Frame) -> None:
        """Remember a frame, and what its gap records account for."""
        self.frames.append(frame)
        self.stored.setdefault(frame.epoch, set()).add(frame.seq)
        for gap in frame.gaps:
            if gap.last - gap.first < 100_000:
                self.stored.setdefault(gap.epoch, set()).update(range(gap.first, gap.last + 1))
        self.came.set()

    def ack(self, epoch: int, key: bool = False) -> Ack:
        """As a receiver answers: how far without a hole, and which holes there are."""
        have = sorted(self.stored.get(epoch, set()))
        holes = [(a + 1, b - 1) for a, b in pairwise([-1, *have]) if b > a + 1]
        through = holes[0][0] - 1 if holes else max(have, default=-1)
        return Ack(self.gateway, epoch, through, tuple(holes[:256]), key)

    @property
    def received(self) -> list[int]:
        """Sequence numbers stored, each time they came."""
        return [frame.seq for frame in self.frames]

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for frames until ``holds()``."""
        async with asyncio.timeout(20):
            while not holds():
                self.came.clear()
                await self.came.wait()

    async def post(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        assert request.content_type == FRAMES_TYPE
        body = await request.read()
        self.payload_bytes += len(body)
        frames = [decode_frame(data) for data in read_frames(io.BytesIO(body))]
        self.seqs.append([frame.seq for frame in frames])
        if self.behaviour is not None and (answer := await self.behaviour(request, frames)) is not None:
            self.came.set()
            return answer
        for frame in frames:
            self.store(frame)
        return web.Response(body=encode_ack(self.ack(frames[-1].epoch)), content_type=ACK_TYPE)

    async def greet(self, request: web.Request) -> web.StreamResponse:
        self.greetings += 1
        self.headers.append(dict(request.headers))
        if self.greeting is not None and (answer := await self.greeting(request, [])) is not None:
            self.came.set()
            return answer
        if not self.frames:
            raise web.HTTPNotFound
        return web.Response(body=encode_ack(self.ack(self.frames[-1].epoch)), content_type=ACK_TYPE)

    @asynccontextmanager
    async def serving(self, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Listen on a loopback port; gives the URL."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/gateways/{gateway}/frames", self.post)
        app.router.add_get("/v1/gateways/{gateway}/ack", self.greet)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
            await site.start()
            bound = runner.addresses[0][1]
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{bound}"
        finally:
            await runner.cleanup()
