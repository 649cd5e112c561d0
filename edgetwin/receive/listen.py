"""An HTTP listener of the receiver, bounded in clients."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from edgetwin.config.urls import listen_address
from edgetwin.errors import ConfigError
from edgetwin.http.admission import Admission

SHUTDOWN_S = 2.0


@asynccontextmanager
async def listening(
    app: web.Application, listen: str, path: str, *, clients_max: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Serve ``app`` on ``listen`` (host:port; port 0 lets the system choose) while the context lasts; gives the bound
    host and port. ConfigError, at the key ``path``, when that cannot be listened on."""
    host, port = listen_address(listen)
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        assert runner.server is not None
        admission = Admission(runner.server, clients_max)
        try:
            server = await asyncio.get_running_loop().create_server(admission, host, port, ssl=tls, backlog=clients_max)
        except OSError as exc:
            why = os.strerror(exc.errno) if exc.errno is not None and exc.errno > 0 else exc.strerror
            hint = "use a free port of an address of this machine"
            raise ConfigError(f"cannot listen on {host}:{port} ({why})", path=path, hint=hint) from exc
        try:
            bound = server.sockets[0].getsockname()
            yield bound[0], bound[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()
