"""The OpenAPI 3.1 description of the API, written by hand; tests hold it against the routes and the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgetwin.engine.health import FAULTS, KINDS
from edgetwin.http.noise import noise_path
from edgetwin.http.openapi_control import control_paths, control_schemas, security_schemes
from edgetwin.http.openapi_parts import (
    BOOLEAN,
    COUNT,
    LIMIT,
    NUMBER_OR_NULL,
    TEXT,
    TIME,
    TIME_OR_NULL,
    TWIN,
    answer,
    content,
    list_of,
    map_of,
    operation,
    parameter,
    record,
    ref,
)
from edgetwin.http.openapi_simulate import simulate_path, simulate_schemas
from edgetwin.records import OUTCOMES, Quality

_QUALITIES = [q.name.lower() for q in Quality]
_FRAMES = ("enqueued", "restored", "acknowledged", "dropped", "waiting", "staged")
_QUALITY = {"type": "string", "enum": _QUALITIES}


def openapi(version: str) -> dict[str, Any]:
    """The document for a release."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgetwin",
            "version": version,
            "summary": "Live digital twins of one edge gateway",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "responses": {"Problem": _problem_response()},
            "securitySchemes": security_schemes(),
        },
    }


def _paths() -> dict[str, Any]:
    ready = _get("readiness", "Whether the daemon is ready", answer(ref("Ready")))
    ready["get"]["responses"]["503"] = answer(ref("Ready"))
    return {
        "/": _get("page", "The overview page", answer(TEXT, "text/html")),
        "/healthz": _get("health", "200 while the event loop lives", answer(ref("Health"))),
        "/readyz": ready,
        "/metrics": _get("metrics", "Figures for Prometheus", _metrics()),
        "/api/openapi.json": _get("openapi", "This document", answer({"type": "object"})),
        "/api/v1/status": _get("status", "The gateway at a glance", answer(ref("Status"))),
        "/api/v1/ledger": _get("ledger", "What became of every sample and every frame", answer(ref("Ledger"))),
        "/api/v1/twins": _get(
            "listTwins", "Twins in order of name", answer(ref("TwinPage")), _list_parameters(), ["400"]
        ),
        "/api/v1/twins/{twin}": _get(
            "getTwin", "One twin at an instant", answer(ref("Twin")), [TWIN, _at()], ["400", "404", "422"]
        ),
        "/api/v1/twins/{twin}/simulate": simulate_path(),
        "/api/v1/twins/{twin}/noise": noise_path(),
        **control_paths(),
    }


def _get(
    name: str, summary: str, ok: Any, parameters: Sequence[Any] = (), problems: Sequence[str] = ()
) -> dict[str, Any]:
    """A path with one GET."""
    return {"get": operation(name, summary, ok, parameters, problems)}


def _metrics() -> dict[str, Any]:
    kinds = ("text/plain", "application/openmetrics-text")
    return {"description": "OK", "content": {kind: {"schema": TEXT} for kind in kinds}}


def _problem_response() -> dict[str, Any]:
    return {"description": "RFC 9457", "content": content(ref("Problem"), "application/problem+json")}


def _list_parameters() -> list[dict[str, Any]]:
    return [
        parameter("prefix", "only twins whose name begins so", TEXT),
        parameter("search", "only twins whose name contains this, in any case", TEXT),
        parameter("quality", "only twins of this quality", _QUALITY),
        LIMIT,
        parameter("after", "only twins after this name: `next` of the page before", TEXT),
    ]


def _at() -> dict[str, Any]:
    at = {"type": "string", "default": "now", "examples": ["now", "last", "+10min", "2026-01-31T12:00:00Z"]}
    return parameter("at", "now, last (the last fused sample), a time, or a step ahead of now", at)


