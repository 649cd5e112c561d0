"""The API of three twins, served on a port the system chose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from edgetwin.http import serve
from tests.http.build import View, view_of

Get = Callable[..., Awaitable[tuple[int, Any]]]

NAMES = ["pump-1", "pump-2", "<script>alert(1)</script>"]


@pytest.fixture
def view() -> View:
    return view_of(NAMES)


@pytest.fixture
async def client(view: View) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serve(view, "127.0.0.1:0") as (host, port),
        aiohttp.ClientSession(f"http://{host}:{port}", timeout=aiohttp.ClientTimeout(total=20)) as session,
    ):
        yield session


@pytest.fixture
def get(client: aiohttp.ClientSession) -> Get:
    """Status and JSON of a path."""

    async def ask(path: str, **query: str) -> tuple[int, Any]:
        async with client.get(path, params=query) as answer:
            return answer.status, await answer.json(content_type=None)

    return ask
