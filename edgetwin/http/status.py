"""How the daemon is: health, readiness, status and the ledger."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from edgetwin.clock import NS
from edgetwin.http.bodies import (
    HealthBody,
    LedgerBody,
    ReadyBody,
    SourceBody,
    StatusBody,
    UplinkBody,
    json_response,
)
from edgetwin.http.queries import query
from edgetwin.http.times import format_time
from edgetwin.http.view import DaemonView, UplinkView
from edgetwin.records import OUTCOMES, Quality


class StatusRoutes:
    """Handlers that need little more than attributes."""

    def __init__(self, view: DaemonView) -> None:
        self._view = view
        self._started_ns = view.clock.monotonic_ns()

    async def healthz(self, _request: web.Request) -> web.Response:
        """200 while the event loop lives."""
        uptime_s = (self._view.clock.monotonic_ns() - self._started_ns) / NS
        return json_response(HealthBody("ok", self._view.version, round(uptime_s, 3)))

    async def readyz(self, _request: web.Request) -> web.Response:
        """200 or 503, with reasons."""
        body = ReadyBody(self._view.ready, list(self._view.reasons))
        return json_response(body, 200 if body.ready else 503)

    async def status(self, request: web.Request) -> web.Response:
        """The gateway at a glance."""
        query(request)
        view, now_ns = self._view, self._view.clock.wall_ns()
        counts = view.engine.quality_counts(now_ns).tolist()
        body = StatusBody(
            gateway=view.engine.config.gateway,
            version=view.version,
            started=format_time(view.started_ns),
            at=format_time(now_ns),
            ready=view.ready,
            reasons=list(view.reasons),
            twins=sum(counts),
            quality={q.name.lower(): counts[q] for q in Quality},
            sources=[SourceBody(s.name, s.kind, s.up, s.messages, s.last_error) for s in view.sources],
            uplink=_uplink_body(view.uplink),
        )
        return json_response(body)

    async def ledger(self, request: web.Request) -> web.Response:
        """What became of every sample, and of every frame."""
        query(request)
        engine = self._view.engine
        received, counts = engine.ledger.received, engine.ledger.counts
        sources = {name: _account(received[i], counts[i]) for i, name in enumerate(engine.sources)}
        total = _account(received.sum(), counts.sum(axis=0))
        total["balanced"] = engine.ledger.balanced()
        account = self._view.outbox.account
        frames = {**asdict(account), "balanced": account.balanced}
        return json_response(LedgerBody(format_time(self._view.clock.wall_ns()), sources, total, frames))


def _uplink_body(uplink: UplinkView | None) -> UplinkBody | None:
    if uplink is None:
        return None
    return UplinkBody(
        up=uplink.up,
        last_error=uplink.last_error,
        errors=dict(uplink.errors),
        frames=dict(uplink.frames),
        bytes_total=uplink.bytes_total,
        backlog_bytes=uplink.backlog_bytes,
        backlog_age_s=uplink.backlog_age_s,
    )


def _account(received: np.int64, counts: NDArray[np.int64]) -> dict[str, int | bool]:
    """Received, each outcome, and whether they balance."""
    account: dict[str, int | bool] = {"received": int(received)}
    account.update(zip(OUTCOMES, counts.tolist(), strict=True))
    account["balanced"] = bool(counts.sum() == received)
    return account
