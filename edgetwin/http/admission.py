"""How many clients are let in, and what the others are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import structlog
from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from edgetwin.http.problems import Handler, Problem

log = structlog.get_logger()

IDLE_S = 10.0
"""Silence after which a connection may have to make room for another client."""


class Connection(RequestHandler):
    """One client. ``idle_since`` is loop time; None while a request is being answered."""

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, lost: Callable[[Connection], None]) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=30.0,
            lingering_time=1.0,
            max_line_size=8190,
            max_field_size=8190,
            max_headers=64,
            access_log=None,  # type: ignore[arg-type]  # None turns it off
        )
        self.idle_since: float | None = loop.time()
        self._lost = lost

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone: its place is free."""
        self._lost(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Hang up at once, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - may repeat what the client sent
    ) -> web.StreamResponse:
        """A problem document for what is not even a request; aiohttp would write text."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, no error can be sent")
        if status >= 500:
            log.error("http_request_failed", method=request.method, path=request.path, exc_info=exc)
        detail = "the request is not valid HTTP or is too large" if status < 500 else ""
        response = Problem(status, detail).response({hdrs.SERVER: "edgetwin"})
        response.force_close()
        return response


class Refusal(asyncio.Protocol):
    """Tells a client that there is no room, and hangs up."""

    _BODY = Problem(503, "too many connections; try again shortly", kind="too-many-clients").response()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writer = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        body = self._BODY.body
        assert isinstance(body, bytes)
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nServer: edgetwin\r\nRetry-After: 5\r\nConnection: close\r\n"
            f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        writer.close()


class Admission:
    """A protocol factory that lets in at most ``clients_max`` connections at a time.

    When all places are taken, the connection that has been silent longest, and longer than ``idle_s`` (IDLE_S), is
    closed to make room: clients that connect and say nothing cannot shut others out.
    """

    def __init__(self, server: web.Server, clients_max: int, idle_s: float | None = None) -> None:
        self._server = server
        self._clients_max = clients_max
        self._idle_s = IDLE_S if idle_s is None else idle_s
        self._loop = asyncio.get_running_loop()
        self._clients: set[Connection] = set()
        self.refused = 0

    def __call__(self) -> asyncio.Protocol:
        """A protocol for a new connection."""
        if len(self._clients) >= self._clients_max and not self._make_room():
            self.refused += 1
            return Refusal()
        client = Connection(self._server, self._loop, self._clients.discard)
        self._clients.add(client)
        return client

    def _make_room(self) -> bool:
        """Close the connection silent for longest; False when none has been silent for long enough."""
        idle = [(c.idle_since, id(c), c) for c in self._clients if c.idle_since is not None]
        if not idle or (longest := min(idle))[0] > self._loop.time() - self._idle_s:
            return False
        longest[2].abort()
        self._clients.discard(longest[2])
        return True


@web.middleware
async def mark_busy(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware that keeps the connection of a request that is being handled."""
    client = request.protocol
    if not isinstance(client, Connection):
        return await handler(request)
    client.idle_since = None
    try:
        return await handler(request)
    finally:
        client.idle_since = asyncio.get_running_loop().time()
