"""JSON Schema (draft 2020-12) of the configuration, for editors.

Written from the same types that decode the file. (``msgspec.json.schema`` cannot encode the defaults of
durations, and knows nothing of ``${NAME}``, which may stand in place of any scalar.) Descriptions are the
``- key: text`` lines of the records' docstrings.
"""

from __future__ import annotations

import inspect as python_inspect
import re
from collections.abc import Callable
from typing import Any

from msgspec import NODEFAULT, inspect

from edgetwin.config.convert import config_type
from edgetwin.config.durations import PATTERN, format_duration
from edgetwin.config.schema import Duration

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SUBSTITUTED = {"$ref": "#/$defs/Substituted"}
_DESCRIPTION = re.compile(r"^- ([a-z_]+): (.+)$", re.MULTILINE)


def json_schema() -> Schema:
    """The schema of the whole file."""
    defs: dict[str, Schema] = {
        "Duration": {
            "type": "string",
            "pattern": PATTERN,
            "description": "A time with its unit: 250ms, 5s, 1h.",
        },
        "Substituted": {
            "type": "string",
            "pattern": r"\$\{",
            "description": "${NAME}, ${NAME:-default} or ${credential:name}.",
        },
    }
    root = _Writer(defs).schema(config_type())
    return {
        "$schema": DIALECT,
        "title": "edgetwin configuration",
        **root,
        "$defs": dict(sorted(defs.items())),
    }


def descriptions(record: type) -> dict[str, str]:
    """What the docstring of a record says of each key."""
    return dict(_DESCRIPTION.findall(python_inspect.getdoc(record) or ""))


class _Writer:
    """Schemas of types; records go to ``defs`` and are referred to."""

    def __init__(self, defs: dict[str, Schema]) -> None:
        self.defs = defs

    def schema(self, kind: inspect.Type) -> Schema:
        writers: dict[type, Callable[[Any], Schema]] = {
            inspect.Metadata: lambda k: self.schema(k.type),
            inspect.StructType: self._struct,
            inspect.UnionType: self._union,
            inspect.DictType: self._dict,
            inspect.ListType: self._list,
            inspect.TupleType: self._tuple,
            inspect.StrType: _str,
            inspect.BoolType: lambda _: _or_substituted({"type": "boolean"}),
            inspect.IntType: lambda k: _or_substituted({"type": "integer", **_bounds(k)}),
            inspect.FloatType: lambda k: _or_substituted({"type": "number", **_bounds(k)}),
            inspect.LiteralType: _literal,
            inspect.CustomType: lambda _: _or_substituted({"$ref": "#/$defs/Duration"}),
            inspect.NoneType: lambda _: {"type": "null"},
        }
        return writers[type(kind)](kind)

    def _struct(self, kind: inspect.StructType) -> Schema:
        name = kind.cls.__name__
        if name not in self.defs:
            self.defs[name] = {}  # holds the place should the record contain itself
            self.defs[name] = self._record(kind)
        return {"$ref": f"#/$defs/{name}"}

    def _record(self, kind: inspect.StructType) -> Schema:
        texts = descriptions(kind.cls)
        properties: dict[str, Schema] = {}
        required = [f.encode_name for f in kind.fields if f.required]
        if kind.tag_field:
            properties[kind.tag_field] = {"const": kind.tag, "description": "what kind of connection this is"}
            required.insert(0, kind.tag_field)
        for field in kind.fields:
            schema = self.schema(field.type)
            if field.encode_name in texts:
                schema = {**schema, "description": texts[field.encode_name]}
            if field.default is not NODEFAULT and field.default is not None and _is_plain(field.default):
                schema["default"] = _plain(field.default)
            properties[field.encode_name] = schema
        summary = (python_inspect.getdoc(kind.cls) or "").split("\n\n", 1)[0].replace("\n", " ")
        return {
            "type": "object",
            "description": summary,
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def _union(self, kind: inspect.UnionType) -> Schema:
        choices: list[Schema] = []
        for inner in kind.types:
            schema = self.schema(inner)
            choices += schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
        return {"anyOf": choices}

    def _dict(self, kind: inspect.DictType) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.schema(kind.value_type)}
        return schema | ({"minProperties": kind.min_length} if kind.min_length else {})

    def _list(self, kind: inspect.ListType) -> Schema:
        schema: Schema = {"type": "array", "items": self.schema(kind.item_type)}
        return schema | ({"minItems": kind.min_length} if kind.min_length else {})

    def _tuple(self, kind: inspect.TupleType) -> Schema:
        items = [self.schema(k) for k in kind.item_types]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _str(kind: inspect.StrType) -> Schema:
    schema: Schema = {"type": "string"}
    if kind.max_length is not None:
        schema["maxLength"] = kind.max_length
    if kind.pattern is None:
        return schema
    return _or_substituted({**schema, "pattern": kind.pattern})


def _literal(kind: inspect.LiteralType) -> Schema:
    # `protocol: 5` is a number to YAML and is taken for the word.
    numbers = [int(v) for v in kind.values if isinstance(v, str) and v.isdigit()]
    return _or_substituted({"enum": [*kind.values, *numbers]})


def _or_substituted(schema: Schema) -> Schema:
    return {"anyOf": [schema, _SUBSTITUTED]}


def _bounds(kind: inspect.IntType | inspect.FloatType) -> Schema:
    names = {"minimum": kind.ge, "exclusiveMinimum": kind.gt, "maximum": kind.le, "exclusiveMaximum": kind.lt}
    return {name: bound for name, bound in names.items() if bound is not None}


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _plain(value: object) -> object:
    return format_duration(value) if isinstance(value, Duration) else value
