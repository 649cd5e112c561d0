"""The aiohttp application: routes, error documents, headers."""

from __future__ import annotations

from aiohttp import hdrs, web

from edgetwin.engine.whatif import Simulator
from edgetwin.http.admission import mark_busy
from edgetwin.http.bodies import json_response
from edgetwin.http.control import ControlRoutes
from edgetwin.http.metrics import MetricsRoute
from edgetwin.http.noise import NoiseRoutes
from edgetwin.http.openapi import openapi
from edgetwin.http.page import Page
from edgetwin.http.problems import BODY_BYTES_MAX, problems
from edgetwin.http.simulate import SimulateRoute
from edgetwin.http.status import StatusRoutes
from edgetwin.http.twins import TwinRoutes
from edgetwin.http.view import DaemonView

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    hdrs.CACHE_CONTROL: "no-store",
}


def make_app(view: DaemonView, simulator: Simulator | None = None) -> web.Application:
    """All routes over ``view``. Serve it with :func:`edgetwin.http.server.serve`, which bounds its clients.

    ``simulator`` runs the what-ifs; one of its own when None.
    """
    app = web.Application(middlewares=[mark_busy, problems], client_max_size=BODY_BYTES_MAX)
    status, twins, simulations = StatusRoutes(view), TwinRoutes(view), SimulateRoute(view, simulator)
    control = ControlRoutes(view)
    noise = NoiseRoutes(view)
    specification = openapi(view.version)

    async def get_openapi(_request: web.Request) -> web.Response:
        return json_response(specification)

    app.router.add_get("/", Page().get)
    app.router.add_get("/healthz", status.healthz)
    app.router.add_get("/readyz", status.readyz)
    app.router.add_get("/metrics", MetricsRoute(view).metrics)
    app.router.add_get("/api/openapi.json", get_openapi)
    app.router.add_get("/api/v1/status", status.status)
    app.router.add_get("/api/v1/ledger", status.ledger)
    app.router.add_get("/api/v1/twins", twins.list_twins)
    app.router.add_get("/api/v1/twins/{twin}", twins.get_twin)
    app.router.add_post("/api/v1/twins/{twin}/simulate", simulations.simulate)
    app.router.add_get("/api/v1/twins/{twin}/outputs", control.outputs)
    app.router.add_post("/api/v1/twins/{twin}/commands", control.command)
    app.router.add_post("/api/v1/twins/{twin}/outputs/{output}/arm", control.arm)
    app.router.add_post("/api/v1/twins/{twin}/outputs/{output}/disarm", control.disarm)
    app.router.add_get("/api/v1/audit", control.audit)
    app.on_cleanup.append(simulations.close)
    app.router.add_get("/api/v1/twins/{twin}/noise", noise.get)
    app.router.add_post("/api/v1/twins/{twin}/noise", noise.post)
    app.on_response_prepare.append(_add_headers)
    return app


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers[hdrs.SERVER] = "edgetwin"
