from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgetwin.config import schema
from edgetwin.config.document import parse
from edgetwin.config.json_schema import descriptions, json_schema
from edgetwin.config.places import Node
from tests.config.support import CONFIGS, REPOSITORY, contract

SCHEMA = json_schema()
RECORDS = [getattr(schema, n) for n in schema.__all__ if n not in ("Duration", "Source")]


def resolve(part: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part


def alternatives(part: dict[str, Any]) -> list[dict[str, Any]]:
    part = resolve(part)
    return [r for p in part["anyOf"] for r in alternatives(p)] if "anyOf" in part else [part]


def fits(value: object, part: dict[str, Any]) -> bool:
    """A small validator for what the schema uses; the real ones are not among the dependencies."""
    return any(_fits(value, p) for p in alternatives(part))


def _fits(value: Any, part: dict[str, Any]) -> bool:
    if "const" in part:
        return bool(value == part["const"])
    if "enum" in part:
        return value in part["enum"]
    kinds = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "string": isinstance(value, str),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    if not kinds[part["type"]]:
        return False
    if isinstance(value, dict):
        known = part.get("properties", {})
        rest = part.get("additionalProperties")
        return set(part.get("required", [])) <= set(value) and all(
            fits(v, known[k]) if k in known else bool(rest) and fits(v, rest) for k, v in value.items()
        )
    if isinstance(value, list):
        items = part.get("prefixItems") or [part["items"]] * len(value)
        return len(items) == len(value) and all(map(fits, value, items))
    if isinstance(value, str):
        return re.search(part.get("pattern", ""), value) is not None
    return value is None or (part.get("minimum", value) <= value <= part.get("maximum", value))


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {k: plain(v) for k, v in node.value.items()}
    return [plain(v) for v in node.value] if isinstance(node.value, list) else node.value


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_is_json_and_every_reference_leads_somewhere() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert {r.removeprefix("#/$defs/") for r in references(SCHEMA)} == set(SCHEMA["$defs"])


@pytest.mark.parametrize("path", [p for p in CONFIGS if not p.name.startswith("receiver")], ids=lambda p: p.name)
def test_examples_fit(path: Path) -> None:
    root, _ = parse(path.read_text(), path.name, None)
    assert fits(plain(root), SCHEMA)


@pytest.mark.parametrize("name", ["minimal.yaml", "factory.yaml", "replay.yaml"])
def test_contract_files_fit(name: str) -> None:
    root, _ = parse(contract(name).read_text(), name, None)
    assert fits(plain(root), SCHEMA)


@pytest.mark.parametrize(
    "change",
    [{"gateway": 7}, {"foo": 1}, {"journal": {"every": 5}}, {"journal": {"every": "5"}}, {"twins": {}}, {"log": {"level": "loud"}}],
    ids=str,
)  # fmt: skip
def test_faults_do_not_fit(change: dict[str, Any]) -> None:
    good = {
        "gateway": "g",
        "sources": [{"name": "a", "kind": "mqtt", "url": "mqtt://h", "qos": "${QOS}", "protocol": 5}],
        "twins": [{"name": "t", "signals": {"s": {"source": "a", "topic": "x"}}}],
    }
    assert fits(good, SCHEMA)
    assert not fits(good | change, SCHEMA)
    assert not fits({k: v for k, v in good.items() if k != "twins"}, SCHEMA)


def test_defaults_are_as_written_in_yaml() -> None:
    properties = SCHEMA["$defs"]["MqttSource"]["properties"]
    assert properties["keepalive"]["default"] == "30s"
    assert properties["session_expiry"]["default"] == "1d"
    assert properties["qos"]["default"] == 1


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_every_key_is_described(record: Any) -> None:
    assert set(descriptions(record)) == set(record.__struct_encode_fields__)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_every_key_is_in_the_reference(record: Any) -> None:
    text = (REPOSITORY / "docs" / "configuration.md").read_text()
    for key in record.__struct_encode_fields__:
        assert re.search(rf"^\| `{key}` \|", text, re.MULTILINE), f"{record.__name__}.{key}"
