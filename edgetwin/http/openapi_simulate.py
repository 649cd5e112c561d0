"""The part of the OpenAPI description that is about simulation."""

from __future__ import annotations

from typing import Any

from edgetwin.engine.requests import SEED_MAX, STEPS_DEFAULT
from edgetwin.engine.scenario import MEMBERS_MAX, QUANTILES, QUANTILES_MAX

_NUMBER = {"type": "number"}
_NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}
_WHEN = {"type": ["number", "string"], "description": "seconds, or a duration such as 10min"}
_PAIR = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
_TRIPLE = {**_PAIR, "minItems": 3, "maxItems": 3}
_PROBLEMS = ("400", "404", "409", "413", "415", "422", "503")


def simulate_path() -> dict[str, Any]:
    """The path with its POST."""
    twin = {"name": "twin", "in": "path", "required": True, "description": "name of the twin"}
    problem = {"$ref": "#/components/responses/Problem"}
    return {
        "post": {
            "operationId": "simulate",
            "summary": "What if: an ensemble of the twin under a scenario",
            "parameters": [{**twin, "schema": {"type": "string"}}],
            "requestBody": {"required": True, "content": _json("Scenario")},
            "responses": {
                "200": {"description": "OK", "content": _json("Simulation")},
                **dict.fromkeys((*_PROBLEMS, "default"), problem),
            },
        }
    }


def simulate_schemas() -> dict[str, Any]:
    """The request, the answer and their parts."""
    return {"Scenario": _scenario(), "Schedule": _schedule(), "Parameter": _parameter()} | _answer()


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _map(schema: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": {"$ref": f"#/components/schemas/{schema}"}}


def _scenario() -> dict[str, Any]:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    properties = {
        "horizon": _WHEN,
        "step": {**_WHEN, "description": f"between output times; a {STEPS_DEFAULT}th of the horizon when absent"},
        "members": {"type": "integer", "minimum": 1, "maximum": MEMBERS_MAX, "default": 1000},
        "inputs": {**_map("Schedule"), "description": "by name; others keep the values they have"},
        "parameters": {**_map("Parameter"), "description": "by name; others keep the twin's values"},
        "noise": {"type": "boolean", "default": True, "description": "whether process noise acts"},
        "seed": {"type": "integer", "minimum": 0, "maximum": SEED_MAX, "default": 0},
        "quantiles": {"type": "array", "items": share, "maxItems": QUANTILES_MAX, "default": list(QUANTILES)},
    }
    return {"type": "object", "properties": properties, "required": ["horizon"], "additionalProperties": False}


def _schedule() -> dict[str, Any]:
    moment = {**_WHEN, "description": "seconds or a duration after the start, or a time"}
    point = {"type": "array", "prefixItems": [moment, _NUMBER], "minItems": 2, "maxItems": 2}
    points = {"type": "array", "items": point, "minItems": 1}
    properties = {"points": points, "linear": {"type": "boolean", "default": False}}
    pieces = {"type": "object", "properties": properties, "required": ["points"], "additionalProperties": False}
    return {"oneOf": [_NUMBER, points, pieces]}


def _parameter() -> dict[str, Any]:
    kinds = {
        "value": _NUMBER,
        "normal": {**_PAIR, "description": "mean, standard deviation"},
        "uniform": {**_PAIR, "description": "lowest, highest"},
        "lognormal": {**_PAIR, "description": "mean, standard deviation of the parameter itself"},
        "triangular": {**_TRIPLE, "description": "lowest, most likely, highest"},
    }
    records = [
        {"type": "object", "properties": {kind: schema}, "required": [kind], "additionalProperties": False}
        for kind, schema in kinds.items()
    ]
    return {"oneOf": [_NUMBER, *records]}


def _answer() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    band = {
        "type": "object",
        "properties": {"unit": {"type": "string"}, "mean": _NUMBERS, "std": _NUMBERS},
        "required": ["unit", "mean", "std"],
        "additionalProperties": {**_NUMBERS, "description": "a quantile, such as q05 or q97.5"},
    }
    properties = {
        "twin": {"type": "string"},
        "from": {"type": "string", "format": "date-time", "description": "when the twin was forked"},
        "step_s": _NUMBER,
        "times": {"type": "array", "items": _NUMBER, "description": "seconds after from, the first 0"},
        "states": _map("Band"),
        "measurements": {**_map("Band"), "description": "without the noise of measuring"},
        "members": count,
        "seed": {**count, "description": "gives the same answer again"},
        "noise": {"type": "boolean"},
        "excluded": {**count, "description": "members that left because a state was no longer finite"},
        "coarse": {**count, "description": "members integrated more coarsely than their equations ask for"},
    }
    simulation = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"Band": band, "Simulation": simulation}
