"""The OpenAPI 3.1 description of the API, written by hand; tests hold it against the routes and the records."""

from __future__ import annotations

from typing import Any

from edgetwin.engine.health import FAULTS, KINDS
from edgetwin.http.noise import noise_paths
from edgetwin.http.openapi_control import control_paths, control_schemas, security_schemes
from edgetwin.http.openapi_simulate import simulate_path, simulate_schemas
from edgetwin.http.queries import LIMIT_DEFAULT, LIMIT_MAX
from edgetwin.records import OUTCOMES, Quality

_QUALITIES = [q.name.lower() for q in Quality]
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": ["number", "null"], "description": "null when not finite or not known yet"}
_TIME = {"type": "string", "format": "date-time", "description": "UTC with nine decimals"}
_TIME_OR_NULL = {**_TIME, "type": ["string", "null"]}
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
    return {
        "/": _get("page", "The overview page", _content("text/html", _TEXT)),
        "/healthz": _get("health", "200 while the event loop lives", _json("Health")),
        "/readyz": _get("readiness", "Whether the daemon is ready", _json("Ready"), {"503": _json("Ready")}),
        "/metrics": _get("metrics", "Figures for Prometheus", _metrics()),
        "/api/openapi.json": _get("openapi", "This document", _content("application/json", {"type": "object"})),
        "/api/v1/status": _get("status", "The gateway at a glance", _json("Status")),
        "/api/v1/ledger": _get("ledger", "What became of every sample", _json("Ledger")),
        "/api/v1/twins": _get("listTwins", "Twins in order of name", _json("TwinPage"), _list_parameters()),
        "/api/v1/twins/{twin}": _get(
            "getTwin", "One twin at an instant", _json("Twin"), _twin_parameters(), "400", "404", "422"
        ),
        "/api/v1/twins/{twin}/simulate": simulate_path(),
        "/api/v1/twins/{twin}/noise": noise_paths(
            _twin_parameters()[0], _json("TwinNoise"), {"$ref": "#/components/responses/Problem"}
        ),
        **control_paths(),
    }


def _get(operation: str, summary: str, ok: Any, more: Any = None, *problems: str) -> dict[str, Any]:
    """A path with one GET; ``more`` is a list of parameters or a map of further responses."""
    get: dict[str, Any] = {"operationId": operation, "summary": summary, "responses": {"200": ok}}
    if isinstance(more, list):
        get["parameters"] = more
        problems = problems or ("400",)
    elif more:
        get["responses"] |= more
    get["responses"] |= {status: {"$ref": "#/components/responses/Problem"} for status in problems}
    get["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    return {"get": get}


def _content(kind: str, schema: Any) -> dict[str, Any]:
    return {"description": "OK", "content": {kind: {"schema": schema}}}


def _json(schema: str) -> dict[str, Any]:
    return _content("application/json", {"$ref": f"#/components/schemas/{schema}"})


def _metrics() -> dict[str, Any]:
    kinds = ("text/plain", "application/openmetrics-text")
    return {"description": "OK", "content": {kind: {"schema": _TEXT} for kind in kinds}}


def _problem_response() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": "RFC 9457", "content": {"application/problem+json": {"schema": schema}}}


def _parameter(name: str, description: str, schema: Any, place: str = "query") -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": schema,
    }


def _list_parameters() -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    return [
        _parameter("prefix", "only twins whose name begins so", _TEXT),
        _parameter("search", "only twins whose name contains this, in any case", _TEXT),
        _parameter("quality", "only twins of this quality", _QUALITY),
        _parameter("limit", "how many at most", limit),
        _parameter("after", "only twins after this name: `next` of the page before", _TEXT),
    ]


def _twin_parameters() -> list[dict[str, Any]]:
    at = {"type": "string", "default": "now", "examples": ["now", "last", "+10min", "2026-01-31T12:00:00Z"]}
    return [
        _parameter("twin", "name of the twin", _TEXT, "path"),
        _parameter("at", "now, last (the last fused sample), a time, or a step ahead of now", at),
    ]


