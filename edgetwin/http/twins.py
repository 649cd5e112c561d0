"""``/api/v1/twins``: the list of twins and one twin at an instant."""

from __future__ import annotations

import asyncio

from aiohttp import web

from edgetwin.engine import Engine
from edgetwin.http.bodies import TwinPage, TwinSummary, json_response, twin_body, twin_summary
from edgetwin.http.index import Selection, TwinIndex
from edgetwin.http.problems import Problem
from edgetwin.http.queries import parse_at, parse_limit, parse_quality, query
from edgetwin.http.times import format_time
from edgetwin.http.view import DaemonView
from edgetwin.records import TwinEstimate

ESTIMATES_AT_A_TIME = 16
"""Twins estimated before other tasks of the loop get their turn: about a millisecond's work."""


class TwinRoutes:
    """Handlers; estimates are computed on the event loop, which owns the engine."""

    def __init__(self, view: DaemonView) -> None:
        self._view = view
        self._index = TwinIndex()

    async def list_twins(self, request: web.Request) -> web.Response:
        """A page of the twins as of now."""
        given = query(request, "prefix", "search", "quality", "limit", "after")
        wanted = Selection(
            given.get("prefix", ""),
            given.get("search", ""),
            parse_quality(given.get("quality")),
            given.get("after", ""),
            parse_limit(given.get("limit")),
        )
        engine, now_ns = self._view.engine, self._view.clock.wall_ns()
        self._index.refresh(engine)
        total = len(self._index)
        names, after = await self._index.select(wanted, engine.quality_of_twins(now_ns))
        summaries = await _summaries(engine, names, now_ns)
        return json_response(TwinPage(format_time(now_ns), total, after, summaries))

    async def get_twin(self, request: web.Request) -> web.Response:
        """One twin at ``at``."""
        at = query(request, "at").get("at", "now")
        engine, now_ns = self._view.engine, self._view.clock.wall_ns()
        last = self._estimate(engine, request.match_info["twin"], now_ns)
        at_ns = parse_at(at, now_ns, last.last_ns)
        estimate = last if at_ns is None else engine.estimate(last.twin, at_ns, now_ns)
        return json_response(twin_body(estimate))

    def _estimate(self, engine: Engine, name: str, now_ns: int) -> TwinEstimate:
        """The twin at its last fused sample; 404 with the nearest names when there is none of that name."""
        try:
            return engine.estimate(name, None, now_ns)
        except KeyError:
            raise unknown_twin(self._index, engine, name) from None


def unknown_twin(index: TwinIndex, engine: Engine, name: str) -> Problem:
    """404 with the nearest names."""
    index.refresh(engine)
    nearest = index.nearest(name)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "GET /api/v1/twins lists the twins"
    return Problem(404, f"there is no twin {name!r}", kind="unknown-twin", hint=hint, nearest=nearest)


async def _summaries(engine: Engine, names: list[str], now_ns: int) -> list[TwinSummary]:
    summaries = []
    for count, name in enumerate(names, start=1):
        summaries.append(twin_summary(engine.estimate(name, now_ns, now_ns)))
        if count % ESTIMATES_AT_A_TIME == 0:
            await asyncio.sleep(0)
    return summaries
