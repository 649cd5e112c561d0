"""The list of twins and one twin."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from edgetwin.engine import Engine
from edgetwin.http import make_app
from edgetwin.http.index import TwinIndex
from edgetwin.http.times import format_time
from edgetwin.model.builtin import BUILTIN
from tests.engine.build import SECOND, T0, config, feed, twin
from tests.engine.test_whatif import COOLING, engine_of
from tests.http.build import NOW, View, view_of
from tests.http.conftest import NAMES, Get

LAST = T0 + 20 * SECOND


async def test_a_twin_now(get: Get, view: View) -> None:
    status, body = await get("/api/v1/twins/pump-2")
    assert status == 200
    expected = view.engine.estimate("pump-2", NOW, NOW)
    assert body["states"] == {"x": {"mean": expected.states["x"].mean, "std": expected.states["x"].std, "unit": "bar"}}
    assert (body["twin"], body["model"], body["at"]) == ("pump-2", "random_walk", format_time(NOW))
    assert body["last"] == format_time(LAST)
    assert (body["quality"], body["reason"]) == ("uncertain", "x: stale")
    signal = body["signals"]["x"]
    assert signal["at"] == format_time(LAST)
    assert signal["value"] == pytest.approx(expected.signals["x"].value)
    assert (signal["noise"], signal["unit"], signal["fused"], signal["gated"]) == (0.5, "bar", 20, 0)


async def test_a_twin_at_its_last_sample_is_not_extrapolated(get: Get, view: View) -> None:
    _, last = await get("/api/v1/twins/pump-1", at="last")
    _, now = await get("/api/v1/twins/pump-1", at="now")
    assert last["at"] == last["last"] == format_time(LAST)
    assert last["states"]["x"]["std"] < now["states"]["x"]["std"]


@pytest.mark.parametrize(
    ("at", "ns"),
    [
        ("+10min", NOW + 600 * SECOND),
        ("+250ms", NOW + SECOND // 4),
        (format_time(NOW + 7), NOW + 7),
        (format_time(LAST), LAST),
    ],
)
async def test_a_twin_at_an_instant(get: Get, view: View, at: str, ns: int) -> None:
    status, body = await get("/api/v1/twins/pump-1", at=at)
    assert (status, body["at"]) == (200, format_time(ns))
    assert body["states"]["x"]["std"] == view.engine.estimate("pump-1", ns, NOW).states["x"].std


@pytest.mark.parametrize("model", [*BUILTIN, "cooling"])
async def test_ten_minutes_ahead_with_every_kind_of_model(model: str) -> None:
    if model == "cooling":
        engine = engine_of({**COOLING, "process_noise": {"x": 0.1}})
    else:
        parameters = {"process_noise": 0.1} | ({"time_constant": 300.0} if model == "first_order" else {})
        engine = Engine(config([twin(model=model, parameters=parameters)]))
    feed(engine, np.linspace(49, 50, 30), T0 + np.arange(31, 61) * SECOND)
    async with TestClient(TestServer(make_app(View(engine, [])))) as client:
        now, ahead = [await (await client.get(f"/api/v1/twins/m?at={at}")).json() for at in ("now", "%2B10min")]
    assert (now["at"], ahead["at"]) == (format_time(NOW), format_time(NOW + 600 * SECOND))
    for later in ahead["states"].values():
        assert math.isfinite(later["mean"])
        assert later["std"] > 0
    if model != "first_order":
        assert ahead["states"]["x"]["std"] > now["states"]["x"]["std"]
    if model == "cooling":  # dx/dt = -k (x - u): a decay to the input, and what process noise amounts to
        decay = math.exp(-0.02 * 600)
        assert ahead["states"]["x"]["mean"] == pytest.approx(20 + (now["states"]["x"]["mean"] - 20) * decay, rel=1e-6)
        assert ahead["states"]["x"]["std"] == pytest.approx(0.1 / math.sqrt(0.04), rel=0.02)
    if model == "constant_velocity":
        expected = now["states"]["x"]["mean"] + 600 * now["states"]["x_rate"]["mean"]
        assert ahead["states"]["x"]["mean"] == pytest.approx(expected)


async def test_an_unescaped_plus_means_a_step_ahead(client: ClientSession) -> None:
    async with client.get("/api/v1/twins/pump-1?at=+10min") as answer:
        assert (await answer.json())["at"] == format_time(NOW + 600 * SECOND)


async def test_history_is_not_kept_yet(get: Get) -> None:
    status, body = await get("/api/v1/twins/pump-1", at=format_time(LAST - 1))
    assert (status, body["type"]) == (422, "urn:edgetwin:problem:before-last-sample")
    assert "history is not kept yet" in body["detail"]


@pytest.mark.parametrize(
    "at", ["", "soon", "10min", "+10", "+-5s", "+", "2024-13-01T00:00:00Z", "+200d d", "9999-01-01T00:00:00Z"]
)
async def test_bad_instants(get: Get, at: str) -> None:
    status, body = await get("/api/v1/twins/pump-1", at=at)
    assert (status, body["type"], body["parameter"]) == (400, "urn:edgetwin:problem:bad-query", "at")
    assert body["hint"]


async def test_steps_far_ahead_have_an_answer_or_a_problem(get: Get) -> None:
    for at in ("+36500d", "2262-04-11T23:47:16.854775807Z"):
        status, body = await get("/api/v1/twins/pump-1", at=at)
        assert status == 200, body
        assert body["states"]["x"]["std"] > 1000


async def test_a_sample_ahead_of_the_clock_is_not_before_now(get: Get, view: View) -> None:
    view.clock.advance(LAST - SECOND - NOW)
    status, body = await get("/api/v1/twins/pump-1")
    assert (status, body["at"]) == (200, format_time(LAST))


async def test_an_unknown_twin_and_its_neighbours(get: Get) -> None:
    status, body = await get("/api/v1/twins/Pump-3")
    assert (status, body["type"]) == (404, "urn:edgetwin:problem:unknown-twin")
    assert sorted(body["nearest"]) == ["pump-1", "pump-2"]
    _, body = await get("/api/v1/twins/" + "x" * 500)
    assert body["nearest"] == []


async def test_any_name_can_be_asked_for(client: ClientSession) -> None:
    async with client.get(f"/api/v1/twins/{quote(NAMES[2], safe='')}") as answer:
        assert (await answer.json())["twin"] == NAMES[2]


async def test_before_any_sample_numbers_are_null() -> None:
    view = view_of(["m"], samples=0)
    body = await _twin_of(view)
    assert body["last"] is None
    assert body["states"]["x"] == {"mean": None, "std": None, "unit": "bar"}
    assert (body["signals"]["x"]["at"], body["quality"]) == (None, "bad")


async def _twin_of(view: View) -> Any:
    async with TestClient(TestServer(make_app(view))) as client, client.get("/api/v1/twins/m") as answer:
        return await answer.json()


# ---- the list


async def test_the_list_in_order_of_name(get: Get, view: View) -> None:
    status, body = await get("/api/v1/twins")
    assert (status, body["total"], body["next"], body["at"]) == (200, 3, None, format_time(NOW))
    assert [t["twin"] for t in body["twins"]] == sorted(NAMES)
    first = body["twins"][1]
    estimate = view.engine.estimate("pump-1", NOW, NOW)
    assert first == {
        "twin": "pump-1",
        "model": "random_walk",
        "quality": "uncertain",
        "reason": "x: stale",
        "last": format_time(LAST),
        "states": {"x": {"mean": estimate.states["x"].mean, "std": estimate.states["x"].std, "unit": "bar"}},
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"prefix": "pump"}, ["pump-1", "pump-2"]),
        ({"prefix": "pump", "after": "pump-1"}, ["pump-2"]),
        ({"prefix": "pump", "after": "a"}, ["pump-1", "pump-2"]),
        ({"prefix": "pump", "after": "z"}, []),
        ({"search": "SCRIPT"}, [NAMES[2]]),
        ({"search": "p", "quality": "uncertain"}, sorted(NAMES)),
        ({"quality": "good"}, []),
        ({"prefix": "nothing"}, []),
    ],
)
async def test_filters(get: Get, query: dict[str, str], names: list[str]) -> None:
    status, body = await get("/api/v1/twins", **query)
    assert (status, [t["twin"] for t in body["twins"]]) == (200, names)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"}, {"limit": "1001"}, {"limit": "-1"}, {"limit": "ten"}, {"limit": "9" * 40},
        {"quality": "best"}, {"prefixx": "p"}, {"prefix": "p" * 1025}, {"limit": "²"},
    ],
)  # fmt: skip
async def test_bad_queries(get: Get, query: dict[str, str]) -> None:
    status, body = await get("/api/v1/twins", **query)
    assert (status, body["type"]) == (400, "urn:edgetwin:problem:bad-query")
    assert [body["parameter"]] == list(query)


async def test_a_parameter_given_twice(client: ClientSession) -> None:
    async with client.get("/api/v1/twins?limit=1&limit=2") as answer:
        assert answer.status == 400


async def test_pages_cover_ten_thousand_twins_once() -> None:
    names = [f"twin-{i}" for i in range(10_000)]
    view = view_of(names, samples=3)
    seen: list[str] = []
    async with TestClient(TestServer(make_app(view))) as client:
        after = ""
        while after is not None:
            async with client.get("/api/v1/twins", params={"after": after, "limit": "1000"}) as answer:
                body = await answer.json()
            assert len(body["twins"]) <= 1000
            seen += [t["twin"] for t in body["twins"]]
            after = body["next"]
        async with client.get("/api/v1/twins", params={"search": "999", "limit": "5"}) as answer:
            body = await answer.json()
    assert seen == sorted(names)
    assert [t["twin"] for t in body["twins"]] == sorted(n for n in names if "999" in n)[:5]
    assert body["next"] == body["twins"][-1]["twin"]


async def test_twins_made_later_appear(get: Get, view: View) -> None:
    assert (await get("/api/v1/twins"))[1]["total"] == 3
    view.engine = view_of(["another", "b", "c"]).engine
    assert [t["twin"] for t in (await get("/api/v1/twins"))[1]["twins"]] == ["another", "b", "c"]


@given(st.text(max_size=30))
def test_nearest_takes_any_name(name: str) -> None:
    index = TwinIndex()
    index.refresh(_ENGINE)
    assert set(index.nearest(name)) <= set(NAMES)


_ENGINE = view_of(NAMES, samples=0).engine
