"""Health, readiness, status and ledger."""

from __future__ import annotations

from edgetwin.http.times import format_time
from edgetwin.records import OUTCOMES, Event, Outcome
from tests.engine.build import T0
from tests.http.build import NOW, Asking, View
from tests.http.conftest import Get


async def test_health(get: Get, view: View) -> None:
    view.clock.advance(1_500_000_000)
    assert await get("/healthz") == (200, {"status": "ok", "version": "1.2.3", "uptime_s": 1.5})


async def test_readiness(get: Get, view: View) -> None:
    assert await get("/readyz") == (200, {"ready": True, "reasons": []})
    view.ready, view.reasons = False, ["kernels are being compiled"]
    assert await get("/readyz") == (503, {"ready": False, "reasons": ["kernels are being compiled"]})


async def test_status(get: Get, view: View) -> None:
    view.sources.append(Asking("plc"))
    _, body = await get("/api/v1/status")
    assert body == {
        "gateway": "g",
        "version": "1.2.3",
        "started": format_time(T0),
        "at": format_time(NOW),
        "ready": True,
        "reasons": [],
        "twins": 3,
        "quality": {"good": 0, "uncertain": 3, "bad": 0},
        "sources": [
            {"name": "plant", "kind": "mqtt", "up": True, "messages": 60, "last_error": ""},
            {"name": "plc", "kind": "modbus", "up": False, "messages": 0, "last_error": "timed out"},
        ],
        "uplink": {
            "up": True,
            "last_error": "",
            "errors": {"certificate": 2, "lost": 0},
            "frames": {"acknowledged": 5, "dropped": 0},
            "bytes_total": 12345,
            "backlog_bytes": 67,
            "backlog_age_s": 8.5,
        },
    }
    view.uplink = None
    assert (await get("/api/v1/status"))[1]["uplink"] is None


async def test_ledger(get: Get, view: View) -> None:
    _, body = await get("/api/v1/ledger")
    account = dict.fromkeys(OUTCOMES, 0) | {"received": 62, "fused": 60, "invalid": 2, "balanced": True}
    frames = dict.fromkeys(("enqueued", "restored", "acknowledged", "dropped", "waiting", "staged"), 0)
    empty = {**frames, "balanced": True}
    assert body == {"at": format_time(NOW), "sources": {"plant": account}, "total": account, "frames": empty}
    view.outbox.put([], [Event("a", NOW)])
    view.outbox.put([], [Event("b", NOW)])
    view.outbox.drop((view.outbox.epoch, 0), "test")
    _, body = await get("/api/v1/ledger")
    assert body["frames"] == {**empty, "enqueued": 2, "dropped": 1, "waiting": 1}
    view.engine.ledger.counts[0, Outcome.OVERFLOW] += 1
    _, body = await get("/api/v1/ledger")
    assert (body["total"]["balanced"], body["sources"]["plant"]["balanced"]) == (False, False)
