"""The part of the OpenAPI description that is about outputs."""

from __future__ import annotations

from typing import Any

from edgetwin.http.openapi_parts import (
    BOOLEAN,
    COUNT,
    LIMIT,
    NUMBER,
    NUMBER_OR_NULL,
    TEXT,
    TIME,
    TIME_OR_NULL,
    TWIN,
    answer,
    list_of,
    map_of,
    operation,
    parameter,
    record,
    ref,
    tuple_of,
)

_OUTPUT = parameter("output", "name of the output", TEXT, "path")
_BY_TOKEN: dict[str, Any] = {"security": [{"bearer": []}]}
_REFUSED = ("400", "401", "403", "404", "409", "422", "429", "502", "503")
_ARMING = ("401", "403", "404", "503")


def control_paths() -> dict[str, Any]:
    """Paths of outputs, commands and the audit."""
    outputs = operation("listOutputs", "Outputs of a twin", answer(ref("Outputs")), [TWIN], ["404"])
    command = operation(
        "command", "Set an output; the gate may refuse", answer(ref("CommandAnswer")), [TWIN], _REFUSED, ref("Command")
    )
    audit = operation("audit", "The last decisions", answer(ref("Audit")), [LIMIT], ["401", "403", "404"])
    of_twin = "/api/v1/twins/{twin}"
    return {
        f"{of_twin}/outputs": {"get": outputs},
        f"{of_twin}/commands": {"post": command | _BY_TOKEN},
        f"{of_twin}/outputs/{{output}}/arm": _arming("arm", "Arm an output, at the gateway"),
        f"{of_twin}/outputs/{{output}}/disarm": _arming("disarm", "Disarm an output"),
        "/api/v1/audit": {"get": audit | _BY_TOKEN},
    }


def _arming(name: str, summary: str) -> dict[str, Any]:
    return {"post": operation(name, summary, answer(ref("Output")), [TWIN, _OUTPUT], _ARMING) | _BY_TOKEN}


def control_schemas() -> dict[str, Any]:
    """Command and answers."""
    command = record(
        id={**TEXT, "minLength": 1, "maxLength": 128, "description": "never to be used twice"},
        output=TEXT,
        value=NUMBER,
        twin=TEXT,
        issued={"type": "string", "format": "date-time", "description": "now when absent"},
        ttl={**NUMBER, "default": 5, "description": "seconds after issued in which it may be carried out"},
    )
    return {
        "Command": {**command, "required": ["id", "output", "value"]},
        "CommandAnswer": record(
            id=TEXT, twin=TEXT, output=TEXT, value=NUMBER, outcome={**TEXT, "enum": ["written", "renewed"]}
        ),
        "Output": record(
            unit=TEXT,
            range=tuple_of(NUMBER, 2),
            mode={**TEXT, "enum": ["shadow", "active"]},
            armed=BOOLEAN,
            value={**NUMBER_OR_NULL, "description": "null when it is not known what the device holds"},
            fallback=NUMBER,
            holder={"type": ["string", "null"]},
            until=TIME_OR_NULL,
            fault=TEXT,
            writes_today=COUNT,
            writes_per_day=COUNT,
        ),
        "Outputs": record(twin=TEXT, outputs=map_of(ref("Output"))),
        "Entry": record(
            n=COUNT, at=TIME, kind=TEXT, data=map_of({"type": ["null", "boolean", "integer", "number", "string"]})
        ),
        "Audit": record(durable=BOOLEAN, entries=list_of(ref("Entry"))),
    }


def security_schemes() -> dict[str, Any]:
    """How a commander proves himself."""
    return {"bearer": {"type": "http", "scheme": "bearer"}}
