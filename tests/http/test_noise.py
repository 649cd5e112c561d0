"""``/api/v1/twins/{twin}/noise``."""

from __future__ import annotations

import aiohttp
import pytest

from tests.http.build import View

PATH = "/api/v1/twins/pump-1/noise"


async def test_learning_is_frozen_and_let_go_on(client: aiohttp.ClientSession, view: View) -> None:
    async with client.get(PATH) as answer:
        assert answer.status == 200
        assert (await answer.json())["learning"] == "on"
    for learning in ("frozen", "on"):
        async with client.post(PATH, json={"learning": learning}) as answer:
            assert answer.status == 200
            assert (await answer.json())["learning"] == learning
        assert view.engine.noise_learning("pump-1") == learning


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"learning": "off"}', "application/json", 422),
        (b'{"learning": "on", "x": 1}', "application/json", 422),
        (b"[]", "application/json", 422),
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"learning": "on"}', "text/plain", 415),
    ],
)
async def test_bad_requests_are_told(client: aiohttp.ClientSession, body: bytes, kind: str, status: int) -> None:
    async with client.post(PATH, data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"


async def test_an_unknown_twin_is_404(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/v1/twins/pump-x/noise", json={"learning": "on"}) as answer:
        assert answer.status == 404
        assert (await answer.json())["nearest"]
    async with client.get("/api/v1/twins/pump-x/noise") as answer:
        assert answer.status == 404
