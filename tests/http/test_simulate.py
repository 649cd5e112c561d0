"""``POST /api/v1/twins/{twin}/simulate`` over a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import pytest

from edgetwin.engine.forks import Fork
from edgetwin.engine.members import SimulationStoppedError
from edgetwin.engine.scenario import Scenario
from edgetwin.engine.whatif import Ensemble, Simulator
from edgetwin.http import serve
from edgetwin.http.openapi import openapi
from edgetwin.http.times import format_time
from tests.engine.build import SECOND, T0, feed
from tests.engine.test_whatif import COOLING, engine_of
from tests.http.build import NOW, Listening, View, view_of
from tests.http.conftest import NAMES


@asynccontextmanager
async def client_of(view: View) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serve(view, "127.0.0.1:0") as (host, port),
        aiohttp.ClientSession(f"http://{host}:{port}", timeout=aiohttp.ClientTimeout(total=30)) as session,
    ):
        yield session


def cooling() -> View:
    engine = engine_of(COOLING)
    feed(engine, [50.0, 49.5], T0 + np.array([58, 60]) * SECOND)
    return View(engine, [Listening()])


async def post(client: aiohttp.ClientSession, body: Any, twin: str = "m", **options: Any) -> tuple[int, Any]:
    payload = {"data": body} if isinstance(body, bytes) else {"json": body}
    async with client.post(f"/api/v1/twins/{twin}/simulate", **payload, **options) as answer:
        kind = "application/json" if answer.status == 200 else "application/problem+json"
        assert answer.content_type == kind
        return answer.status, await answer.json(content_type=None)


async def test_a_what_if_of_a_live_twin() -> None:
    view = cooling()
    before = view.engine.banks[0].rows.tobytes()
    asked = {"horizon": "1min", "step": "20s", "seed": 3, "inputs": {"u": [[0, 80]]}, "quantiles": [0.025, 0.5]}
    async with client_of(view) as client:
        status, body = await post(client, asked)
        assert status == 200
        assert (await post(client, asked)) == (200, body)
        _, other = await post(client, {**asked, "seed": 4})
    assert body["from"] == format_time(NOW)
    assert (body["twin"], body["members"], body["seed"], body["noise"], body["excluded"]) == ("m", 1000, 3, True, 0)
    assert body["times"] == [0, 20, 40, 60]
    assert list(body["states"]) == ["x"]
    assert sorted(body["measurements"]) == ["half", "x"]
    band = body["states"]["x"]
    assert list(band) == ["unit", "mean", "std", "q02.5", "q50"]
    start = view.engine.estimate("m", NOW, NOW).states["x"].mean
    np.testing.assert_allclose(band["mean"], 80 + (start - 80) * np.exp(-0.02 * np.array(body["times"])), atol=0.2)
    assert other["states"] != body["states"]
    assert view.engine.banks[0].rows.tobytes() == before


async def test_the_answer_is_as_described() -> None:
    described = openapi("1")["components"]["schemas"]
    async with client_of(cooling()) as client:
        _, body = await post(client, {"horizon": 10, "members": 5})
    assert sorted(body) == sorted(described["Simulation"]["required"])
    assert set(described["Band"]["required"]) <= set(body["states"]["x"])


async def test_points_may_be_at_a_time() -> None:
    at = format_time(NOW + 30 * SECOND)
    async with client_of(cooling()) as client:
        _, clock = await post(client, {"horizon": "1min", "inputs": {"u": [[at, 80]]}})
        _, offset = await post(client, {"horizon": "1min", "inputs": {"u": [["30s", 80]]}})
        status, bad = await post(client, {"horizon": "1min", "inputs": {"u": [["2024-13-01T00:00:00Z", 80]]}})
    assert clock == offset
    assert (status, bad["path"]) == (422, "inputs.u[0][0]")


async def test_built_in_models_too() -> None:
    view = view_of(NAMES)
    async with client_of(view) as client:
        status, body = await post(client, {"horizon": "10min", "parameters": {"process_noise": 0.0}}, "pump-1")
    assert status == 200
    expected = view.engine.estimate("pump-1", NOW, NOW).states["x"]
    assert body["states"]["x"]["std"][-1] == pytest.approx(expected.std, rel=0.1)
    assert body["states"]["x"]["unit"] == "bar"


async def test_errors_are_problems() -> None:
    silent = view_of(["silent"], samples=0)
    async with client_of(silent) as client:
        status, body = await post(client, {"horizon": 1}, "silent")
        assert (status, body["type"]) == (409, "urn:edgetwin:problem:no-sample-yet")
    async with client_of(cooling()) as client:
        status, body = await post(client, {"horizon": 1}, "mm")
        assert (status, body["type"], body["nearest"]) == (404, "urn:edgetwin:problem:unknown-twin", ["m"])
        status, body = await post(client, {"horizon": 1, "inputs": {"v": 1}})
        assert (status, body["type"], body["path"]) == (422, "urn:edgetwin:problem:bad-scenario", "inputs.v")
        status, body = await post(client, {"horizon": 1, "members": 10**6})
        assert (status, body["path"]) == (422, "members")
        json_type = {"headers": {"Content-Type": "application/json"}}
        status, body = await post(client, b"{", **json_type)
        assert (status, body["type"]) == (400, "urn:edgetwin:problem:bad-body")
        status, body = await post(client, b"[" * 60_000, **json_type)
        assert status == 422
        status, body = await post(client, b'{"horizon": 1}', headers={"Content-Type": "text/plain"})
        assert status == 415
        status, body = await post(client, b'{"horizon": 1}' + b" " * 70_000, **json_type)
        assert status == 413
        status, body = await post(client, {"horizon": 1}, params={"seed": "1"})
        assert (status, body["type"]) == (400, "urn:edgetwin:problem:bad-query")
        async with client.get("/api/v1/twins/m/simulate") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_none_are_run_when_the_limit_is_none() -> None:
    async with client_of(view_of(["pump"], simulations=0)) as client:
        status, body = await post(client, {"horizon": 1}, "pump")
    assert (status, body["type"]) == (503, "urn:edgetwin:problem:too-many-simulations")


class Held(Simulator):
    """Begins, and goes on only when it is told to stop or to go."""

    begun = threading.Event()
    go = threading.Event()
    stopped = threading.Event()

    def run(self, fork: Fork, scenario: Scenario, stop: threading.Event | None = None) -> Ensemble:
        assert stop is not None
        self.begun.set()
        while not self.go.wait(0.01):
            if stop.is_set():
                self.stopped.set()
                raise SimulationStoppedError("stopped")
        return super().run(fork, scenario, stop)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> type[Held]:
    for event in (Held.begun, Held.go, Held.stopped):
        event.clear()
    monkeypatch.setattr("edgetwin.http.simulate.Simulator", Held)
    return Held


async def test_no_more_run_at_a_time_than_allowed(held: type[Held]) -> None:
    async with client_of(view_of(["pump"], simulations=1)) as client:
        first = asyncio.create_task(post(client, {"horizon": 1}, "pump"))
        await asyncio.to_thread(held.begun.wait)
        async with client.post("/api/v1/twins/pump/simulate", json={"horizon": 1}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        async with client.get("/api/v1/twins/pump") as answer:
            assert answer.status == 200
        held.go.set()
        assert (await first)[0] == 200
        assert (await post(client, {"horizon": 1}, "pump"))[0] == 200


async def test_a_run_ends_when_its_client_leaves(held: type[Held]) -> None:
    async with client_of(view_of(["pump"], simulations=1)) as client:
        first = asyncio.create_task(post(client, {"horizon": 1}, "pump"))
        await asyncio.to_thread(held.begun.wait)
        first.cancel()
        await asyncio.to_thread(held.stopped.wait)
        held.go.set()
        while (await post(client, {"horizon": 1}, "pump"))[0] == 503:  # its thread ends a moment after it is told
            await asyncio.sleep(0)


async def test_the_daemon_does_not_wait_for_a_run(held: type[Held]) -> None:
    async with client_of(view_of(["pump"])) as client:
        asking = asyncio.create_task(post(client, {"horizon": 1}, "pump"))
        await asyncio.to_thread(held.begun.wait)
        asking.add_done_callback(lambda task: task.exception())
    assert held.stopped.is_set()
