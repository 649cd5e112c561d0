"""Frames posted by gateways.

``POST /v1/gateways/{gateway}/frames`` takes frames in the container format of :mod:`edgetwin.codec.container` and
answers with the gateway's acknowledgement after the commit that made them durable. ``GET /v1/gateways/{gateway}/ack``
tells the same without bringing any. Errors are RFC 9457 problem documents; docs/receive.md lists them.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from aiohttp import hdrs, web

from edgetwin.codec.acks import encode_ack
from edgetwin.codec.container import read_frames
from edgetwin.errors import FrameError
from edgetwin.http.problems import Handler, Problem, answered
from edgetwin.receive.config import HttpFrames
from edgetwin.receive.identity import Doorkeeper, server_context
from edgetwin.receive.listen import listening
from edgetwin.receive.pipeline import Pipeline
from edgetwin.receive.receiver import Outcome, Taken
from edgetwin.receive.share import share_of

log = structlog.get_logger()

FRAMES_TYPE = "application/vnd.edgetwin.frames"
ACK_TYPE = "application/vnd.edgetwin.ack"
RETRY_AFTER_S = 5
FRAMES_MAX = 4_096
_REASONS_MAX = 64


class HttpFeed:
    """The listener. ``requests`` counts answers by status code, ``acks`` those that told a gateway how far it is."""

    def __init__(self, config: HttpFrames, pipeline: Pipeline, base: Path = Path()) -> None:
        self.requests: dict[int, int] = {}
        self.acks = 0
        self._config = config
        self._pipeline = pipeline
        self._base = base
        self._door = Doorkeeper(config, base)
        self._reading = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[tuple[str, int]]:
        """Listen while the context lasts; gives the bound host and port. ConfigError when that cannot be done."""
        config = self._config
        tls = None
        if config.tls is not None:
            tls = server_context(config.tls, self._base, certificate_needed=config.tokens is None)
        app = web.Application(middlewares=[self._middleware], client_max_size=config.body_bytes_max)
        app.router.add_post("/v1/gateways/{gateway}/frames", self._post)
        app.router.add_get("/v1/gateways/{gateway}/ack", self._get)
        async with listening(app, config.listen, "http.listen", clients_max=config.clients_max, tls=tls) as bound:
            log.info("receiver_listening", host=bound[0], port=bound[1], tls=tls is not None)
            yield bound

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await answered(request, handler, self._config.body_bytes_max)
        self.requests[response.status] = self.requests.get(response.status, 0) + 1
        return response

    # ---- routes

    async def _get(self, request: web.Request) -> web.Response:
        gateway = self._gateway(request)
        if not self._pipeline.ready.is_set():
            raise _busy("the store has not been reached yet")
        return self._answer(gateway)

    async def _post(self, request: web.Request) -> web.Response:
        gateway = self._gateway(request)
        if request.content_type != FRAMES_TYPE or hdrs.CONTENT_ENCODING in request.headers:
            raise Problem(415, f"frames come as {FRAMES_TYPE}, without Content-Encoding", kind="not-frames")
        if not self._pipeline.ready.is_set():
            raise _busy("the store has not been reached yet")
        frames = await self._read(request)
        taken = [self._pipeline.take(frame, f"http {gateway}", gateway) for frame in frames]
        try:
            async with asyncio.timeout(self._config.answer_within):
                await self._pipeline.committed(self._pipeline.taken)
        except TimeoutError:
            raise _busy(self._pipeline.store_error or "the store is slow; what was sent is kept for it") from None
        refused = _refusals(taken)
        if refused:
            detail = f"{len(refused)} of {len(frames)} frames can never be stored; the others are"
            raise Problem(422, detail, kind="frames-refused", frames=refused[:_REASONS_MAX])
        return self._answer(gateway)

    def _answer(self, gateway: str) -> web.Response:
        ack = self._pipeline.receiver.ack(gateway)
        if ack is None:
            raise Problem(404, f"gateway {gateway!r} has never been heard", kind="unknown-gateway")
        self.acks += 1
        return web.Response(body=encode_ack(ack), content_type=ACK_TYPE)

    # ---- a request

    def _gateway(self, request: web.Request) -> str:
        """The gateway of the path, which the request must prove to be and which must be of this share."""
        gateway = request.match_info["gateway"]
        self._door.check(request, gateway)
        share = self._pipeline.receiver.share
        if not share.has(gateway):
            where = f"{share_of(gateway, share.of)}/{share.of}"
            raise Problem(421, f"gateway {gateway!r} is of share {where}, this is {share}", kind="another-share")
        return gateway

    async def _read(self, request: web.Request) -> list[bytes]:
        """The frames of the body. Problem 503 when there is no room, 413 and 422 when it is not one of ours."""
        size = request.content_length or self._config.body_bytes_max
        if self._reading + self._pipeline.receiver.pending_bytes + size > self._config.pending_bytes_max:
            raise _busy("too much waits for the store")
        self._reading += size
        try:
            body = await request.read()
        finally:
            self._reading -= size
        frames = []
        try:
            for frame in read_frames(io.BytesIO(body)):
                frames.append(frame)
                if len(frames) > FRAMES_MAX:
                    raise Problem(413, f"a body may hold at most {FRAMES_MAX} frames", kind="too-many-frames")
        except FrameError as exc:
            raise Problem(422, exc.message, hint=exc.hint, kind="not-frames") from exc
        if not frames:
            raise Problem(422, "the body is empty", kind="not-frames")
        return frames


def _refusals(taken: list[Taken]) -> list[dict[str, object]]:
    return [{"index": i, "reason": t.reason} for i, t in enumerate(taken) if t.outcome is Outcome.REFUSED]


def _busy(detail: str) -> Problem:
    return Problem(503, detail, kind="store-busy", headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)})