def _schemas() -> dict[str, Any]:
    named = {"twin": TEXT, "model": TEXT, "quality": _QUALITY, "reason": TEXT, "last": TIME_OR_NULL}
    states = {"states": map_of(ref("State"))}
    frames = {
        "last_error": TEXT,
        "errors": map_of(COUNT),
        "frames": map_of(COUNT),
        "bytes_total": COUNT,
        "backlog_bytes": COUNT,
        "backlog_age_s": {"type": "number", "minimum": 0},
    }
    return {
        "State": record(mean=NUMBER_OR_NULL, std=NUMBER_OR_NULL, unit=TEXT),
        "Signal": record(
            value=NUMBER_OR_NULL,
            at=TIME_OR_NULL,
            nis=NUMBER_OR_NULL,
            noise=NUMBER_OR_NULL,
            unit=TEXT,
            fused=COUNT,
            gated=COUNT,
            clock={"oneOf": [record(offset_s=NUMBER_OR_NULL, jitter_s=NUMBER_OR_NULL), {"type": "null"}]},
            health={"oneOf": [ref("SignalHealth"), {"type": "null"}]},
        ),
        "SignalHealth": record(
            **dict.fromkeys(("nis", "nis_low", "nis_high", "bias", "whiteness", "gate_rate"), NUMBER_OR_NULL),
            samples=COUNT,
            finding={"type": "string", "enum": list(KINDS)},
            fault={"type": "string", "enum": list(FAULTS)},
            confidence={"type": "number", "minimum": 0, "maximum": 1},
            weighed={"type": "boolean", "description": "false while the sensor is put aside"},
        ),
        "Twin": record(**named, at=TIME_OR_NULL, **states, signals=map_of(ref("Signal"))),
        "TwinSummary": record(**named, **states),
        "TwinPage": record(at=TIME, total=COUNT, next={"type": ["string", "null"]}, twins=list_of(ref("TwinSummary"))),
        "TwinNoise": record(
            twin=TEXT,
            learning={"type": "string", "enum": ["on", "frozen"]},
            signals=map_of(ref("SignalNoise")),
            relations=list_of(ref("Relation")),
        ),
        "SignalNoise": record(
            noise=NUMBER_OR_NULL,
            process_noise=NUMBER_OR_NULL,
            learned=list_of({"type": "string", "enum": ["noise", "process_noise"]}),
            carry=NUMBER_OR_NULL,
            fade_s=NUMBER_OR_NULL,
            seasons=list_of(ref("Season")),
        ),
        "Season": record(period_s=NUMBER_OR_NULL, harmonics=COUNT, amplitude=NUMBER_OR_NULL),
        "Relation": record(first=TEXT, second=TEXT, correlation=NUMBER_OR_NULL, samples=COUNT),
        "Account": record(received=COUNT, **dict.fromkeys(OUTCOMES, COUNT), balanced=BOOLEAN),
        "Ledger": record(at=TIME, sources=map_of(ref("Account")), total=ref("Account"), frames=ref("FrameAccount")),
        "FrameAccount": record(**dict.fromkeys(_FRAMES, COUNT), balanced=BOOLEAN),
        "Source": record(name=TEXT, kind=TEXT, up=BOOLEAN, messages=COUNT, last_error=TEXT),
        "Uplink": record(up=BOOLEAN, **frames),
        "Status": _status(),
        **simulate_schemas(),
        **control_schemas(),
        "Health": record(status={"const": "ok"}, version=TEXT, uptime_s={"type": "number"}),
        "Ready": record(ready=BOOLEAN, reasons=list_of(TEXT)),
        "Problem": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "format": "uri"},
                "title": TEXT,
                "status": {"type": "integer"},
                "detail": TEXT,
                "hint": {"type": "string", "description": "what to do about it"},
            },
            "required": ["type", "title", "status", "detail"],
        },
    }


def _status() -> dict[str, Any]:
    return record(
        gateway=TEXT,
        version=TEXT,
        started=TIME,
        at=TIME,
        ready=BOOLEAN,
        reasons=list_of(TEXT),
        twins=COUNT,
        quality=record(**dict.fromkeys(_QUALITIES, COUNT)),
        sources=list_of(ref("Source")),
        uplink={"oneOf": [ref("Uplink"), {"type": "null"}]},
    )
