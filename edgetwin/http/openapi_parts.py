"""What the parts of the OpenAPI description are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgetwin.http.queries import LIMIT_DEFAULT, LIMIT_MAX

TEXT = {"type": "string"}
BOOLEAN = {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
NUMBER = {"type": "number"}
NUMBER_OR_NULL = {"type": ["number", "null"], "description": "null when not finite or not known yet"}
TIME = {"type": "string", "format": "date-time", "description": "UTC with nine decimals"}
TIME_OR_NULL = {**TIME, "type": ["string", "null"]}
PROBLEM = {"$ref": "#/components/responses/Problem"}


def ref(schema: str) -> dict[str, Any]:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def record(**properties: Any) -> dict[str, Any]:
    """An object with all of these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def map_of(schema: Any) -> dict[str, Any]:
    """An object from names to this."""
    return {"type": "object", "additionalProperties": schema}


def list_of(schema: Any) -> dict[str, Any]:
    """An array of this."""
    return {"type": "array", "items": schema}


def tuple_of(schema: Any, n: int) -> dict[str, Any]:
    """An array of exactly ``n`` of this."""
    return {**list_of(schema), "minItems": n, "maxItems": n}


def content(schema: Any, kind: str = "application/json") -> dict[str, Any]:
    """A body of one media type."""
    return {kind: {"schema": schema}}


def answer(schema: Any, kind: str = "application/json") -> dict[str, Any]:
    """A response that is no problem."""
    return {"description": "OK", "content": content(schema, kind)}


def parameter(name: str, description: str, schema: Any, place: str = "query") -> dict[str, Any]:
    """A parameter; those of the path are required."""
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema}


TWIN = parameter("twin", "name of the twin", TEXT, "path")
LIMIT = parameter(
    "limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
)


def operation(
    name: str,
    summary: str,
    ok: Any,
    parameters: Sequence[Any] = (),
    problems: Sequence[str] = (),
    body: Any = None,
) -> dict[str, Any]:
    """What one method does: ``ok`` is the answer, ``problems`` the statuses of problem documents, ``body`` the schema
    of the request's."""
    found: dict[str, Any] = {"operationId": name, "summary": summary}
    if parameters:
        found["parameters"] = list(parameters)
    if body is not None:
        found["requestBody"] = {"required": True, "content": content(body)}
    return found | {"responses": {"200": ok, **dict.fromkeys((*problems, "default"), PROBLEM)}}
