"""Errors, headers and the description of the API."""

from __future__ import annotations

import inspect
import re
from typing import Any

import aiohttp
import msgspec
import pytest

from edgetwin.http import bodies, make_app
from edgetwin.http.openapi import openapi
from edgetwin.records import StateEstimate
from tests.http.build import View, view_of
from tests.http.conftest import Get

SPEC = openapi("1.2.3")
SCHEMAS = SPEC["components"]["schemas"]
RECORDS: dict[str, Any] = {
    name.removesuffix("Body"): record
    for name, record in inspect.getmembers(bodies, inspect.isclass)
    if issubclass(record, msgspec.Struct) and record is not msgspec.Struct
}


async def test_errors_are_problem_documents(client: aiohttp.ClientSession) -> None:
    cases = [("GET", "/nothing", 404), ("POST", "/api/v1/twins", 405), ("GET", "/api/v1/twins/zzz", 404)]
    for method, path, status in cases:
        async with client.request(method, path) as answer:
            assert answer.status == status
            assert answer.content_type == "application/problem+json"
            body = await answer.json(content_type=None)
            assert body["status"] == status
            assert body["title"]
            assert body["detail"]
    async with client.delete("/api/v1/ledger") as answer:
        assert answer.headers["Allow"] == "GET,HEAD"


async def test_a_fault_of_ours_tells_nothing(client: aiohttp.ClientSession, view: View) -> None:
    del view.engine
    async with client.get("/api/v1/ledger") as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (500, "application/problem+json")
    assert "Traceback" not in text
    assert "engine" not in text
    async with client.get("/healthz") as answer:
        assert answer.status == 200


async def test_a_large_body_is_refused(client: aiohttp.ClientSession) -> None:
    async with client.request("GET", "/healthz", data=b"x" * 65_537) as answer:
        assert answer.status == 413
        assert (await answer.json(content_type=None))["title"]


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/v1/twins", "/nothing"])
async def test_headers(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "edgetwin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]


def test_the_description_has_the_routes_and_only_them() -> None:
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in make_app(view_of(["m"], 0)).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {(path, method) for path, item in SPEC["paths"].items() for method in item}
    assert routes == described


def test_path_parameters_are_described() -> None:
    for path, item in SPEC["paths"].items():
        for operation in item.values():
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


def test_the_description_is_true_to_the_records() -> None:
    assert set(RECORDS) < set(SCHEMAS)
    for name, record in RECORDS.items():
        assert set(SCHEMAS[name]["properties"]) == set(record.__struct_fields__), name
    assert set(SCHEMAS["State"]["properties"]) == set(StateEstimate.__slots__)


def test_references_lead_somewhere() -> None:
    references = re.findall(rb'"\$ref":"#/components/(\w+)/(\w+)"', msgspec.json.encode(SPEC))
    assert references
    for kind, name in references:
        assert name.decode() in SPEC["components"][kind.decode()]


async def test_answers_have_exactly_the_members_described(get: Get) -> None:
    assert (await get("/api/openapi.json"))[1] == SPEC
    for path, schema in [
        ("/api/v1/status", "Status"),
        ("/api/v1/ledger", "Ledger"),
        ("/api/v1/twins", "TwinPage"),
        ("/api/v1/twins/pump-1", "Twin"),
        ("/api/v1/twins/pump-1/noise", "TwinNoise"),
        ("/healthz", "Health"),
        ("/readyz", "Ready"),
    ]:
        described = SPEC["paths"][re.sub("pump-1", "{twin}", path)]["get"]["responses"]["200"]
        assert described["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{schema}"}
        _, body = await get(path)
        _check(body, SCHEMAS[schema], path)


def _check(body: Any, schema: dict[str, Any], path: str) -> None:
    """What this API uses of JSON Schema."""
    if "$ref" in schema:
        return _check(body, SCHEMAS[schema["$ref"].rpartition("/")[2]], path)
    if "oneOf" in schema:
        return _check(body, schema["oneOf"][0 if body is not None else 1], path)
    if "const" in schema:
        assert body == schema["const"], path
        return None
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(isinstance(body, _PYTHON[kind]) for kind in kinds), (path, body, kinds)
    if "enum" in schema:
        assert body in schema["enum"]
    if isinstance(body, list):
        for item in body:
            _check(item, schema["items"], path + "[]")
    elif isinstance(body, dict) and "properties" in schema:
        assert set(body) == set(schema["required"]), path
        for key, item in body.items():
            _check(item, schema["properties"][key], f"{path}.{key}")
    elif isinstance(body, dict):
        for key, item in body.items():
            _check(item, schema["additionalProperties"], f"{path}.{key}")
    return None


_PYTHON: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
