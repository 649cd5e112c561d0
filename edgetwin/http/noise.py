"""``/api/v1/twins/{twin}/noise``: what a twin has learned of its noise, and whether it goes on learning."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from edgetwin.engine.noise import Learning
from edgetwin.http.bodies import json_response
from edgetwin.http.index import TwinIndex
from edgetwin.http.openapi_parts import TWIN, answer, operation, record, ref
from edgetwin.http.problems import Problem
from edgetwin.http.queries import query
from edgetwin.http.twins import unknown_twin
from edgetwin.http.view import DaemonView


class NoiseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``frozen`` holds what has been learned, ``on`` goes on learning."""

    learning: Learning


class NoiseRoutes:
    """Handlers; they run on the event loop, which owns the engine."""

    def __init__(self, view: DaemonView) -> None:
        self._view = view
        self._index = TwinIndex()

    async def get(self, request: web.Request) -> web.Response:
        """What the twin has learned."""
        query(request)
        return self._answer(request.match_info["twin"])

    async def post(self, request: web.Request) -> web.Response:
        """Freeze or go on; answers as GET does, after the change."""
        query(request)
        if request.content_type != "application/json":
            raise Problem(415, "the request must be JSON", hint="send Content-Type: application/json")
        try:
            wanted = msgspec.json.decode(await request.read(), type=NoiseRequest)
        except msgspec.ValidationError as exc:
            raise Problem(422, str(exc), kind="invalid-request", hint='send {"learning": "frozen"}') from exc
        except msgspec.DecodeError as exc:
            raise Problem(400, f"the body is not JSON: {exc}") from exc
        name = request.match_info["twin"]
        try:
            self._view.engine.set_noise_learning(name, wanted.learning)
        except KeyError:
            raise unknown_twin(self._index, self._view.engine, name) from None
        return self._answer(name)

    def _answer(self, name: str) -> web.Response:
        try:
            return json_response(self._view.engine.noise(name))
        except KeyError:
            raise unknown_twin(self._index, self._view.engine, name) from None


def noise_path() -> dict[str, Any]:
    """The path in OpenAPI."""
    learned, wanted = answer(ref("TwinNoise")), record(learning={"type": "string", "enum": ["on", "frozen"]})
    summary = "What a twin has learned of noise, dynamics, seasons and relations"
    change, problems = "Hold what has been learned, or go on learning", ["400", "404", "415", "422"]
    return {
        "get": operation("getNoise", summary, learned, [TWIN], ["404"]),
        "post": operation("setNoiseLearning", change, learned, [TWIN], problems, wanted),
    }
