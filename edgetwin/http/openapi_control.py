"""The part of the OpenAPI description that is about outputs."""

from __future__ import annotations

from typing import Any

from edgetwin.http.queries import LIMIT_DEFAULT, LIMIT_MAX

_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_BOOLEAN = {"type": "boolean"}
_TIME = {"type": "string", "format": "date-time"}
_PROBLEM = {"$ref": "#/components/responses/Problem"}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]


def control_paths() -> dict[str, Any]:
    """Paths of outputs, commands and the audit."""
    twin, output = _path("twin", "name of the twin"), _path("output", "name of the output")
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    last = {"name": "limit", "in": "query", "required": False, "description": "how many at most", "schema": limit}
    command = {"requestBody": {"required": True, "content": _json("Command")}, "security": _SECURITY}
    arming = {"security": _SECURITY}
    of_twin, of_output = "/api/v1/twins/{twin}", "/api/v1/twins/{twin}/outputs/{output}"
    return {
        f"{of_twin}/outputs": {"get": _operation("listOutputs", "Outputs of a twin", "Outputs", [twin], "404")},
        f"{of_twin}/commands": {
            "post": _operation("command", "Set an output; the gate may refuse", "CommandAnswer", [twin], *_REFUSED)
            | command
        },
        f"{of_output}/arm": {
            "post": _operation("arm", "Arm an output, at the gateway", "Output", [twin, output], *_ARMING) | arming
        },
        f"{of_output}/disarm": {
            "post": _operation("disarm", "Disarm an output", "Output", [twin, output], *_ARMING) | arming
        },
        "/api/v1/audit": {
            "get": _operation("audit", "The last decisions", "Audit", [last], "401", "403", "404") | arming
        },
    }


_REFUSED = ("400", "401", "403", "404", "409", "422", "429", "502", "503")
_ARMING = ("401", "403", "404", "503")


def control_schemas() -> dict[str, Any]:
    """Command and answers."""
    body = {
        "id": {**_TEXT, "minLength": 1, "maxLength": 128, "description": "never to be used twice"},
        "output": _TEXT,
        "value": _NUMBER,
        "twin": _TEXT,
        "issued": {**_TIME, "description": "now when absent"},
        "ttl": {**_NUMBER, "default": 5, "description": "seconds after issued in which it may be carried out"},
    }
    required = ["id", "output", "value"]
    data = {"type": "object", "additionalProperties": {"type": ["null", "boolean", "integer", "number", "string"]}}
    return {
        "Command": {"type": "object", "properties": body, "required": required, "additionalProperties": False},
        "CommandAnswer": _record(
            id=_TEXT, twin=_TEXT, output=_TEXT, value=_NUMBER, outcome={**_TEXT, "enum": ["written", "renewed"]}
        ),
        "Output": _record(
            unit=_TEXT,
            range={"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
            mode={**_TEXT, "enum": ["shadow", "active"]},
            armed=_BOOLEAN,
            value={"type": ["number", "null"], "description": "null when it is not known what the device holds"},
            fallback=_NUMBER,
            holder={"type": ["string", "null"]},
            until={**_TIME, "type": ["string", "null"]},
            fault=_TEXT,
            writes_today=_COUNT,
            writes_per_day=_COUNT,
        ),
        "Outputs": _record(
            twin=_TEXT, outputs={"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Output"}}
        ),
        "Entry": _record(n=_COUNT, at=_TIME, kind=_TEXT, data=data),
        "Audit": _record(durable=_BOOLEAN, entries={"type": "array", "items": {"$ref": "#/components/schemas/Entry"}}),
    }


def security_schemes() -> dict[str, Any]:
    """How a commander proves himself."""
    return {"bearer": {"type": "http", "scheme": "bearer"}}


def _operation(name: str, summary: str, schema: str, parameters: list[Any], *problems: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", "content": _json(schema)},
            **dict.fromkeys((*problems, "default"), _PROBLEM),
        },
    }


def _path(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": _TEXT}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _record(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
