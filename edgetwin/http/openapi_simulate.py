"""The part of the OpenAPI description that is about simulation."""

from __future__ import annotations

from typing import Any

from edgetwin.engine.requests import SEED_MAX, STEPS_DEFAULT
from edgetwin.engine.scenario import MEMBERS_MAX, QUANTILES, QUANTILES_MAX
from edgetwin.http.openapi_parts import (
    BOOLEAN,
    COUNT,
    NUMBER,
    TEXT,
    TWIN,
    answer,
    list_of,
    map_of,
    operation,
    record,
    ref,
    tuple_of,
)

_NUMBERS = list_of({"type": ["number", "null"]})
_WHEN = {"type": ["number", "string"], "description": "seconds, or a duration such as 10min"}
_PROBLEMS = ("400", "404", "409", "413", "415", "422", "503")


def simulate_path() -> dict[str, Any]:
    """The path with its POST."""
    summary = "What if: an ensemble of the twin under a scenario"
    return {"post": operation("simulate", summary, answer(ref("Simulation")), [TWIN], _PROBLEMS, ref("Scenario"))}


def simulate_schemas() -> dict[str, Any]:
    """The request, the answer and their parts."""
    return {"Scenario": _scenario(), "Schedule": _schedule(), "Parameter": _parameter()} | _answer()


def _scenario() -> dict[str, Any]:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    scenario = record(
        horizon=_WHEN,
        step={**_WHEN, "description": f"between output times; a {STEPS_DEFAULT}th of the horizon when absent"},
        members={"type": "integer", "minimum": 1, "maximum": MEMBERS_MAX, "default": 1000},
        inputs={**map_of(ref("Schedule")), "description": "by name; others keep the values they have"},
        parameters={**map_of(ref("Parameter")), "description": "by name; others keep the twin's values"},
        noise={**BOOLEAN, "default": True, "description": "whether process noise acts"},
        seed={**COUNT, "maximum": SEED_MAX, "default": 0},
        quantiles={**list_of(share), "maxItems": QUANTILES_MAX, "default": list(QUANTILES)},
    )
    return {**scenario, "required": ["horizon"]}


def _schedule() -> dict[str, Any]:
    moment = {**_WHEN, "description": "seconds or a duration after the start, or a time"}
    point = {"type": "array", "prefixItems": [moment, NUMBER], "minItems": 2, "maxItems": 2}
    points = {**list_of(point), "minItems": 1}
    pieces = record(points=points, linear={**BOOLEAN, "default": False})
    return {"oneOf": [NUMBER, points, {**pieces, "required": ["points"]}]}


def _parameter() -> dict[str, Any]:
    kinds = {
        "value": NUMBER,
        "normal": {**tuple_of(NUMBER, 2), "description": "mean, standard deviation"},
        "uniform": {**tuple_of(NUMBER, 2), "description": "lowest, highest"},
        "lognormal": {**tuple_of(NUMBER, 2), "description": "mean, standard deviation of the parameter itself"},
        "triangular": {**tuple_of(NUMBER, 3), "description": "lowest, most likely, highest"},
    }
    return {"oneOf": [NUMBER, *(record(**{kind: schema}) for kind, schema in kinds.items())]}


def _answer() -> dict[str, Any]:
    band = record(unit=TEXT, mean=_NUMBERS, std=_NUMBERS)
    band["additionalProperties"] = {**_NUMBERS, "description": "a quantile, such as q05 or q97.5"}
    simulation = {
        "twin": TEXT,
        "from": {"type": "string", "format": "date-time", "description": "when the twin was forked"},
        "step_s": NUMBER,
        "times": {**list_of(NUMBER), "description": "seconds after from, the first 0"},
        "states": map_of(ref("Band")),
        "measurements": {**map_of(ref("Band")), "description": "without the noise of measuring"},
        "members": COUNT,
        "seed": {**COUNT, "description": "gives the same answer again"},
        "noise": BOOLEAN,
        "excluded": {**COUNT, "description": "members that left because a state was no longer finite"},
        "coarse": {**COUNT, "description": "members integrated more coarsely than their equations ask for"},
    }
    return {"Band": band, "Simulation": record(**simulation)}
