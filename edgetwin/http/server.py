"""Opens and closes the HTTP listener."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from edgetwin.config.urls import listen_address
from edgetwin.errors import ConfigError
from edgetwin.http.admission import Admission
from edgetwin.http.app import make_app
from edgetwin.http.view import DaemonView

log = structlog.get_logger()

CLIENTS_MAX = 128
SHUTDOWN_S = 2.0


@asynccontextmanager
async def serve(view: DaemonView, listen: str, *, clients_max: int = CLIENTS_MAX) -> AsyncIterator[tuple[str, int]]:
    """Serve ``view`` on ``listen`` (host:port; port 0 lets the system choose) while the context lasts.

    Gives the bound host and port. At most ``clients_max`` connections are open at a time. Raises ConfigError
    when ``listen`` cannot be read or listened on. On leaving, requests under way have ``SHUTDOWN_S`` to end.
    """
    host, port = listen_address(listen)
    runner = web.AppRunner(make_app(view), shutdown_timeout=SHUTDOWN_S, handler_cancellation=True)
    await runner.setup()
    try:
        listener = await _listen(runner, host, port, clients_max)
        try:
            bound = listener.sockets[0].getsockname()
            log.info("http_listening", host=bound[0], port=bound[1])
            yield bound[0], bound[1]
        finally:
            listener.close()
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int, clients_max: int) -> asyncio.Server:
    assert runner.server is not None
    admission = Admission(runner.server, clients_max)
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(admission, host, port, backlog=clients_max)
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno is not None and exc.errno > 0 else exc.strerror
        raise ConfigError(f"cannot listen on {host}:{port} ({why})", path="http.listen", hint=_hint(exc)) from exc


def _hint(exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "another process listens there; stop it or choose another port"
    if exc.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need a privilege; choose a higher one"
    return "use an address of this machine, such as 127.0.0.1:8787"
