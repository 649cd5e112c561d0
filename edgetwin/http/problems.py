"""Errors as RFC 9457 problem documents, made in one place for every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from aiohttp import web

from edgetwin.errors import EdgetwinError

log = structlog.get_logger()

BODY_BYTES_MAX = 65_536
_KEPT_HEADERS = ("Allow", "Retry-After", "Location")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(EdgetwinError):  # noqa: N818 - the name RFC 9457 gives it
    """An answer that is an error.

    ``kind`` becomes ``type`` as ``urn:edgetwin:problem:{kind}`` (``about:blank`` when empty); ``headers`` go with the
    answer; ``extra`` are the document's extension members.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        kind: str = "",
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(detail, hint=hint)
        self.headers = headers
        self.status = status
        self.kind = kind
        self.extra = extra

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        status = HTTPStatus(self.status)
        body: dict[str, Any] = {
            "type": f"urn:edgetwin:problem:{self.kind}" if self.kind else "about:blank",
            "title": self.kind.replace("-", " ").capitalize() or status.phrase,
            "status": self.status,
            "detail": self.message or status.description or status.phrase,
        }
        if self.hint:
            body["hint"] = self.hint
        return body | self.extra

    def response(self, headers: Mapping[str, str] | None = None) -> web.Response:
        """The document as an answer."""
        return web.Response(
            body=msgspec.json.encode(self.document()),
            status=self.status,
            content_type="application/problem+json",
            headers=headers,
        )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem document; the cause of a 500 goes to the log only."""
    return await answered(request, handler, BODY_BYTES_MAX)


async def answered(request: web.Request, handler: Handler, body_bytes_max: int) -> web.StreamResponse:
    """The same for bodies of at most ``body_bytes_max``."""
    try:
        _check_size(request, body_bytes_max)
        return await handler(request)
    except Problem as problem:
        return problem.response(problem.headers)
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        kept = {name: exc.headers[name] for name in _KEPT_HEADERS if name in exc.headers}
        return Problem(exc.status).response(kept)
    except Exception as exc:
        log.error("http_request_failed", method=request.method, path=request.path, exc_info=exc)
        return Problem(500, "the request failed; the log says why").response()


def _check_size(request: web.Request, body_bytes_max: int) -> None:
    if (request.content_length or 0) > body_bytes_max:
        raise Problem(413, f"a request body may have at most {body_bytes_max} bytes")
