"""``POST /api/v1/twins/{twin}/simulate``: what-if, in threads beside the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import numpy as np
from aiohttp import web
from msgspec import Raw
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.engine.forks import Fork, NoStateError, fork
from edgetwin.engine.members import Band
from edgetwin.engine.requests import read_scenario, seconds
from edgetwin.engine.scenario import Scenario, check
from edgetwin.engine.whatif import Ensemble, Simulator
from edgetwin.errors import ConfigError, PayloadError
from edgetwin.http.index import TwinIndex
from edgetwin.http.problems import Problem
from edgetwin.http.queries import query
from edgetwin.http.times import format_time, parse_time
from edgetwin.http.twins import unknown_twin
from edgetwin.http.view import DaemonView

WORKERS_MAX = 16


class SimulateRoute:
    """The handler. A twin is copied on the event loop; everything else happens in a thread of its own.

    At most ``limits.simulations`` run at a time. All but one of the processors share a run: one is left to the samples.
    """

    def __init__(self, view: DaemonView, simulator: Simulator | None = None) -> None:
        self._view = view
        self._index = TwinIndex()
        self._simulator = simulator or Simulator(len(os.sched_getaffinity(0)) - 1)
        self._workers = ThreadPoolExecutor(WORKERS_MAX, thread_name_prefix="simulate")
        self._work: set[Future[bytes]] = set()

    async def simulate(self, request: web.Request) -> web.Response:
        """Run a scenario and give its bands."""
        query(request)
        if request.content_type != "application/json":
            raise Problem(415, "the scenario must be JSON", hint="send Content-Type: application/json")
        body = await request.read()
        limits = self._view.engine.config.limits
        self._work = {work for work in self._work if not work.done()}
        if len(self._work) >= limits.simulations:
            hint = "try again when one is done, or raise limits.simulations"
            detail = f"{len(self._work)} simulations are running"
            raise Problem(503, detail, kind="too-many-simulations", hint=hint, headers={"Retry-After": "1"})
        copied = self._fork(request.match_info["twin"])
        scenario = _scenario(body, copied, limits.simulation_steps)
        return web.Response(body=await self._run(copied, scenario), content_type="application/json")

    async def close(self, _app: web.Application) -> None:
        """Wait for the threads; their requests have ended, so they stop at their next block."""
        await asyncio.to_thread(self._workers.shutdown, cancel_futures=True)

    def _fork(self, name: str) -> Fork:
        engine = self._view.engine
        try:
            return fork(engine, name, self._view.clock.wall_ns())
        except KeyError:
            raise unknown_twin(self._index, engine, name) from None
        except NoStateError as exc:
            raise Problem(409, exc.message, kind="no-sample-yet", hint=exc.hint) from exc

    async def _run(self, copied: Fork, scenario: Scenario) -> bytes:
        stop = threading.Event()
        work = self._workers.submit(lambda: encode(self._simulator.run(copied, scenario, stop)))
        self._work.add(work)
        try:
            return await asyncio.wrap_future(work)
        finally:
            stop.set()


def _scenario(body: bytes, copied: Fork, member_steps_max: int) -> Scenario:
    """The scenario asked for; 400 for what is not JSON, 422 with its path for what the twin cannot do."""

    def instant(text: str) -> float:
        if "T" not in text.upper():
            return seconds(text)
        assert copied.from_ns is not None  # the clock's time was given
        try:
            return (parse_time(text) - copied.from_ns) / NS
        except PayloadError as exc:
            raise ConfigError(exc.message, hint=exc.hint) from exc

    try:
        scenario = read_scenario(body, instant)
        check(copied, scenario, member_steps_max)
    except ConfigError as exc:
        raise Problem(422, exc.message, kind="bad-scenario", hint=exc.hint, path=exc.path) from exc
    except msgspec.DecodeError as exc:
        raise Problem(400, str(exc), kind="bad-body", hint="send a JSON object") from exc
    return scenario


def encode(ensemble: Ensemble) -> bytes:
    """The answer, written column by column so that no step holds the interpreter for long."""
    scenario = ensemble.scenario
    names = [quantile_name(q) for q in scenario.quantiles]
    return msgspec.json.encode(
        {
            "twin": ensemble.twin,
            "from": None if ensemble.from_ns is None else format_time(ensemble.from_ns),
            "step_s": scenario.step_s,
            "times": _column(ensemble.offsets),
            "states": {name: _band(band, names) for name, band in ensemble.states.items()},
            "measurements": {name: _band(band, names) for name, band in ensemble.measurements.items()},
            "members": scenario.members,
            "seed": scenario.seed,
            "noise": scenario.noise,
            "excluded": ensemble.excluded,
            "coarse": ensemble.coarse,
        }
    )


def quantile_name(quantile: float) -> str:
    """``q05``, ``q50``, ``q97.5``: percent."""
    percent = round(100 * quantile, 6)
    return f"q0{percent:g}" if percent < 10 else f"q{percent:g}"


def _band(band: Band, names: list[str]) -> dict[str, object]:
    quantiles = {name: _column(values) for name, values in zip(names, band.quantiles, strict=True)}
    return {"unit": band.unit, "mean": _column(band.mean), "std": _column(band.std), **quantiles}


def _column(values: NDArray[np.float64]) -> Raw:
    return Raw(msgspec.json.encode(values.tolist()))
