"""The listener: addresses, bounds, malformed requests, closing."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import msgspec
import pytest

from edgetwin.errors import ConfigError
from edgetwin.http import admission, serve
from tests.http.build import View


async def _raw(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to ``request``, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def test_a_port_in_use_is_told_with_a_hint(view: View) -> None:
    async with serve(view, "127.0.0.1:0") as (host, port):
        with pytest.raises(ConfigError, match=r"http\.listen: cannot listen on .*another process"):
            async with serve(view, f"{host}:{port}"):
                pass


@pytest.mark.parametrize("listen", ["", "8787", "localhost", "localhost:99999", "http://x:1", "192.0.2.1:0"])
async def test_addresses_that_cannot_be_listened_on(view: View, listen: str) -> None:
    with pytest.raises(ConfigError) as error:
        async with serve(view, listen):
            pass
    assert error.value.hint


async def test_the_port_is_free_again_after_closing(view: View) -> None:
    async with (
        serve(view, "127.0.0.1:0") as (host, port),
        aiohttp.ClientSession() as session,
        session.get(f"http://{host}:{port}/healthz") as answer,
    ):
        assert answer.status == 200
    async with serve(view, f"{host}:{port}") as bound:
        assert bound == (host, port)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
    ],
)
async def test_malformed_requests_get_a_problem_and_the_end_of_the_connection(view: View, request_bytes: bytes) -> None:
    async with serve(view, "127.0.0.1:0") as (_, port):
        head, body = await _raw(port, request_bytes)
        assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), head
        assert b"application/problem+json" in head
        assert msgspec.json.decode(body)["status"] == 400
        head, _ = await _raw(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")


async def test_clients_beyond_the_bound_get_503(view: View) -> None:
    async with serve(view, "127.0.0.1:0", clients_max=2) as (_, port):
        held = [await _ask_and_stay(port) for _ in range(2)]
        head, body = await _raw(port, b"")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"Retry-After" in head
        assert msgspec.json.decode(body)["type"] == "urn:edgetwin:problem:too-many-clients"
        _, writer = held.pop()
        writer.close()
        await writer.wait_closed()
        await _until_admitted(port)
        held[0][1].close()


def test_the_bound_holds_on_the_loop_of_the_daemon(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_clients_beyond_the_bound_get_503(view))
        runner.run(test_a_silent_client_makes_room(view, monkeypatch))


async def test_a_silent_client_makes_room(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "IDLE_S", 0.0)
    async with serve(view, "127.0.0.1:0", clients_max=1) as (_, port):
        silent, writer = await asyncio.open_connection("127.0.0.1", port)
        _, second = await _ask_and_stay(port)
        async with asyncio.timeout(20):
            with suppress(ConnectionResetError):
                assert await silent.read() == b""
        for w in (writer, second):
            w.close()


async def _ask_and_stay(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that had an answer and is kept alive."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(20):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


async def _until_admitted(port: int) -> None:
    """The server hears of a closed connection in its own time."""
    async with asyncio.timeout(20):
        while True:
            head, _ = await _raw(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if head.startswith(b"HTTP/1.1 200"):
                return