def _record(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _map(schema: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": schema}


def _list(schema: Any) -> dict[str, Any]:
    return {"type": "array", "items": schema}


def _ref(schema: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _schemas() -> dict[str, Any]:
    named = {"twin": _TEXT, "model": _TEXT, "quality": _QUALITY, "reason": _TEXT, "last": _TIME_OR_NULL}
    states = {"states": _map(_ref("State"))}
    frames = {
        "last_error": _TEXT,
        "errors": _map(_COUNT),
        "frames": _map(_COUNT),
        "bytes_total": _COUNT,
        "backlog_bytes": _COUNT,
        "backlog_age_s": {"type": "number", "minimum": 0},
    }
    boolean = {"type": "boolean"}
    return {
        "State": _record(mean=_NUMBER, std=_NUMBER, unit=_TEXT),
        "Signal": _record(
            value=_NUMBER,
            at=_TIME_OR_NULL,
            nis=_NUMBER,
            noise=_NUMBER,
            unit=_TEXT,
            fused=_COUNT,
            gated=_COUNT,
            clock={"oneOf": [_record(offset_s=_NUMBER, jitter_s=_NUMBER), {"type": "null"}]},
            health={"oneOf": [_ref("SignalHealth"), {"type": "null"}]},
        ),
        "SignalHealth": _record(
            **dict.fromkeys(("nis", "nis_low", "nis_high", "bias", "whiteness", "gate_rate"), _NUMBER),
            samples=_COUNT,
            finding={"type": "string", "enum": list(KINDS)},
            fault={"type": "string", "enum": list(FAULTS)},
            confidence={"type": "number", "minimum": 0, "maximum": 1},
            weighed={"type": "boolean", "description": "false while the sensor is put aside"},
        ),
        "Twin": _record(**named, at=_TIME_OR_NULL, **states, signals=_map(_ref("Signal"))),
        "TwinSummary": _record(**named, **states),
        "TwinPage": _record(
            at=_TIME, total=_COUNT, next={"type": ["string", "null"]}, twins=_list(_ref("TwinSummary"))
        ),
        "TwinNoise": _record(
            twin=_TEXT,
            learning={"type": "string", "enum": ["on", "frozen"]},
            signals=_map(_ref("SignalNoise")),
            relations=_list(_ref("Relation")),
        ),
        "SignalNoise": _record(
            noise=_NUMBER,
            process_noise=_NUMBER,
            learned=_list({"type": "string", "enum": ["noise", "process_noise"]}),
            carry=_NUMBER,
            fade_s=_NUMBER,
            seasons=_list(_ref("Season")),
        ),
        "Season": _record(period_s=_NUMBER, harmonics=_COUNT, amplitude=_NUMBER),
        "Relation": _record(first=_TEXT, second=_TEXT, correlation=_NUMBER, samples=_COUNT),
        "Account": _record(received=_COUNT, **dict.fromkeys(OUTCOMES, _COUNT), balanced=boolean),
        "Ledger": _record(at=_TIME, sources=_map(_ref("Account")), total=_ref("Account")),
        "Source": _record(name=_TEXT, kind=_TEXT, up=boolean, messages=_COUNT, last_error=_TEXT),
        "Uplink": _record(up=boolean, **frames),
        "Status": _status(boolean),
        **simulate_schemas(),
        **control_schemas(),
        "Health": _record(status={"const": "ok"}, version=_TEXT, uptime_s={"type": "number"}),
        "Ready": _record(ready=boolean, reasons=_list(_TEXT)),
        "Problem": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "format": "uri"},
                "title": _TEXT,
                "status": {"type": "integer"},
                "detail": _TEXT,
                "hint": {"type": "string", "description": "what to do about it"},
            },
            "required": ["type", "title", "status", "detail"],
        },
    }


def _status(boolean: dict[str, Any]) -> dict[str, Any]:
    return _record(
        gateway=_TEXT,
        version=_TEXT,
        started=_TIME,
        at=_TIME,
        ready=boolean,
        reasons=_list(_TEXT),
        twins=_COUNT,
        quality=_record(**dict.fromkeys(_QUALITIES, _COUNT)),
        sources=_list(_ref("Source")),
        uplink={"oneOf": [_ref("Uplink"), {"type": "null"}]},
    )
