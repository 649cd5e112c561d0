"""Outputs over HTTP: what they are, commands, arming, and the audit."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import hdrs, web

from edgetwin.clock import NS
from edgetwin.control.audit import Entry
from edgetwin.control.commands import BODY_BYTES_MAX, NotAuthorisedError, NotUnderstoodError, read_command
from edgetwin.control.output import Output
from edgetwin.control.records import Result, Step
from edgetwin.errors import JournalError
from edgetwin.http.bodies import (
    AuditBody,
    CommandAnswerBody,
    EntryBody,
    OutputBody,
    OutputsBody,
    json_response,
    time_or_none,
)
from edgetwin.http.problems import Problem
from edgetwin.http.queries import parse_limit, query
from edgetwin.http.times import format_time
from edgetwin.http.view import ActingView, DaemonView

T = TypeVar("T")

COMMANDER = "http"
FAILURES_MAX, FAILURES_KEPT = 10, 1_000
FAILURES_WINDOW_NS = 10 * NS
_STATUS = {
    Step.LISTED: 404,
    Step.RANGE: 422,
    Step.RATE: 429,
}


class ControlRoutes:
    """Handlers. Whoever changes something proves himself with the bearer token of ``commands.token_file``."""

    def __init__(self, view: DaemonView) -> None:
        self._view = view
        self._failures: deque[tuple[str | None, int]] = deque(maxlen=FAILURES_KEPT)
        self._running: set[asyncio.Future[Any]] = set()

    async def command(self, request: web.Request) -> web.Response:
        """Judge and carry out one command; the answer comes when the device has been read back."""
        query(request)
        acting = await self._authorised(request)
        now_ns = self._view.clock.wall_ns()
        ttl_max = float(self._view.engine.config.commands.ttl_max)
        twin = request.match_info["twin"]
        body = await request.read()
        try:
            command = read_command(
                body[: BODY_BYTES_MAX + 1],
                commander=COMMANDER,
                twin=twin,
                now_ns=now_ns,
                ttl_max_s=ttl_max,
                origin="http",
            )
        except NotUnderstoodError as exc:
            await acting.refused(exc, "http")
            raise Problem(400, exc.message, kind="bad-command", hint=exc.hint, step="understood") from None
        try:
            decision, result = await self._to_its_end(acting.controller.submit(command))
        except JournalError as exc:
            raise Problem(503, exc.message, kind="not-audited", hint=exc.hint) from None
        if decision.step is not None:
            status = _STATUS.get(decision.step, 409)
            raise Problem(status, decision.reason, kind="command-refused", step=decision.step.value, id=command.id)
        assert result is not None
        if result is Result.FAILED:
            fault = acting.controller.outputs[twin, command.output].fault
            raise Problem(502, fault, kind="write-failed", hint="the output fell back and is disarmed", id=command.id)
        return json_response(CommandAnswerBody(command.id, twin, command.output, command.value, result.value))

    async def outputs(self, request: web.Request) -> web.Response:
        """The outputs of a twin."""
        query(request)
        acting, twin = self._acting(), request.match_info["twin"]
        found = {o.name: o for (name, _), o in acting.controller.outputs.items() if name == twin}
        if not found:
            raise Problem(404, f"{twin!r} has no outputs", kind="unknown-output")
        now_ns = self._view.clock.wall_ns()
        return json_response(OutputsBody(twin, {name: _output_body(o, now_ns) for name, o in found.items()}))

    async def arm(self, request: web.Request) -> web.Response:
        """Arm an output."""
        return await self._set_armed(request, armed=True)

    async def disarm(self, request: web.Request) -> web.Response:
        """Disarm an output; it falls back."""
        return await self._set_armed(request, armed=False)

    async def audit(self, request: web.Request) -> web.Response:
        """The last decisions, newest first."""
        limit = parse_limit(query(request, "limit").get("limit"))
        acting = await self._authorised(request)
        entries = list(acting.controller.audit.recent)[-limit:]
        return json_response(AuditBody(acting.controller.audit.durable, [_entry_body(e) for e in reversed(entries)]))

    async def _set_armed(self, request: web.Request, *, armed: bool) -> web.Response:
        query(request)
        acting = await self._authorised(request)
        if armed and not _is_local(request.remote):
            detail = "an output is armed at the gateway itself, not from afar"
            raise Problem(403, detail, kind="not-local", hint="use 127.0.0.1, as `edgetwin arm` does")
        twin, name = request.match_info["twin"], request.match_info["output"]
        try:
            await self._to_its_end(acting.controller.arm(twin, name, armed, f"http {request.remote}"))
        except KeyError:
            raise Problem(404, f"{twin!r} has no output {name!r}", kind="unknown-output") from None
        except JournalError as exc:
            raise Problem(503, exc.message, kind="not-audited", hint=exc.hint) from None
        output = acting.controller.outputs[twin, name]
        return json_response(_output_body(output, self._view.clock.wall_ns()))

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """A client that hangs up stops nothing half-way: a write is verified and audited all the same."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    # ---- who asks

    def _acting(self) -> ActingView:
        acting = self._view.acting
        if acting is None:
            raise Problem(404, "the configuration has no outputs", kind="unknown-output")
        return acting

    async def _authorised(self, request: web.Request) -> ActingView:
        acting = self._acting()
        if acting.token is None:
            hint = "set commands.token_file in the configuration"
            raise Problem(403, "commands over HTTP are off", kind="not-authorised", hint=hint, step="authorised")
        self._refuse_guessing(request.remote)
        given = request.headers.get(hdrs.AUTHORIZATION, "")
        if not hmac.compare_digest(given.encode(), f"Bearer {acting.token}".encode()):
            self._failures.append((request.remote, self._view.clock.monotonic_ns()))
            await acting.refused(NotAuthorisedError(f"wrong or no bearer token from {request.remote}"), "http")
            raise Problem(401, "a bearer token is needed", kind="not-authorised", step="authorised")
        return acting

    def _refuse_guessing(self, remote: str | None) -> None:
        """Who guesses is shut out for a while, and nobody else."""
        now_ns = self._view.clock.monotonic_ns()
        while self._failures and now_ns - self._failures[0][1] >= FAILURES_WINDOW_NS:
            self._failures.popleft()
        if sum(who == remote for who, _ in self._failures) >= FAILURES_MAX:
            raise Problem(429, "too many wrong tokens", kind="not-authorised", step="authorised")


def _is_local(remote: str | None) -> bool:
    try:
        return ipaddress.ip_address(remote or "").is_loopback
    except ValueError:
        return False


def _output_body(output: Output, now_ns: int) -> OutputBody:
    low, high = output.spec.range
    return OutputBody(
        output.spec.unit,
        (low, high),
        output.spec.mode,
        output.armed,
        None if math.isnan(output.written) else output.written,
        output.spec.fallback,
        output.holder if output.held(now_ns) else None,
        time_or_none(output.until_ns if output.held(now_ns) else 0),
        output.fault,
        output.writes_today(now_ns),
        output.spec.writes_per_day,
    )


def _entry_body(entry: Entry) -> EntryBody:
    return EntryBody(entry.n, format_time(entry.t_ns), entry.kind, entry.data)
